"""Storage of off-policy transitions: a ring of vector steps, allocated once, written in place."""

import math
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np
import torch

from AquaML.errors import StateError, StorageError
from AquaML.learning.memory.priorities import Priorities
from AquaML.learning.memory.sampling import uniform_places
from AquaML.stateful import Stateful, require_keys, tensor_differences

PACKED = "packed"
"""Name of the tensor that holds all float32 keys side by side."""

Places = Union[torch.Tensor, slice]


class ReplayMemory(Stateful):
    """The newest transitions of all environments; each key keeps its shape and type.

    A *place* is the number of one transition: ``row * num_envs + environment``. All float32 keys of a transition lie
    side by side in memory, so that a batch of them is gathered by one operation; nobody outside sees that.

    Args:
        rows: Vector steps kept; then the oldest is overwritten.
        num_envs: Number of environments.
        device: Where the tensors live.
        directory: Folder in which everything lies in memory-mapped temporary files, for memories larger than the
            machine's; None: in memory.
        priorities: How transitions are preferred in sampling; None: all alike.

    Raises:
        StorageError: ``directory`` is missing, or given for an accelerator.
    """

    own_file = True
    """A run's checkpoint keeps this state in a file of its own."""

    def __init__(
        self,
        rows: int,
        num_envs: int,
        device: torch.device,
        directory: Optional[Union[str, Path]] = None,
        priorities: Optional[Priorities] = None,
    ) -> None:
        if rows < 1:
            raise StorageError("A replay memory of {} vector steps holds nothing; expected at least 1.".format(rows))
        if directory is not None and device.type != "cpu":
            raise StorageError("A memory in files ('{}') lies on the CPU, not on {}.".format(directory, device))
        if directory is not None and not Path(directory).is_dir():
            raise StorageError("There is no folder '{}' for the memory's files; make it first.".format(directory))
        self.rows, self.num_envs, self.device = rows, num_envs, device
        self.directory = directory
        self.is_saved = True
        self.priorities = priorities
        self.cursor = 0
        self.size = 0
        self.written = 0
        self.fresh = 0
        self._shapes: Dict[str, Tuple[Tuple[int, ...], torch.dtype]] = {}
        self._columns: Dict[str, slice] = {}
        self._tensors: Dict[str, torch.Tensor] = {}

    @property
    def names(self) -> Tuple[str, ...]:
        """Names of all stored keys."""
        return tuple(self._shapes)

    @property
    def transitions(self) -> int:
        """Number of stored transitions, over all environments."""
        return self.size * self.num_envs

    @property
    def _extent(self) -> int:
        """Rows from the first on that hold anything: all of them once the ring is full, even if some were dropped."""
        return self.size if self.cursor == self.size else self.rows

    def create_tensor(self, name: str, shape: Tuple[int, ...], dtype: torch.dtype) -> None:
        """Announce a key; memory is allocated at the first :meth:`write`.

        Args:
            name: The key.
            shape: Shape of one environment's row.
            dtype: The stored type.

        Raises:
            StorageError: The key exists, or rows are stored already.
        """
        if name in self._shapes or self._tensors:
            raise StorageError("'{}' cannot be created: it exists, or the memory is in use already.".format(name))
        self._shapes[name] = (tuple(shape), dtype)

    def allocate(self) -> None:
        """Allocate all keys; again is no error."""
        if self._tensors:
            return
        width = 0
        for name, (shape, dtype) in self._shapes.items():
            if dtype == torch.float32:
                end = width + int(np.prod(shape, dtype=np.int64))
                self._columns[name] = slice(width, end)
                width = end
            else:
                self._tensors[name] = self._zeros((self.rows * self.num_envs,) + shape, dtype)
        if width:
            self._tensors[PACKED] = self._zeros((self.rows * self.num_envs, width), torch.float32)

    def _zeros(self, shape: Tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if self.directory is None:
            return torch.zeros(shape, dtype=dtype, device=self.device)
        # The file has no name once it is closed, so that nothing is left behind.
        file = tempfile.TemporaryFile(dir=str(self.directory))  # noqa: SIM115
        kind = torch.zeros((), dtype=dtype).numpy().dtype
        return torch.from_numpy(np.memmap(file, dtype=kind, mode="w+", shape=shape))

    # ------------------------------------------------------------------ writing

    @torch.no_grad()
    def write(self, row: Mapping[str, torch.Tensor]) -> None:
        """Copy one vector step of every key, over the oldest one if there is no room.

        Args:
            row: Key to ``(num_envs, *shape)`` tensor; all keys must be there.

        Raises:
            StorageError: A key is missing or unknown, or a shape differs.
        """
        self.allocate()
        if row.keys() != self._shapes.keys():
            missing, unknown = set(self._shapes) - set(row), set(row) - set(self._shapes)
            raise StorageError("A row lacks {} and has unknown {}.".format(sorted(missing), sorted(unknown)))
        place = slice(self.cursor * self.num_envs, (self.cursor + 1) * self.num_envs)
        packed: List[torch.Tensor] = []
        for name, values in row.items():
            shape = (self.num_envs,) + self._shapes[name][0]
            if values.shape != shape:
                raise StorageError("'{}' has shape {}; expected {}.".format(name, tuple(values.shape), shape))
        for name in self._shapes:
            if name in self._columns:
                values = row[name] if row[name].dtype == torch.float32 else row[name].float()
                packed.append(values if values.dim() == 2 else values.reshape(self.num_envs, -1))
            else:
                self._tensors[name][place].copy_(row[name])
        if packed:
            torch.cat(packed, dim=1, out=self._tensors[PACKED][place])
        if self.priorities is not None:
            self.priorities.add(self._newest_places(1, first=self.cursor))
        self.cursor = (self.cursor + 1) % self.rows
        self.size = min(self.size + 1, self.rows)
        self.written += 1
        self.fresh = min(self.fresh + 1, self.rows)

    def _newest_places(self, rows: int, first: Optional[int] = None) -> torch.Tensor:
        begin = (self.cursor - rows) % self.rows if first is None else first
        places = torch.arange(begin * self.num_envs, (begin + rows) * self.num_envs, device=self.device)
        return places % (self.rows * self.num_envs)

    def change_newest(self, name: str, values: torch.Tensor) -> None:
        """Replace one key of the newest vector step.

        Args:
            name: The key.
            values: ``(num_envs, *shape)``.
        """
        if self.size:
            row = (self.cursor - 1) % self.rows
            self._view(name)[row * self.num_envs : (row + 1) * self.num_envs].copy_(values)

    def fresh_places(self) -> torch.Tensor:
        """Return the places of what was written since :meth:`settle`, oldest first, ``(fresh * num_envs,)``."""
        return self._newest_places(self.fresh)

    def fresh_rows(self) -> Places:
        """Return :meth:`fresh_places` for :meth:`read`, where possible as a slice, which spares a copy."""
        begin = (self.cursor - self.fresh) % self.rows
        if begin + self.fresh > self.rows:
            return self.fresh_places()
        return slice(begin * self.num_envs, (begin + self.fresh) * self.num_envs)

    def settle(self) -> None:
        """Take note that what is fresh has been looked at."""
        self.fresh = 0

    def drop_fresh(self) -> None:
        """Forget what was written since :meth:`settle`."""
        if self.priorities is not None and self.fresh:
            self.priorities.remove(self.fresh_places())
        self.cursor = (self.cursor - self.fresh) % self.rows
        self.size -= self.fresh
        self.fresh = 0

    def clear(self) -> None:
        """Forget everything."""
        self.cursor = self.size = self.fresh = 0
        if self.priorities is not None:
            self.priorities.clear()

    # ------------------------------------------------------------------ reading

    def draw(self, number: int) -> torch.Tensor:
        """Draw places of stored transitions, each alike and independently: a place may come up twice.

        Args:
            number: How many.

        Returns:
            ``(number,)`` int64.
        """
        places = uniform_places(self.transitions, number, self.device)
        oldest = (self.cursor - self.size) % self.rows
        # Only what was dropped out of a full ring leaves a hole in it, just before the oldest row.
        return places if oldest == 0 or self.size == self.rows else self.following(places, oldest)

    def _view(self, name: str) -> torch.Tensor:
        """Return a key as ``(rows * num_envs, *shape)``, sharing memory."""
        if name not in self._columns:
            return self._tensors[name]
        view = self._tensors[PACKED][:, self._columns[name]]
        shape = self._shapes[name][0]
        return view if len(shape) == 1 else view.view((len(view),) + shape)

    def read(self, name: str, places: Places) -> torch.Tensor:
        """Return one key's values; they are copies unless ``places`` is a slice.

        Args:
            name: The key.
            places: Places of any shape ``(*S)``, or a slice.

        Returns:
            ``(*S, *shape)``.
        """
        return self._view(name)[places]

    def read_all(self, places: torch.Tensor) -> Dict[str, torch.Tensor]:
        """Return copies of every key; float32 ones share one tensor.

        Args:
            places: Places, ``(B,)``.

        Returns:
            Name to ``(B, *shape)``.
        """
        batch: Dict[str, torch.Tensor] = {}
        packed = self._tensors[PACKED].index_select(0, places) if PACKED in self._tensors else None
        for name, (shape, _) in self._shapes.items():
            if name in self._columns and packed is not None:
                values = packed[:, self._columns[name]]
                batch[name] = values if len(shape) == 1 else values.reshape((len(places),) + shape)
            else:
                batch[name] = self._tensors[name].index_select(0, places)
        return batch

    def packed_rows(self, places: Places) -> Optional[torch.Tensor]:
        """Return all float32 keys side by side, ``(B, features)``, as :meth:`read` does; None if there is none."""
        return self._tensors[PACKED][places] if PACKED in self._tensors else None

    def following(self, places: torch.Tensor, steps: int) -> torch.Tensor:
        """Return the places of the same environments some vector steps later.

        Args:
            places: Places.
            steps: How much later; whether there is such a step yet is told by :meth:`remaining`.
        """
        return (places + steps * self.num_envs) % (self.rows * self.num_envs)

    def remaining(self, places: torch.Tensor) -> torch.Tensor:
        """Return how many vector steps were stored after each place."""
        rows = torch.div(places, self.num_envs, rounding_mode="floor")
        return (self.cursor - 1 - rows) % self.rows

    # ------------------------------------------------------------------ state

    def state_dict(self) -> Dict[str, Any]:
        """Return the counters and all stored rows."""
        used = self._extent * self.num_envs
        tensors = {name: tensor[:used] for name, tensor in self._tensors.items()}
        if self.directory is None:
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        counters = {"cursor": self.cursor, "size": self.size, "written": self.written, "fresh": self.fresh}
        priorities = None if self.priorities is None else self.priorities.state_dict(used)
        return {"counters": counters, "tensors": tensors if used else {}, "priorities": priorities}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare counters with the capacity, and keys, shapes and types."""
        require_keys(state, ("counters", "tensors", "priorities"), "memory")
        counters = state["counters"]
        require_keys(counters, ("cursor", "size", "written", "fresh"), "memory")
        size = counters["size"]
        in_order = 0 <= size <= self.rows and 0 <= counters["fresh"] <= size and 0 <= counters["cursor"] < self.rows
        if not in_order:
            raise StateError("memory: {} do not fit {} vector steps".format(counters, self.rows))
        self.allocate()
        used = (size if counters["cursor"] == size else self.rows) * self.num_envs
        expected = {name: tensor[:used] for name, tensor in self._tensors.items()} if used else {}
        lines = tensor_differences(expected, state["tensors"])
        if (state["priorities"] is None) != (self.priorities is None):
            lines.append("one of them samples by priority, the other does not")
        elif self.priorities is not None:
            self.priorities.validate_state(state["priorities"], used)
        if lines:
            raise StateError("memory: {}".format("; ".join(lines)))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over counters and rows."""
        self.allocate()
        counters = state["counters"]
        self.cursor, self.size = counters["cursor"], counters["size"]
        self.written, self.fresh = counters["written"], counters["fresh"]
        for name, values in state["tensors"].items():
            self._tensors[name][: len(values)].copy_(values)
        if self.priorities is not None:
            self.priorities.load_state_dict(state["priorities"])


def rows_for(transitions: int, num_envs: int) -> int:
    """Return how many vector steps hold a number of transitions, at least one."""
    return max(1, math.floor(transitions / num_envs))
