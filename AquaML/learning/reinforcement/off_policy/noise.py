"""Noise with a memory, for trying actions that a robot can follow."""

import math
from typing import Any, Dict

import torch

from AquaML.environment.rows import like_rows
from AquaML.errors import StateError
from AquaML.stateful import Stateful


class CorrelatedNoise(Stateful):
    """An Ornstein-Uhlenbeck process of unit variance, per environment and action.

    ``x_t = c x_{t-1} + sqrt(1 - c^2) w_t`` with white ``w``; an episode begins with a fresh draw, so that every step's
    variance is 1 (Uhlenbeck and Ornstein, 1930, in discrete time).

    Args:
        correlation: c, 0 … 1.
    """

    def __init__(self, correlation: float) -> None:
        self.correlation = correlation
        self._values: Dict[str, torch.Tensor] = {}
        self._begins: Dict[str, torch.Tensor] = {}

    def follow(self, name: str, white: torch.Tensor) -> torch.Tensor:
        """Return the next values of an action's process.

        Args:
            name: The action.
            white: Standard normal draws, ``(num_envs, *shape)``.
        """
        last = self._values.get(name)
        if last is None or last.shape != white.shape:
            following = white
        else:
            following = self.correlation * last + math.sqrt(1.0 - self.correlation**2) * white
            following = torch.where(like_rows(self._begins[name], white), white, following)
        self._values[name] = following
        self._begins[name] = torch.zeros((len(white), 1), dtype=torch.bool, device=white.device)
        return following

    def reset(self, mask: torch.Tensor) -> None:
        """Let the processes begin anew where ``mask``, ``(num_envs, 1)`` bool, is set."""
        for name, begins in self._begins.items():
            if begins.shape == mask.shape:
                self._begins[name] = begins | mask

    def state_dict(self) -> Dict[str, Any]:
        """Return the last values and where episodes begin."""
        return {
            "values": {name: value.clone() for name, value in self._values.items()},
            "begins": {name: value.clone() for name, value in self._begins.items()},
        }

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check that both are there for the same actions."""
        if set(state) != {"values", "begins"} or set(state["values"]) != set(state["begins"]):
            raise StateError("noise: expected values and begins of the same actions, got {}".format(sorted(state)))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over both."""
        self._values = {name: value.clone() for name, value in state["values"].items()}
        self._begins = {name: value.clone() for name, value in state["begins"].items()}
