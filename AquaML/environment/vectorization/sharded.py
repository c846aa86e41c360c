"""A few worker processes, each stepping a share of the environments over shared memory."""

import contextlib
import multiprocessing
import multiprocessing.util
import pickle
import sys
import time
import types
from multiprocessing.connection import wait
from typing import Any, Dict, Iterator, List, NoReturn, Optional, Sequence

import numpy as np

import AquaML.errors
from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.spaces import SpaceLayout
from AquaML.environment.step_arrays import StepArrays
from AquaML.environment.vectorization.backend import VectorBackend
from AquaML.environment.vectorization.factory import EnvironmentFactory
from AquaML.environment.vectorization.replay_state import cut_replay, join_replays
from AquaML.environment.vectorization.shard_worker import DONE, Share, SharedBlock, run
from AquaML.errors import EnvironmentContractError, EnvironmentFailedError

_SECONDS_TO_CLOSE = 5.0


class _Worker:
    """One process and what connects to it."""

    def __init__(self, share: Share, process: Any, connection: Any, lifeline: Any) -> None:
        self.share, self.process, self.connection, self.lifeline = share, process, connection, lifeline

    def __str__(self) -> str:
        return "worker {} (environments {} to {})".format(self.share.worker, self.share.first, self.share.last - 1)


class ShardedVector(VectorBackend):
    """Environments of any kind in worker processes, equal to :class:`~.sync.SyncVector` step by step.

    An exception in an environment, a worker that dies, and a step that takes too long end in an error that names the
    environment; then all workers are ended. They also end when this process does.

    Args:
        factory: Makes one environment; it goes to the workers by ``pickle``.
        num_envs: Number of environments.
        layout: Their observation space.
        transform: Converts the agent's actions.
        workers: Number of processes.
        step_timeout: Seconds after which a step or reset is given up; None: never.

    Raises:
        EnvironmentContractError: The factory cannot go to another process.
        EnvironmentFailedError: A worker could not start.
    """

    def __init__(
        self,
        factory: EnvironmentFactory,
        num_envs: int,
        layout: SpaceLayout,
        transform: ActionTransform,
        workers: int,
        step_timeout: Optional[float] = None,
    ) -> None:
        self.num_envs = num_envs
        self._timeout = step_timeout
        self._workers: List[_Worker] = []
        self._waiting: List[_Worker] = []
        self._reset_once = False
        workers = min(workers, num_envs)
        block = SharedBlock(layout, transform.layout, num_envs, workers)
        edges = [number * num_envs // workers for number in range(workers + 1)]
        shares = [
            Share(block, factory, layout, transform, number, first, last)
            for number, (first, last) in enumerate(zip(edges[:-1], edges[1:]))
        ]
        context = multiprocessing.get_context("spawn")
        memory = context.RawArray("b", block.size)
        self._shared, self._actions, self._progress = block.show(memory, 0, num_envs)
        self._progress[...] = -1
        self._start(context, memory, shares)

    def _start(self, context: Any, memory: Any, shares: Sequence[Share]) -> None:
        plans = [_pickled(share) for share in shares]
        try:
            with _main_module_if(any(b"__main__" in plan for plan in plans)):
                for share, plan in zip(shares, plans):
                    ours, theirs = context.Pipe()
                    listening, lifeline = context.Pipe(duplex=False)
                    process = context.Process(
                        target=run,
                        args=(theirs, listening, memory, plan),
                        name="AquaML environments {} to {}".format(share.first, share.last - 1),
                        daemon=True,
                    )
                    self._workers.append(_Worker(share, process, ours, lifeline))
                    process.start()
                    theirs.close()
                    listening.close()
            # They ignore the SIGTERM by which multiprocessing ends daemons when this process ends.
            multiprocessing.util.Finalize(self, _kill, (list(self._workers),), exitpriority=10)
            self._waiting = list(self._workers)
            self._collect(None, "while it started")
        except BaseException:
            self._end(0.0)
            raise

    def reset(self, seed: Optional[int], out: StepArrays) -> None:
        """Start every environment anew and write the first observations."""
        self._ask("reset", [seed] * len(self._workers), self._timeout)
        self._reset_once = True
        for name, values in out.observations.items():
            values[...] = self._shared.observations[name]

    def step(self, native: Dict[str, np.ndarray], out: StepArrays) -> bool:
        """Advance every environment and write the results."""
        for name, values in self._actions.items():
            values[...] = native[name]
        answers = self._ask("step", [None] * len(self._workers), self._timeout)
        shared = self._shared
        out.rewards[...] = shared.rewards
        out.terminated[...] = shared.terminated
        out.truncated[...] = shared.truncated
        for name, values in out.observations.items():
            values[...] = shared.observations[name]
        out.log = self._joined([log for _, log in answers])
        if not any(ended for ended, _ in answers):
            return False
        for name, values in out.final.items():
            values[...] = shared.final[name]
        return True

    def _joined(self, logs: Sequence[Dict[str, np.ndarray]]) -> Dict[str, np.ndarray]:
        whole: Dict[str, np.ndarray] = {}
        for worker, log in zip(self._workers, logs):
            for name, values in log.items():
                if name not in whole:
                    whole[name] = np.full(self.num_envs, np.nan, np.float32)
                whole[name][worker.share.first : worker.share.last] = values
        return whole

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return how to replay all running episodes, or None when one cannot be replayed."""
        if not self._workers or not self._reset_once:
            return None
        states = self._ask("get_state", [None] * len(self._workers), None)
        return None if any(state is None for state in states) else join_replays(states)

    def set_state(self, state: Dict[str, Any], out: StepArrays) -> bool:
        """Replay the saved episodes, however many workers saved them; return whether that was exact."""
        shares = [cut_replay(state, worker.share.first, worker.share.last) for worker in self._workers]
        exact = all(self._ask("set_state", shares, None))
        self._reset_once = True
        for name, values in out.observations.items():
            values[...] = self._shared.observations[name]
        return exact

    def close(self) -> None:
        """Close the environments and end the workers."""
        if self._workers:
            with contextlib.suppress(OSError, EnvironmentFailedError):
                self._ask("close", [None] * len(self._workers), _SECONDS_TO_CLOSE)
            self._end(_SECONDS_TO_CLOSE)

    # ------------------------------------------------------------------ talking to workers

    def _ask(self, command: str, arguments: Sequence[Any], timeout: Optional[float]) -> List[Any]:
        """Give every worker a command and return all answers."""
        if not self._workers:
            raise EnvironmentFailedError("The worker processes have ended; make a new GymnasiumWrapper.")
        if self._waiting:
            # An interruption, such as Ctrl-C, left answers behind.
            self._collect(timeout, "before {}()".format(command))
        for worker, argument in zip(self._workers, arguments):
            try:
                worker.connection.send((command, argument))
            except OSError:
                self._dead(worker, "before {}()".format(command))
            self._waiting.append(worker)
        return self._collect(timeout, "in {}()".format(command))

    def _collect(self, timeout: Optional[float], moment: str) -> List[Any]:
        deadline = None if timeout is None else time.monotonic() + timeout
        answers: Dict[int, Any] = {}
        while self._waiting:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            handles = [worker.connection for worker in self._waiting]
            ready = wait(handles + [worker.process.sentinel for worker in self._waiting], left)
            if not ready:
                self._late(timeout, moment)
            for worker in list(self._waiting):
                if worker.connection in ready or worker.process.sentinel in ready:
                    answers[worker.share.worker] = self._answer(worker, moment)
                    self._waiting.remove(worker)
        return [answers.get(worker.share.worker) for worker in self._workers]

    def _answer(self, worker: _Worker, moment: str) -> Any:
        try:
            answer = worker.connection.recv() if worker.connection.poll() else None
        except (EOFError, OSError):
            answer = None
        if answer is None:
            self._dead(worker, moment)
        if answer[0] == DONE:
            return answer[1]
        _, kind, message, trace = answer
        self._end(0.0)
        raised = getattr(AquaML.errors, kind) if kind else EnvironmentFailedError
        where = "" if kind else "{} failed {}: ".format(_capital(str(worker)), moment)
        cause = EnvironmentFailedError("in {}:\n{}".format(worker, trace))
        raise raised(where + message) from cause

    def _dead(self, worker: _Worker, moment: str) -> NoReturn:
        environment = int(self._progress[worker.share.worker])
        worker.process.join(1.0)
        code = worker.process.exitcode
        self._end(0.0)
        advice = ""
        if moment == "while it started":
            advice = (
                " If the function that makes the environment stands in the script itself, everything else in it must "
                "stand below if __name__ == '__main__':, for each worker runs the script once."
            )
        elif code == -9:
            advice = " It was killed from outside; the system does so when memory runs out."
        raise EnvironmentFailedError(
            "{} died {}{} (exit code {}).{}".format(
                _capital(str(worker)), moment, _of(environment), "unknown" if code is None else code, advice
            )
        )

    def _late(self, timeout: Optional[float], moment: str) -> NoReturn:
        late = ["{}{}".format(worker, _of(int(self._progress[worker.share.worker]))) for worker in self._waiting]
        self._end(0.0)
        raise EnvironmentFailedError(
            "No answer {} within {} s (step_timeout) from {}. All workers were ended.".format(
                moment, timeout, ", ".join(late)
            )
        )

    def _end(self, patience: float) -> None:
        """End all workers: after some seconds of patience, by force."""
        workers, self._workers, self._waiting = self._workers, [], []
        deadline = time.monotonic() + patience
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            if worker.process.pid is not None:
                if patience > 0:
                    worker.process.join(max(0.0, deadline - time.monotonic()))
                if worker.process.is_alive():
                    worker.process.kill()
        for worker in workers:
            if worker.process.pid is not None:
                worker.process.join()
            worker.lifeline.close()


def _kill(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        if worker.process.is_alive():
            worker.process.kill()


def _of(environment: int) -> str:
    return "" if environment < 0 else " while environment {} was stepped or reset".format(environment)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pickled(share: Share) -> bytes:
    try:
        return pickle.dumps(share)
    except Exception as error:
        raise EnvironmentContractError(
            "vectorization='sharded' hands what makes the environments to other processes, which fails ({}: {}). Give "
            "an environment's id, or a function at the top level of a module: no lambda, and none inside another "
            "function.".format(type(error).__name__, error)
        ) from error


@contextlib.contextmanager
def _main_module_if(needed: bool) -> Iterator[None]:
    """Let processes that start now run the user's script only if something in it is needed.

    ``multiprocessing`` runs the script of the parent in every process that it starts, which imports torch there and
    needs a main guard. Whether there is a script it reads from ``sys.modules``.
    """
    if needed:
        yield
        return
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
