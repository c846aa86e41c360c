"""Compact storage of the true last observations of episodes that a time limit cut off."""

from typing import Any, Dict, Mapping, Optional, Tuple

import torch
from loguru import logger

from AquaML.environment.rows import like_rows
from AquaML.errors import StateError
from AquaML.stateful import Stateful, require_keys, tensor_differences


class FinalObservations(Stateful):
    """A few slots per environment for final observations, instead of a second buffer of the rollout's size.

    Within a rollout an environment whose episodes last ``L`` steps is cut off at most ``1 + (rollouts - 1) // L``
    times, so one slot is nearly always enough. On the CPU more slots are added when an environment needs them. On an
    accelerator that would mean waiting for the device in every step; a row that finds no slot is left to the
    caller's fallback, :attr:`lost` counts it, and :meth:`clear` adds slots one rollout later.

    Args:
        shapes: Observation name to shape and type of one environment's row.
        rollouts: Rows of one rollout.
        num_envs: Number of environments.
        max_episode_length: The time limit in steps, if known.
        device: Where the tensors live.
    """

    def __init__(
        self,
        shapes: Mapping[str, Tuple[Tuple[int, ...], torch.dtype]],
        rollouts: int,
        num_envs: int,
        max_episode_length: Optional[int],
        device: torch.device,
    ) -> None:
        self.num_envs = num_envs
        self.device = device
        self._shapes = dict(shapes)
        self.slots = 0
        self.steps = torch.zeros((0, num_envs), dtype=torch.int64, device=device)
        self.observations = {
            name: torch.zeros((0, num_envs) + shape, dtype=dtype, device=device)
            for name, (shape, dtype) in self._shapes.items()
        }
        self.used = torch.zeros(num_envs, dtype=torch.int64, device=device)
        on_cuda = device.type == "cuda"
        self._lost = torch.zeros((), dtype=torch.int64, pin_memory=on_cuda)
        self._arrived = torch.cuda.Event() if on_cuda else None
        self._add_slots(1 + (rollouts - 1) // max_episode_length if max_episode_length else 1)

    def _add_slots(self, number: int) -> None:
        self.slots += number
        empty = torch.full((number, self.num_envs), -1, dtype=torch.int64, device=self.device)
        self.steps = torch.cat([self.steps, empty])
        for name, (shape, dtype) in self._shapes.items():
            fresh = torch.zeros((number, self.num_envs) + shape, dtype=dtype, device=self.device)
            self.observations[name] = torch.cat([self.observations[name], fresh])

    def write(self, step: int, cut_off: torch.Tensor, observations: Mapping[str, torch.Tensor]) -> None:
        """Store the rows of environments that were cut off.

        Args:
            step: Row of the rollout in which that happened.
            cut_off: ``(num_envs, 1)`` bool.
            observations: The true next observations, ``(num_envs, *shape)``.
        """
        if self.device.type == "cpu" and not bool(cut_off.any()):
            return
        chosen = cut_off[:, 0]
        if self.device.type == "cpu" and int(self.used[chosen].max()) >= self.slots:
            self._add_slots(1)
        for slot in range(self.slots):
            here = chosen & (self.used == slot)
            self.steps[slot].masked_fill_(here, step)
            for name, stored in self.observations.items():
                mask = like_rows(here, stored[slot])
                stored[slot].copy_(torch.where(mask, observations[name], stored[slot]))
        self.used += chosen

    @property
    def lost(self) -> torch.Tensor:
        """Number of rows of this rollout that found no slot, shape ``()``, on the device."""
        return (self.used - self.slots).clamp(min=0).sum()

    def _lost_before(self) -> int:
        """Return how many rows the rollout before this one lost.

        That number was sent to the host a whole rollout ago, so that nothing has to wait for the device here.
        """
        if self._arrived is not None:
            self._arrived.synchronize()
        return int(self._lost)

    def _send_lost(self) -> None:
        self._lost.copy_(self.lost, non_blocking=True)
        if self._arrived is not None:
            self._arrived.record()

    def clear(self) -> None:
        """Forget all rows, and double the slots if rows were lost; called when the rollout has been trained on."""
        if self.device.type != "cpu":
            lost = self._lost_before()
            if lost:
                logger.info("{} final observations found no slot and were approximated; slots are doubled.", lost)
                self._add_slots(self.slots)
                self._lost.zero_()
            else:
                self._send_lost()
        self.steps.fill_(-1)
        self.used.zero_()

    def fill(self, next_values: torch.Tensor, values: torch.Tensor) -> None:
        """Write the values of the stored observations where they belong.

        Args:
            next_values: ``(rollouts, num_envs, 1)``, changed in place.
            values: ``(slots, num_envs, 1)``, the values of :attr:`observations`.
        """
        columns = torch.arange(self.num_envs, device=self.device)
        for slot in range(self.slots):
            rows = self.steps[slot].clamp(min=0)
            stored = (self.steps[slot] >= 0).unsqueeze(1)
            next_values[rows, columns] = torch.where(stored, values[slot], next_values[rows, columns])

    def state_dict(self) -> Dict[str, Any]:
        """Return all slots."""
        observations = {name: stored.clone() for name, stored in self.observations.items()}
        return {"steps": self.steps.clone(), "used": self.used.clone(), "observations": observations}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare keys, shapes and types; the number of slots may differ."""
        require_keys(state, ("steps", "used", "observations"), "final observations")
        first = {name: stored[:0] for name, stored in self.observations.items()}
        lines = tensor_differences(first, {name: stored[:0] for name, stored in state["observations"].items()})
        if lines or tuple(state["used"].shape) != tuple(self.used.shape):
            raise StateError("final observations: {}".format("; ".join(lines) or "another number of environments"))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over all slots."""
        self.slots = len(state["steps"])
        self.steps = state["steps"].to(self.device).clone()
        self.used = state["used"].to(self.device).clone()
        self.observations = {name: stored.to(self.device).clone() for name, stored in state["observations"].items()}
