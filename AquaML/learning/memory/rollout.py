"""Storage of on-policy rollouts: time-major, allocated once, written in place."""

from typing import Any, Dict, Mapping, Optional, Tuple

import torch

from AquaML.errors import StateError, StorageError
from AquaML.stateful import Stateful, require_keys, tensor_differences


class RolloutMemory(Stateful):
    """A ring of whole rollouts; each key has one tensor ``(memory rows, num_envs, *shape)``.

    The newest rollout is always contiguous, so that reading it gives views and copies nothing.

    Args:
        memory_size: Rows kept, at least ``rollouts``; rounded down to whole rollouts.
        rollouts: Rows of one rollout.
        num_envs: Number of environments.
        device: Where the tensors live.

    Raises:
        StorageError: ``memory_size`` is less than ``rollouts``.
    """

    def __init__(self, memory_size: int, rollouts: int, num_envs: int, device: torch.device) -> None:
        if memory_size < rollouts:
            raise StorageError("memory_size is {}; expected at least rollouts = {}.".format(memory_size, rollouts))
        self.rollouts = rollouts
        self.num_envs = num_envs
        self.device = device
        self.capacity = memory_size // rollouts
        self.cursor = 0
        self.completed = 0
        self._tensors: Dict[str, torch.Tensor] = {}
        self._rows: Dict[str, Tuple[torch.Tensor, ...]] = {}
        self._rows_from: Optional[int] = None

    @property
    def is_full(self) -> bool:
        """Whether the newest rollout is complete."""
        return self.cursor == self.rollouts

    @property
    def names(self) -> Tuple[str, ...]:
        """Names of all stored keys."""
        return tuple(self._tensors)

    def create_tensor(self, name: str, shape: Tuple[int, ...], dtype: torch.dtype) -> None:
        """Allocate a key.

        Args:
            name: The key.
            shape: Shape of one environment's row.
            dtype: The stored type.

        Raises:
            StorageError: The key exists with another shape or type; stored data are never thrown away.
        """
        full = (self.capacity * self.rollouts, self.num_envs) + tuple(shape)
        present = self._tensors.get(name)
        if present is None:
            self._rows_from = None
            self._tensors[name] = torch.zeros(full, dtype=dtype, device=self.device)
        elif tuple(present.shape) != full or present.dtype != dtype:
            raise StorageError(
                "'{}' is stored as {} {}; it cannot become {} {}.".format(
                    name, present.dtype, tuple(present.shape), dtype, full
                )
            )

    @torch.no_grad()
    def write(self, row: Mapping[str, torch.Tensor]) -> None:
        """Copy one row of every key and advance.

        Args:
            row: Key to ``(num_envs, *shape)`` tensor; all keys must be there.

        Raises:
            StorageError: The rollout is complete, a key is missing or unknown, or a shape differs.
        """
        if self.is_full:
            raise StorageError("The rollout of {} rows is complete; train on it first.".format(self.rollouts))
        if row.keys() != self._tensors.keys():
            missing, unknown = set(self._tensors) - set(row), set(row) - set(self._tensors)
            raise StorageError("A row lacks {} and has unknown {}.".format(sorted(missing), sorted(unknown)))
        start = self._start()
        if self._rows_from != start:
            # Views of single rows are made once for a rollout: indexing costs more than the copy of a small row.
            self._rows = {
                name: tensor[start : start + self.rollouts].unbind(0) for name, tensor in self._tensors.items()
            }
            self._rows_from = start
        for name, values in row.items():
            target = self._rows[name][self.cursor]
            if values.shape != target.shape:
                raise StorageError(
                    "'{}' has shape {}; expected {}.".format(name, tuple(values.shape), tuple(target.shape))
                )
            target.copy_(values)
        self.cursor += 1

    def _start(self, age: int = 0) -> int:
        return (self.completed - age) % self.capacity * self.rollouts

    def rollout(self, age: int = 0) -> Dict[str, torch.Tensor]:
        """Return views ``(rollouts, num_envs, *shape)`` of a whole rollout.

        Args:
            age: 0 is the newest, 1 the one before it, and so on.

        Raises:
            StorageError: There is no whole rollout of that age.
        """
        kept = min(self.completed, self.capacity - 1)
        if age < 0 or age > kept or (age == 0 and not self.is_full):
            raise StorageError(
                "There is no whole rollout of age {}; {} older ones are kept and the newest has {} of {} rows.".format(
                    age, kept, self.cursor, self.rollouts
                )
            )
        start = self._start(age)
        return {name: tensor[start : start + self.rollouts] for name, tensor in self._tensors.items()}

    def start_next(self) -> None:
        """Keep the newest rollout, if complete, among the older ones, and begin another."""
        if self.is_full:
            self.completed += 1
        self.cursor = 0

    def drop(self) -> None:
        """Forget the rows of the newest rollout, complete or not; older ones stay."""
        self.cursor = 0

    def state_dict(self) -> Dict[str, Any]:
        """Return the counters and all rows that can still be read; those that will be overwritten are zeros."""
        used = self.cursor > 0 or (self.capacity > 1 and self.completed > 0)
        tensors = {name: tensor.clone() for name, tensor in self._tensors.items()} if used else {}
        start = self._start()
        for tensor in tensors.values():
            tensor[start + self.cursor : start + self.rollouts] = 0
        return {"cursor": self.cursor, "completed": self.completed, "tensors": tensors}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare keys, shapes and types."""
        require_keys(state, ("cursor", "completed", "tensors"), "memory")
        lines = tensor_differences(self._tensors, state["tensors"]) if state["tensors"] else []
        if lines or not 0 <= state["cursor"] <= self.rollouts:
            raise StateError("memory: {}".format("; ".join(lines) or "cursor {}".format(state["cursor"])))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over counters and rows."""
        self.cursor, self.completed = state["cursor"], state["completed"]
        for name, values in state["tensors"].items():
            self._tensors[name].copy_(values)
