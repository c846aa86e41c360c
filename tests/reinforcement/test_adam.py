"""Our step of Adam against PyTorch's own, bit by bit."""

import copy
from typing import Any, Dict, List

import pytest
import torch

from AquaML.compat import adam_arguments
from AquaML.learning.adam import FusedAdam, make_adam

pytestmark = pytest.mark.skipif(not adam_arguments(torch.device("cpu")), reason="this torch has no fused Adam")

SHAPES = ((3, 4), (4,), (2, 4, 1), ())


def parameters() -> List[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def groups(items: List[torch.nn.Parameter]) -> List[Dict[str, Any]]:
    return [{"params": items[:3], "lr": 0.01}, {"params": items[3:], "lr": 0.1, "weight_decay": 0.5}]


def give_gradients(items: List[torch.nn.Parameter], generator: torch.Generator) -> None:
    for item in items:
        item.grad = torch.randn(item.shape, generator=generator)


def moments(optimizer: torch.optim.Optimizer) -> List[torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return [state[index][name] for index in sorted(state) for name in ("step", "exp_avg", "exp_avg_sq")]


class Pair:
    """PyTorch's optimiser and ours, given the same gradients."""

    def __init__(self) -> None:
        self.theirs, self.ours = parameters(), parameters()
        self.flags = [torch.zeros(()), torch.zeros(())]
        self.generator = torch.Generator().manual_seed(2)
        self.reference = torch.optim.Adam(groups(self.theirs), fused=True)
        self.adam = make_adam(groups(self.ours), torch.device("cpu"))

    def step(self, fault: bool = False, missing: bool = False) -> None:
        give_gradients(self.theirs, self.generator)
        for mine, other in zip(self.ours, self.theirs):
            mine.grad = other.grad.clone()
        if missing:
            self.theirs[1].grad = self.ours[1].grad = None
        for flag, optimizer in zip(self.flags, (self.reference, self.adam)):
            flag.fill_(float(fault))
            optimizer.found_inf = flag
            optimizer.step()

    def agree(self) -> bool:
        pairs = list(zip(self.theirs, self.ours)) + list(zip(moments(self.reference), moments(self.adam)))
        return all(torch.equal(one, other) for one, other in pairs)


def test_ours_is_taken() -> None:
    assert type(Pair().adam) is FusedAdam


def test_every_step_is_the_same_to_the_last_bit() -> None:
    pair = Pair()
    for number in range(20):
        # Also where some are left out, where a gradient is missing, and where rates change between steps.
        pair.step(fault=number in (0, 7, 8), missing=number == 11)
        for optimizer in (pair.reference, pair.adam):
            optimizer.param_groups[0]["lr"] *= 0.9
        assert pair.agree()
    assert [float(step) for step in moments(pair.adam)[::3]] == [17.0, 16.0, 17.0, 17.0]


def test_a_step_that_is_left_out_changes_nothing() -> None:
    pair = Pair()
    for _ in range(3):
        pair.step()
    before = [value.clone() for value in pair.ours + moments(pair.adam)]
    pair.step(fault=True)
    assert all(torch.equal(old, new) for old, new in zip(before, pair.ours + moments(pair.adam)))


def test_it_goes_on_after_loading_and_copying() -> None:
    pair = Pair()
    for _ in range(3):
        pair.step()
    state = copy.deepcopy(pair.adam.state_dict())
    pair.step()
    fresh = make_adam(groups(pair.ours), torch.device("cpu"))
    with torch.no_grad():
        for mine, other in zip(pair.ours, pair.theirs):
            mine.copy_(other)
    fresh.load_state_dict(state)
    pair.reference.load_state_dict(copy.deepcopy(state))
    pair.adam = fresh
    for _ in range(3):
        pair.step()
        assert pair.agree()
    pair.adam.load_state_dict(pair.adam.state_dict())
    pair.step()
    assert pair.agree()


def test_parameters_may_be_added() -> None:
    pair = Pair()
    for _ in range(2):
        pair.step()
    for items, optimizer in ((pair.theirs, pair.reference), (pair.ours, pair.adam)):
        items.append(torch.nn.Parameter(torch.ones(2)))
        optimizer.add_param_group({"params": items[-1:]})
    for _ in range(3):
        pair.step()
        assert pair.agree()


def test_all_options_are_obeyed() -> None:
    for options in ({"amsgrad": True}, {"maximize": True}, {"betas": (0.5, 0.6), "eps": 0.1}):
        theirs, ours = parameters(), parameters()
        reference = torch.optim.Adam(theirs, fused=True, **options)
        adam = make_adam([{"params": ours}], torch.device("cpu"), **options)
        generator = torch.Generator().manual_seed(3)
        for _ in range(5):
            give_gradients(theirs, generator)
            for mine, other in zip(ours, theirs):
                mine.grad = other.grad.clone()
            reference.step()
            adam.step()
        assert all(torch.equal(one, other) for one, other in zip(theirs, ours))


def test_hooks_are_called_once_a_step() -> None:
    pair = Pair()
    calls: List[int] = []
    pair.adam.register_step_post_hook(lambda *_: calls.append(1))
    for number in range(3):
        # The first step and one without a gradient are PyTorch's own.
        pair.step(missing=number == 2)
        assert len(calls) == number + 1
    assert pair.agree()
