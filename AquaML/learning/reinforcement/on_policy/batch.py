"""Rows of a rollout as learning takes them."""

import dataclasses
from typing import Any

import torch

from AquaML.environment.base import TensorDict


@dataclasses.dataclass
class Batch:
    """Rows to learn from; every tensor has the same first axis.

    Attributes:
        states: Normalised observations by name.
        actions: Actions by name.
        parameters: The acting distribution's parameters.
        log_prob: Log-probability of the actions when they were drawn, ``(B, 1)``.
        values: Value estimates of the acting networks, in normalised units, ``(B, 1)``.
        returns: Targets of the value function, in normalised units, ``(B, 1)``.
        advantages: ``(B, 1)``.
    """

    states: TensorDict
    actions: TensorDict
    parameters: TensorDict
    log_prob: torch.Tensor
    values: torch.Tensor
    returns: torch.Tensor
    advantages: torch.Tensor

    def select(self, rows: torch.Tensor) -> "Batch":
        """Return copies of some rows."""
        return Batch(**{field.name: _pick(getattr(self, field.name), rows) for field in dataclasses.fields(self)})


def _pick(value: Any, rows: torch.Tensor) -> Any:
    if isinstance(value, dict):
        return {name: item.index_select(0, rows) for name, item in value.items()}
    return value.index_select(0, rows)
