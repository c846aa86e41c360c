"""Storage of the recurrent states from which blocks of a rollout begin."""

from typing import Any, Dict, Mapping, Tuple

import torch

from AquaML.errors import StateError
from AquaML.stateful import Stateful, require_keys, tensor_differences

StatesByRole = Dict[str, Dict[str, torch.Tensor]]
ShapesByRole = Mapping[str, Mapping[str, Tuple[int, ...]]]


class BlockStates(Stateful):
    """For each block of consecutive steps of one environment the states that went into its first step.

    Blocks are counted in the order of time first and of environments second: block ``k * num_envs + n`` holds the steps
    from ``k * length`` of environment ``n``.

    Args:
        shapes: Role of a model to the shapes of its recurrent states, one row each.
        rollouts: Rows of one rollout, divisible by ``length``.
        length: Steps of a block.
        num_envs: Number of environments.
        device: Where the tensors live.
    """

    def __init__(self, shapes: ShapesByRole, rollouts: int, length: int, num_envs: int, device: torch.device) -> None:
        self.length = length
        blocks = (rollouts // length, num_envs)
        self._states: StatesByRole = {
            role: {name: torch.zeros(blocks + tuple(shape), device=device) for name, shape in named.items()}
            for role, named in shapes.items()
        }
        steps = torch.arange(rollouts * num_envs, device=device).reshape(blocks[0], length, num_envs)
        self.rows = steps.transpose(1, 2).reshape(-1, length)
        """Rows of each block in the flattened rollout, ``(blocks, length)``."""

    @torch.no_grad()
    def write(self, step: int, states: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Copy the states that go into a step, if it is the first one of its block.

        Args:
            step: Row of the rollout.
            states: Role to name to ``(num_envs, *shape)``.
        """
        if step % self.length:
            return
        for role, named in self._states.items():
            for name, stored in named.items():
                stored[step // self.length].copy_(states[role][name])

    def flat(self) -> StatesByRole:
        """Return the states of all blocks, ``(blocks, *shape)`` each, in views."""
        return {
            role: {name: stored.flatten(0, 1) for name, stored in named.items()} for role, named in self._states.items()
        }

    def state_dict(self) -> Dict[str, Any]:
        """Return the states of all blocks."""
        return {role: {name: stored.clone() for name, stored in named.items()} for role, named in self._states.items()}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare roles, names and shapes."""
        require_keys(state, self._states, "states of blocks")
        for role, named in self._states.items():
            lines = tensor_differences(named, state[role])
            if lines:
                raise StateError("states of blocks of '{}': {}".format(role, "; ".join(lines)))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over the states of all blocks."""
        for role, named in self._states.items():
            for name, stored in named.items():
                stored.copy_(state[role][name])
