"""Many MuJoCo simulations advanced by threads."""

from typing import Any, Dict, List, Optional, Sequence, Set, Union

import numpy as np
from loguru import logger

from AquaML.environment.mujoco.threads import ThreadTeam
from AquaML.errors import EnvironmentContractError, MissingDependencyError

Rows = Union[Sequence[int], np.ndarray]

_POST_CONSTRAINT = ("cacc", "cfrc_int", "cfrc_ext")

_SIZES = ("nq", "nv", "nu", "na", "nbody", "ngeom", "nsite", "ntendon", "nsensordata", "nmocap", "neq", "nuserdata")

_BREAKDOWNS = ("mjWARN_BADQPOS", "mjWARN_BADQVEL", "mjWARN_BADQACC")


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


def _require_equal_sizes(models: Sequence[Any]) -> None:
    for index, model in enumerate(models):
        for name in _SIZES:
            if getattr(model, name) != getattr(models[0], name):
                raise EnvironmentContractError(
                    "The model of environment {} has {}={}, that of environment 0 {}; models may differ in values, not "
                    "in sizes.".format(index, name, getattr(model, name), getattr(models[0], name))
                )


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
        EnvironmentContractError: The number of models or threads does not fit.
        MissingDependencyError: MuJoCo is not installed.

    Attributes:
        data: ``MjData`` of each environment.
        unstable: Where the simulation broke down in the last :meth:`step`, ``(num_envs,)`` bool. MuJoCo puts such a
            robot into the state that its model declares and goes on; the log says so once.
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
        _require_equal_sizes(models)
        self.data = [self._mujoco.MjData(model) for model in self.models]
        self._post_constraint = post_constraint
        self._up_to_date = up_to_date
        self._splits_steps = up_to_date and self.model.opt.integrator != self._mujoco.mjtIntegrator.mjINT_RK4
        self._controls = [data.ctrl for data in self.data]
        self._watched: Dict[str, np.ndarray] = {}
        self._joined: Dict[str, np.ndarray] = {}
        self._sources: Dict[str, List[np.ndarray]] = {}
        self._warning_sources = [data.warning.number for data in self.data]
        self._warnings = np.stack(self._warning_sources)
        self._breakdowns = [int(getattr(self._mujoco.mjtWarning, name)) for name in _BREAKDOWNS]
        self._told: Set[int] = set()
        self.unstable = np.zeros(num_envs, bool)
        self._team = ThreadTeam(threads, num_envs)

    @property
    def threads(self) -> int:
        """Number of threads that may take part."""
        return self._team.threads

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
            watched = np.stack(sources)
            self._watched[name] = watched
            self._joined[name] = watched.reshape((-1,) + watched.shape[2:])
        return self._watched[name]

    def step(self, controls: np.ndarray) -> None:
        """Apply controls ``(num_envs, nu)`` and advance every environment by ``frame_skip`` physics steps."""
        for target, control in zip(self._controls, controls):
            target[:] = control
        self._team.run(self._advance, range(self.num_envs))
        self._gather()
        self._notice_warnings()

    def _advance(self, index: int) -> None:
        mujoco, model, data = self._mujoco, self.models[index], self.data[index]
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
        starts = {int(row): start for row, start in zip(rows, zip(positions, velocities))}

        def begin_one(index: int) -> None:
            data = self.data[index]
            self._mujoco.mj_resetData(self.models[index], data)
            data.qpos[:], data.qvel[:] = starts[index]
            self._mujoco.mj_forward(self.models[index], data)

        self._team.run(begin_one, list(starts))
        self.refresh(list(starts))

    def forward(self, rows: Rows) -> None:
        """Recompute everything that follows from the state of some environments."""

        def compute(index: int) -> None:
            self._mujoco.mj_forward(self.models[index], self.data[index])

        self._team.run(compute, np.asarray(rows).tolist())
        self.refresh(rows)

    def refresh(self, rows: Rows) -> None:
        """Gather what is watched for some environments only, after their data were changed by hand."""
        for name, values in self._watched.items():
            sources = self._sources[name]
            for row in rows:
                values[row] = sources[row]

    def _gather(self) -> None:
        for name, sources in self._sources.items():
            np.concatenate(sources, out=self._joined[name])

    def _notice_warnings(self) -> None:
        np.concatenate(self._warning_sources, out=self._warnings.reshape(-1))
        self.unstable[...] = False
        if not self._warnings.any():
            return
        self.unstable[...] = self._warnings[:, self._breakdowns].any(axis=1)
        for kind in set(np.flatnonzero(self._warnings.any(axis=0)).tolist()) - self._told:
            self._told.add(kind)
            row = int(np.argmax(self._warnings[:, kind] > 0))
            logger.warning(
                "Environment {}: MuJoCo warns: {} It goes on, and this is said once. A smaller time step, more damping "
                "or weaker actuators usually help.",
                row,
                self._mujoco.mju_warningText(kind, int(self.data[row].warning.lastinfo[kind])),
            )
        for row in np.flatnonzero(self._warnings.any(axis=1)).tolist():
            # The next step counts anew.
            self._warning_sources[row][:] = 0

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
        self._team.close()
