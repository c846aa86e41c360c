"""A table of action values."""

from typing import Any, Dict, Mapping

import numpy as np
import torch

from AquaML.environment.spaces import DISCRETE, TensorSpec
from AquaML.errors import AgentError, StateError
from AquaML.stateful import Stateful, require_keys, tensor_differences

LARGEST = 50_000_000
"""Entries beyond which a table is refused: 200 MB."""


class ActionValueTable(Stateful):
    """Values of all actions in all states.

    Observations of several categories are counted through as one number, the last category fastest.

    Args:
        observations: Observation name to its specification; all must be categories.
        action: The action's specification; Discrete.
        initial_value: What the table holds at first.
        device: Where it lives.

    Attributes:
        values: ``(states, actions)`` float32.

    Raises:
        AgentError: Something cannot be counted, or there is too much of it.
    """

    def __init__(
        self, observations: Mapping[str, TensorSpec], action: TensorSpec, initial_value: float, device: torch.device
    ) -> None:
        for spec in [*observations.values(), action]:
            if not spec.sizes or (spec is action and spec.kind != DISCRETE):
                raise AgentError(
                    "A table needs observations that are categories and one Discrete action, but '{}' is {}. Use an "
                    "agent with networks, or wrap the environment to count it.".format(spec.name, spec.kind)
                )
        sizes = [size for spec in observations.values() for size in spec.sizes]
        states = int(np.prod(sizes, dtype=np.float64))
        if states * action.sizes[0] > LARGEST:
            raise AgentError(
                "A table of {} states and {} actions is too large (at most {} entries); use an agent with "
                "networks.".format(states, action.sizes[0], LARGEST)
            )
        self._names = list(observations)
        weights = np.cumprod([1] + sizes[::-1], dtype=np.int64)[-2::-1].copy()
        self._weights = torch.as_tensor(weights, device=device)
        self.values = torch.full((states, action.sizes[0]), float(initial_value), device=device)

    def rows_of(self, states: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the row of each state, ``(N,)``.

        Args:
            states: Observation name to ``(N, *shape)`` int64.
        """
        numbers = [states[name].reshape(len(states[name]), -1).to(torch.int64) for name in self._names]
        return (torch.cat(numbers, dim=1) * self._weights).sum(dim=1)

    def best_actions(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the actions of highest value, the first of equal ones, ``(N, 1)``."""
        return self.values[rows].argmax(dim=1, keepdim=True)

    def move(self, rows: torch.Tensor, actions: torch.Tensor, errors: torch.Tensor, rate: float) -> None:
        """Move entries along their errors; where several rows name the same entry, along the mean of them.

        Args:
            rows: ``(N,)``.
            actions: ``(N,)``.
            errors: Target minus value, ``(N,)``.
            rate: Step size.
        """
        places, which = torch.unique(rows * self.values.shape[1] + actions, return_inverse=True)
        total = torch.zeros_like(places, dtype=errors.dtype).index_add_(0, which, errors)
        number = torch.zeros_like(total).index_add_(0, which, torch.ones_like(errors))
        self.values.view(-1).index_add_(0, places, rate * total / number)

    def state_dict(self) -> Dict[str, Any]:
        """Return the values."""
        return {"values": self.values.clone()}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare shapes."""
        require_keys(state, ("values",), "table")
        lines = tensor_differences({"values": self.values}, state)
        if lines:
            raise StateError("table: {}".format("; ".join(lines)))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over values."""
        self.values.copy_(state["values"])
