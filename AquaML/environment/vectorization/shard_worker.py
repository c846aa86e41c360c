"""What runs in a worker process: a share of the environments, stepped in turn over shared memory; no torch."""

import os
import pickle
import signal
import threading
import traceback
from typing import Any, Dict, Optional, Tuple

import numpy as np

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.spaces import SpaceLayout
from AquaML.environment.step_arrays import StepArrays, array_shapes
from AquaML.environment.vectorization.factory import EnvironmentFactory, require_alike
from AquaML.environment.vectorization.sync import SyncVector
from AquaML.errors import AquaMLError

DONE, FAILED = "done", "failed"
"""How an answer begins: followed by a value, or by the error's class, message and traceback."""

_FOR_THE_PARENT = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK")
_ALIGNMENT = 64
_PROGRESS = "progress"


class SharedBlock:
    """Arrays of all environments in one piece of memory that several processes see.

    Args:
        layout: The observation space.
        actions: The action space.
        num_envs: Number of environments.
        workers: Number of worker processes.
    """

    def __init__(self, layout: SpaceLayout, actions: SpaceLayout, num_envs: int, workers: int) -> None:
        self._shapes = array_shapes(layout.specs, num_envs)
        self._action_names = list(actions.specs)
        for name, spec in actions.specs.items():
            self._shapes["action/" + name] = ((num_envs,) + spec.native_shape, spec.native_dtype)
        self._shapes[_PROGRESS] = ((workers,), "int64")

    @property
    def size(self) -> int:
        """Bytes that are needed."""
        return sum(self._place(shape, dtype) for shape, dtype in self._shapes.values())

    @staticmethod
    def _place(shape: Tuple[int, ...], dtype: str) -> int:
        needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return -(-needed // _ALIGNMENT) * _ALIGNMENT

    def show(self, memory: Any, first: int, last: int) -> Tuple[StepArrays, Dict[str, np.ndarray], np.ndarray]:
        """Return views of some environments.

        Args:
            memory: At least :attr:`size` bytes.
            first: First environment.
            last: One after the last environment.

        Returns:
            What steps write, the actions by name, and which environment each worker is at (-1: none).
        """
        arrays: Dict[str, np.ndarray] = {}
        offset = 0
        for name, (shape, dtype) in self._shapes.items():
            count = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(memory, dtype, count, offset).reshape(shape)
            offset += self._place(shape, dtype)
        progress = arrays.pop(_PROGRESS)
        rows = {name: array[first:last] for name, array in arrays.items()}
        return StepArrays(rows), {name: rows["action/" + name] for name in self._action_names}, progress


class Share:
    """One worker's environments.

    Args:
        block: How the shared memory is laid out.
        factory: Makes an environment.
        layout: The observation space.
        transform: Converts actions.
        worker: The worker's number.
        first: Its first environment.
        last: One after its last environment.
    """

    def __init__(
        self,
        block: SharedBlock,
        factory: EnvironmentFactory,
        layout: SpaceLayout,
        transform: ActionTransform,
        worker: int,
        first: int,
        last: int,
    ) -> None:
        self._block, self._factory, self._layout, self._transform = block, factory, layout, transform
        self.worker, self.first, self.last = worker, first, last

    def open(self, memory: Any) -> None:
        """Make the environments."""
        self._out, self._actions, progress = self._block.show(memory, self.first, self.last)
        environments = [self._factory() for _ in range(self.first, self.last)]
        require_alike(environments, self._layout, self._transform.layout, self.first)
        self._vector = SyncVector(
            environments,
            self._layout,
            self._transform,
            first_index=self.first,
            progress=progress[self.worker : self.worker + 1],
        )

    def reset(self, seed: Optional[int]) -> None:
        """Start every environment anew; environment *i* of all gets ``seed + i``."""
        self._vector.reset(None if seed is None else seed + self.first, self._out)

    def step(self, _: None) -> Tuple[bool, Dict[str, np.ndarray]]:
        """Advance every environment by the shared actions; return whether any ended, and the scalars."""
        # The actions are kept for an exact resume, and the shared ones will be overwritten.
        native = {name: values.copy() for name, values in self._actions.items()}
        return self._vector.step(native, self._out), self._out.log

    def get_state(self, _: None) -> Optional[Dict[str, Any]]:
        """Return how to replay the running episodes."""
        return self._vector.get_state()

    def set_state(self, state: Dict[str, Any]) -> bool:
        """Replay saved episodes; return whether that was exact."""
        return self._vector.set_state(state, self._out)

    def close(self, _: None) -> None:
        """Close the environments."""
        self._vector.close()


def run(connection: Any, lifeline: Any, memory: Any, plan: bytes) -> None:
    """Answer commands until the connection closes.

    Args:
        connection: Commands ``(name of a method of Share, its argument)`` come in, answers go out.
        lifeline: Closes when the parent process dies.
        memory: Shared memory.
        plan: A pickled :class:`Share`.
    """
    # Terminals and job schedulers send signals to all processes; the parent decides what becomes of the workers.
    for name in _FOR_THE_PARENT:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    share: Optional[Share] = None
    try:
        share = pickle.loads(plan)
        share.open(memory)
    except Exception as error:
        _answer(connection, _failure(error))
        return
    alive = _answer(connection, (DONE, None))
    while alive:
        try:
            command, argument = connection.recv()
        except (EOFError, OSError):
            break
        alive = _answer(connection, _obey(share, command, argument)) and command != "close"


def _obey(share: Share, command: str, argument: Any) -> Tuple[Any, ...]:
    try:
        return DONE, getattr(share, command)(argument)
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Tuple[str, str, str, str]:
    kind = type(error).__name__ if isinstance(error, AquaMLError) else ""
    message = str(error) if kind else "{}: {}".format(type(error).__name__, error)
    return FAILED, kind, message, traceback.format_exc()


def _answer(connection: Any, answer: Tuple[Any, ...]) -> bool:
    """Send an answer; return whether anybody takes it."""
    try:
        connection.send(answer)
    except (BrokenPipeError, ConnectionError, OSError):
        return False
    return True


def _die_with_parent(lifeline: Any) -> None:
    """End this process when the parent has died, even in the middle of a step that never ends."""
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)
