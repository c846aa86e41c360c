"""The one target update, by hand-computed numbers."""

import torch
from torch import nn

from AquaML.learning.reinforcement.off_policy.target_network import TargetUpdate, frozen_copy


class Averaging(nn.Module):
    """A parameter, an average that is learned, and a constant that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.register_buffer("average", torch.tensor([5.0]))
        self.register_buffer("constant", torch.tensor([7.0]), persistent=False)


def test_parameters_follow_slowly_and_averages_at_once() -> None:
    model = Averaging()
    target = frozen_copy(model)
    update = TargetUpdate(target, model, 0.25)
    with torch.no_grad():
        model.weight += 4.0
        model.average += 1.0
        model.constant += 1.0
    update.move()
    assert target.weight.tolist() == [2.0, 3.0] and target.average.tolist() == [6.0]
    # What is in no checkpoint would be lost by a resume.
    assert target.constant.tolist() == [7.0]
    update.move()
    assert target.weight.tolist() == [2.75, 3.75]
    assert not target.weight.requires_grad


def test_a_smoothing_of_one_copies() -> None:
    model = Averaging()
    target = frozen_copy(model)
    with torch.no_grad():
        model.weight += 0.1
    TargetUpdate(target, model, 1.0).move()
    assert torch.equal(target.weight, model.weight)
