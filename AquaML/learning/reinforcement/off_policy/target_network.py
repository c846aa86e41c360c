"""The one target update of the library."""

import copy
from typing import Sequence

import torch


def frozen_copy(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a network that no optimiser changes."""
    target = copy.deepcopy(model)
    for parameter in target.parameters():
        parameter.requires_grad_(False)
    return target


@torch.no_grad()
def update_target(target: torch.nn.Module, model: torch.nn.Module, smoothing: float) -> None:
    """Move a target network towards the learned one: ``target += smoothing * (model - target)``.

    Buffers, such as the statistics of batch normalisation, are copied: they are averages already.

    Args:
        target: What is changed.
        model: The learned network.
        smoothing: tau, 0 … 1; 1 copies.
    """
    ours, theirs = list(target.parameters()), list(model.parameters())
    if smoothing >= 1.0:
        _copy(ours, theirs)
    else:
        torch._foreach_mul_(ours, 1.0 - smoothing)
        torch._foreach_add_(ours, theirs, alpha=smoothing)
    _copy(list(target.buffers()), list(model.buffers()))


def _copy(targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
    for target, source in zip(targets, sources):
        target.copy_(source)
