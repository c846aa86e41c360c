"""The one target update of the library."""

import copy
from typing import List, Optional, Sequence, Tuple

import torch

from AquaML.compat import interpolate


def frozen_copy(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a network that no optimiser changes."""
    target = copy.deepcopy(model)
    for parameter in target.parameters():
        parameter.requires_grad_(False)
    return target


class TargetUpdate:
    """Lets a target network follow the learned one: ``target += smoothing * (model - target)``.

    Buffers in checkpoints, such as the statistics of batch normalisation, are copied: they are averages already.

    Args:
        target: What is changed.
        model: The learned network.
        smoothing: tau, 0 … 1; 1 copies.
    """

    def __init__(self, target: torch.nn.Module, model: torch.nn.Module, smoothing: float) -> None:
        self._smoothing = smoothing
        # Listed once: walking through the modules costs more than the update of a small network.
        self._targets: List[torch.Tensor] = list(target.parameters())
        self._sources: List[torch.Tensor] = list(model.parameters())
        self._modules = (target, model)
        self._buffers: Optional[Tuple[List[torch.Tensor], List[torch.Tensor]]] = None

    @torch.no_grad()
    def move(self) -> None:
        """Move the target network once."""
        if self._smoothing >= 1.0:
            _copy(self._targets, self._sources)
        else:
            interpolate(self._targets, self._sources, self._smoothing)
        if self._buffers is None:
            # Not before: a model may make its buffers when it learns the spaces.
            self._buffers = (_averages(self._modules[0]), _averages(self._modules[1]))
        _copy(*self._buffers)


def _averages(model: torch.nn.Module) -> List[torch.Tensor]:
    """Return the buffers that are learned; others, such as the range of actions, never change."""
    kept = model.state_dict().keys()
    return [buffer for name, buffer in model.named_buffers() if name in kept]


def _copy(targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
    for target, source in zip(targets, sources):
        target.copy_(source)
