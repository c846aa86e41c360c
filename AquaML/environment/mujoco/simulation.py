"""Many MuJoCo simulations advanced by threads."""

import os
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

import numpy as np

from AquaML.errors import EnvironmentContractError, MissingDependencyError

Rows = Union[Sequence[int], np.ndarray]

_CHUNKS_PER_THREAD = 8
"""Robots in contact take longer than robots in the air; small portions let the threads end together."""

_POST_CONSTRAINT = ("cacc", "cfrc_int", "cfrc_ext")


def import_mujoco() -> Any:
    """Import MuJoCo when it is needed.

    Raises:
        MissingDependencyError: MuJoCo is not installed.
    """
    try:
        import mujoco
    except ImportError as error:
        raise MissingDependencyError("MuJoCo is not installed; install it by: pip install 'AquaML[mujoco]'") from error
    return mujoco


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Simulation:
    """One ``MjData`` per environment, stepped outside Python's global lock.

    ``mj_step`` releases the lock, so plain threads use all cores. Values of all environments are read through
    :meth:`watch`, which gathers them into one array after every step.

    Args:
        models: One ``MjModel`` for all environments, or one for each. All must have the same sizes.
        num_envs: Number of environments.
        frame_skip: Physics steps per :meth:`step`.
        threads: Number of threads; None: as many as this process has cores.
        post_constraint: Whether to compute accelerations and contact forces of bodies (``cacc``, ``cfrc_int``,
            ``cfrc_ext``) after each step; watching one of them switches this on.
        up_to_date: Whether what follows from positions and velocities (positions of bodies, sensors) is that of the
            state after a step. MuJoCo's own step leaves it one physics step behind. Trajectories are the same to the
            last bit, and no work is done twice but with the integrator RK4.

    Raises:
        EnvironmentContractError: The number of models does not fit.
        MissingDependencyError: MuJoCo is not installed.
    """

    def __init__(
        self,
        models: Sequence[Any],
        num_envs: int,
        frame_skip: int = 1,
        threads: Optional[int] = None,
        post_constraint: bool = False,
        up_to_date: bool = False,
    ) -> None:
        self._mujoco = import_mujoco()
        if len(models) not in (1, num_envs):
            raise EnvironmentContractError(
                "{} models for {} environments; expected one for all or one for each.".format(len(models), num_envs)
            )
        self.num_envs = num_envs
        self.frame_skip = frame_skip
        self.models: List[Any] = list(models) if len(models) == num_envs else list(models) * num_envs
        self.model = self.models[0]
        self.data = [self._mujoco.MjData(model) for model in self.models]
        self.threads = min(threads or available_cores(), num_envs)
        self._post_constraint = post_constraint
        self._up_to_date = up_to_date
        self._splits_steps = up_to_date and self.model.opt.integrator != self._mujoco.mjtIntegrator.mjINT_RK4
        self._controls = [data.ctrl for data in self.data]
        self._watched: Dict[str, np.ndarray] = {}
        self._sources: Dict[str, List[np.ndarray]] = {}
        edges = np.linspace(0, num_envs, min(self.threads * _CHUNKS_PER_THREAD, num_envs) + 1).astype(int)
        self._chunks: List[Rows] = [range(first, last) for first, last in zip(edges[:-1], edges[1:])]
        self._pool = ThreadPoolExecutor(self.threads, "mujoco") if self.threads > 1 else None

    @property
    def time_step(self) -> float:
        """Seconds of simulated time that one :meth:`step` takes."""
        return float(self.model.opt.timestep) * self.frame_skip

    def watch(self, name: str) -> np.ndarray:
        """Return a field of ``MjData`` for all environments, kept current from now on.

        Args:
            name: For example ``"qpos"`` or ``"xpos"``.

        Returns:
            ``(num_envs, *shape)``; the same array every time, overwritten by steps and resets.

        Raises:
            EnvironmentContractError: ``MjData`` has no such array.
        """
        if name not in self._watched:
            if not isinstance(getattr(self.data[0], name, None), np.ndarray):
                raise EnvironmentContractError("MjData has no array '{}'; see MuJoCo's documentation.".format(name))
            sources: List[np.ndarray] = [getattr(data, name) for data in self.data]
            self._post_constraint = self._post_constraint or name in _POST_CONSTRAINT
            self._sources[name] = sources
            self._watched[name] = np.stack(sources)
        return self._watched[name]

    def step(self, controls: np.ndarray) -> None:
        """Apply controls ``(num_envs, nu)`` and advance every environment by ``frame_skip`` physics steps."""
        for target, control in zip(self._controls, controls):
            target[:] = control
        self._run(self._advance)
        self._gather()

    def _advance(self, indices: Rows) -> None:
        mujoco = self._mujoco
        for index in indices:
            model, data = self.models[index], self.data[index]
            whole = self.frame_skip
            if self._splits_steps:
                # The first half of this step was done at the end of the last one.
                mujoco.mj_step2(model, data)
                whole -= 1
            if whole:
                mujoco.mj_step(model, data, nstep=whole)
            if self._post_constraint:
                mujoco.mj_rnePostConstraint(model, data)
            if self._up_to_date:
                mujoco.mj_step1(model, data)

    def begin(self, rows: np.ndarray, positions: np.ndarray, velocities: np.ndarray) -> None:
        """Reset some environments and put them into a state.

        Args:
            rows: Indices ``(R,)`` of the environments.
            positions: Generalised positions ``(R, nq)``.
            velocities: Generalised velocities ``(R, nv)``.
        """
        for row, position, velocity in zip(rows, positions, velocities):
            data = self.data[row]
            self._mujoco.mj_resetData(self.models[row], data)
            data.qpos[:] = position
            data.qvel[:] = velocity
        self.forward(rows)

    def forward(self, rows: Rows) -> None:
        """Recompute everything that follows from the state of some environments."""

        def compute(indices: Rows) -> None:
            for index in indices:
                self._mujoco.mj_forward(self.models[index], self.data[index])

        portions = np.array_split(np.asarray(rows), min(len(rows), self.threads * _CHUNKS_PER_THREAD) or 1)
        self._run(compute, portions)
        self.refresh(rows)

    def refresh(self, rows: Rows) -> None:
        """Gather what is watched for some environments only, after their data were changed by hand."""
        for name, values in self._watched.items():
            sources = self._sources[name]
            for row in rows:
                values[row] = sources[row]

    def _gather(self) -> None:
        for name, values in self._watched.items():
            np.concatenate(self._sources[name], out=values.reshape((-1,) + values.shape[2:]))

    def _run(self, work: Callable[[Rows], None], portions: Optional[Sequence[Rows]] = None) -> None:
        portions = self._chunks if portions is None else portions
        if self._pool is None or len(portions) == 1:
            for portion in portions:
                work(portion)
            return
        futures = [self._pool.submit(work, portion) for portion in portions]
        wait(futures)
        for future in futures:
            future.result()

    def get_state(self) -> Dict[str, np.ndarray]:
        """Return all that the next steps depend on, and the watched values, which lag behind it by one substep."""
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        states = np.empty((self.num_envs, self._mujoco.mj_stateSize(self.model, kind)))
        for model, data, row in zip(self.models, self.data, states):
            self._mujoco.mj_getState(model, data, row, kind)
        watched = {"watched/" + name: values.copy() for name, values in self._watched.items()}
        return dict(watched, integration=states)

    def set_state(self, state: Dict[str, np.ndarray]) -> None:
        """Take over what :meth:`get_state` returned, to the last bit.

        Raises:
            EnvironmentContractError: The state is that of another robot or number of environments.
        """
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        expected = {"integration": (self.num_envs, self._mujoco.mj_stateSize(self.model, kind))}
        expected.update({"watched/" + name: values.shape for name, values in self._watched.items()})
        given = {name: tuple(np.shape(values)) for name, values in state.items()}
        if given != expected:
            raise EnvironmentContractError("The saved simulation has {}, this one {}.".format(given, expected))
        for model, data, row in zip(self.models, self.data, np.asarray(state["integration"], np.float64)):
            self._mujoco.mj_setState(model, data, np.ascontiguousarray(row), kind)
            if self._up_to_date:
                self._mujoco.mj_step1(model, data)
        for name, values in self._watched.items():
            values[...] = state["watched/" + name]
            for source, row in zip(self._sources[name], values):
                source[...] = row

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
