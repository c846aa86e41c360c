"""Preallocated tensors for what a simulator returned: copied once, so that its own buffers may change at will."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from AquaML.environment.leaf_names import at_path, leaf_paths
from AquaML.environment.spaces import SpaceLayout, TensorSpec
from AquaML.errors import EnvironmentContractError, SpaceError

Leaf = Tuple[str, Tuple[Any, ...], TensorSpec]


class SimulatorBuffer:
    """The results of one step, with one row per environment.

    Attributes:
        observations: Leaf name to ``(num_envs, *shape)``: what to act on next.
        final: Leaf name to ``(num_envs, *shape)``: last observations; None until there is one in this step.
        rewards: ``(num_envs, 1)`` float32.
        done: ``(num_envs, 1)`` bool, as the simulator sees it.
        terminated: ``(num_envs, 1)`` bool.
        truncated: ``(num_envs, 1)`` bool.
        valid: ``(num_envs, 1)`` bool.
        log: Name to a float32 tensor: ``(num_envs, 1)``, or ``()`` for a mean over the batch.
    """

    def __init__(self, layout: SpaceLayout, num_envs: int, device: torch.device) -> None:
        self.num_envs = num_envs
        self.device = device
        self._leaves: List[Leaf] = [(name, path, layout.specs[name]) for name, path in leaf_paths(layout.structure)]
        self.observations = self._allocate()
        self._final: Optional[Dict[str, torch.Tensor]] = None
        self.final: Optional[Dict[str, torch.Tensor]] = None
        self.rewards = torch.zeros((num_envs, 1), device=device)
        self.done, self.terminated, self.truncated, self.valid = (
            torch.zeros((num_envs, 1), dtype=torch.bool, device=device) for _ in range(4)
        )
        self.log: Dict[str, torch.Tensor] = {}

    def _allocate(self) -> Dict[str, torch.Tensor]:
        return {
            name: torch.zeros((self.num_envs,) + spec.shape, dtype=getattr(torch, spec.dtype), device=self.device)
            for name, _, spec in self._leaves
        }

    def begin(self) -> None:
        """Forget what need not be written in every step."""
        self.final = None
        self.log = {}

    # ------------------------------------------------------------------ observations

    def store_observations(self, observations: Any) -> None:
        """Copy what to act on next.

        Args:
            observations: A tensor ``(num_envs, *native_shape)``, or such tensors in the simulator's own nesting.

        Raises:
            EnvironmentContractError: A key is missing, or a shape is not that of the space.
        """
        self._store(observations, self.observations, "The observation")

    def store_final(self, observations: Any) -> None:
        """Copy observations whose rows are the last ones of the episodes that ended in this step."""
        self._store(observations, self._show_final(), "The final observation")

    def move_to_final(self) -> None:
        """Make the observations stored so far the last ones, before those after a reset are stored."""
        for name, target in self._show_final().items():
            target.copy_(self.observations[name])

    def store_final_rows(self, rows: torch.Tensor, observations: Any) -> None:
        """Copy the last observations of some environments.

        Args:
            rows: ``(R,)`` int64, the environments.
            observations: As in :meth:`store_observations`, with ``R`` rows.
        """
        target = self._show_final()
        rows = rows.to(self.device)
        for name, path, spec in self._leaves:
            value = self._leaf(observations, name, path, spec, "The final observation", len(rows))
            values = value.to(self.device, target[name].dtype, copy=True).reshape((len(rows),) + spec.shape)
            self._subtract_start(values, spec)
            target[name].index_copy_(0, rows, values)

    def _show_final(self) -> Dict[str, torch.Tensor]:
        if self._final is None:
            self._final = self._allocate()
        self.final = self._final
        return self._final

    def _store(self, observations: Any, target: Dict[str, torch.Tensor], what: str) -> None:
        for name, path, spec in self._leaves:
            value = self._leaf(observations, name, path, spec, what, self.num_envs)
            stored = target[name]
            shaped = value if value.shape == stored.shape else value.reshape(stored.shape)
            stored.copy_(shaped, non_blocking=True)
            self._subtract_start(stored, spec)

    def _leaf(
        self, observations: Any, name: str, path: Tuple[Any, ...], spec: TensorSpec, what: str, rows: int
    ) -> torch.Tensor:
        try:
            value = at_path(observations, path)
        except SpaceError as error:
            raise EnvironmentContractError(
                "{} has no '{}': {}. Its space declares it.".format(what, name, error)
            ) from error
        shape = getattr(value, "shape", None)
        if shape is None or shape != (rows,) + spec.native_shape:
            raise EnvironmentContractError(
                "{} '{}' has shape {}, but its space declares {} for each of {} environments.".format(
                    what, name, None if shape is None else tuple(shape), spec.native_shape, rows
                )
            )
        return value if isinstance(value, torch.Tensor) else torch.as_tensor(value)

    @staticmethod
    def _subtract_start(stored: torch.Tensor, spec: TensorSpec) -> None:
        if any(spec.start):
            stored -= torch.tensor(spec.start, dtype=stored.dtype, device=stored.device).reshape(spec.shape)

    # ------------------------------------------------------------------ rewards and flags

    def store_rewards(self, rewards: torch.Tensor) -> None:
        """Copy rewards ``(num_envs,)`` or ``(num_envs, 1)`` of any real type."""
        self.rewards.copy_(self._column("rewards", rewards), non_blocking=True)

    def store_done(self, done: torch.Tensor, time_outs: Optional[torch.Tensor] = None) -> None:
        """Split ends of episodes into failures and time limits.

        A time limit counts only where an episode ended: several simulators rewrite it at resets alone, so that it is
        stale in between.

        Args:
            done: ``(num_envs,)`` of any type, not 0 where an episode ended.
            time_outs: ``(num_envs,)`` of any type, not 0 where the time limit ended it; None: it never does.
        """
        self.done.copy_(self._column("dones", done), non_blocking=True)
        if time_outs is None:
            self.terminated.copy_(self.done)
            self.truncated.zero_()
            return
        self.truncated.copy_(self._column("time_outs", time_outs), non_blocking=True)
        self.truncated &= self.done
        torch.bitwise_xor(self.done, self.truncated, out=self.terminated)

    def store_flags(self, terminated: torch.Tensor, truncated: torch.Tensor) -> None:
        """Copy both kinds of ends; where both are reported, the episode has terminated."""
        self.terminated.copy_(self._column("terminated", terminated), non_blocking=True)
        self.truncated.copy_(self._column("truncated", truncated), non_blocking=True)
        torch.logical_or(self.terminated, self.truncated, out=self.done)
        torch.bitwise_xor(self.done, self.terminated, out=self.truncated)

    def _column(self, name: str, values: Any) -> torch.Tensor:
        if not isinstance(values, torch.Tensor):
            values = torch.as_tensor(values)
        if tuple(values.shape) not in ((self.num_envs,), (self.num_envs, 1)):
            raise EnvironmentContractError(
                "The simulator returned {} of shape {}; expected ({},).".format(
                    name, tuple(values.shape), self.num_envs
                )
            )
        return values.reshape(self.num_envs, 1)


class SimulatorBuffers:
    """Two :class:`SimulatorBuffer` in turn: a step's results stay unchanged until the second next step."""

    def __init__(self, layout: SpaceLayout, num_envs: int, device: torch.device) -> None:
        self._pair = [SimulatorBuffer(layout, num_envs, device) for _ in range(2)]
        self._index = 0

    def next(self) -> SimulatorBuffer:
        """Return the set that is older."""
        self._index ^= 1
        self._pair[self._index].begin()
        return self._pair[self._index]


class FreshScalars:
    """Takes up a simulator's scalars once each time they are written.

    Simulators write them when episodes end and leave them there until the next end. A tensor is new when it is another
    object or was written into; a plain number also when it stands in another dictionary, since Python has but one
    object for a small integer.

    Args:
        num_envs: Number of environments.
        device: Where the tensors go.
    """

    def __init__(self, num_envs: int, device: torch.device) -> None:
        self._num_envs = num_envs
        self._device = device
        self._known: Dict[str, Tuple[Any, int]] = {}
        self._dictionaries: Dict[str, Mapping[str, Any]] = {}

    def take(self, scalars: Optional[Mapping[str, Any]], leave_out: Sequence[str] = ()) -> Dict[str, torch.Tensor]:
        """Return new numbers as float32 tensors, ``(num_envs, 1)`` or ``()``.

        Args:
            scalars: Name to a number, a tensor of one element, or ``(num_envs,)``, in dictionaries nested at will; what
                else is there is left out. These are the simulator's own dictionaries, not copies of them.
            leave_out: Names that are no such numbers.
        """
        taken: Dict[str, torch.Tensor] = {}
        if scalars:
            self._take(scalars, "", taken, leave_out)
        return taken

    def _take(
        self, scalars: Mapping[str, Any], prefix: str, taken: Dict[str, torch.Tensor], leave_out: Sequence[str] = ()
    ) -> None:
        # Objects are kept, so that no new one can take their place in memory and be taken for them.
        other_dictionary = self._dictionaries.get(prefix) is not scalars
        self._dictionaries[prefix] = scalars
        for key, value in scalars.items():
            name = "{}{}".format(prefix, key)
            if name in leave_out:
                continue
            if isinstance(value, Mapping):
                self._take(value, name + "/", taken)
                continue
            is_tensor = isinstance(value, torch.Tensor)
            version = value._version if is_tensor and not value.is_inference() else 0
            before = self._known.get(name)
            same = before is not None and before[0] is value and before[1] == version
            if same and (is_tensor or not other_dictionary):
                continue
            self._known[name] = (value, version)
            number = as_log(value, self._num_envs, self._device)
            if number is not None:
                taken[name] = number


def as_log(value: Any, num_envs: int, device: torch.device) -> Optional[torch.Tensor]:
    """Return a number as a float32 tensor ``()`` or a row of them as ``(num_envs, 1)``; None for anything else."""
    if isinstance(value, torch.Tensor):
        if value.numel() == 1 and num_envs != 1:
            return value.detach().to(device, torch.float32).reshape(())
        if tuple(value.shape) in ((num_envs,), (num_envs, 1)):
            return value.detach().to(device, torch.float32, copy=True).reshape(num_envs, 1)
        return value.detach().to(device, torch.float32).reshape(()) if value.numel() == 1 else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return torch.full((), number, dtype=torch.float32, device=device)
