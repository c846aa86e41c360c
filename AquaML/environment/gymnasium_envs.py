"""Gymnasium environments: an id, a made environment, or a vector environment."""

from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Union

import gymnasium
from loguru import logger

# Gymnasium before 1.0 does not import this part by itself.
import gymnasium.vector  # noqa: F401  isort: skip

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.backend_wrapper import BackendWrapper
from AquaML.environment.mujoco.threads import available_cores
from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME, layout_of
from AquaML.environment.vectorization.adapter import VectorAdapter
from AquaML.environment.vectorization.backend import Unsuited, VectorBackend
from AquaML.environment.vectorization.choice import (
    NOT_BY_ITSELF,
    Wanted,
    proven_batch,
    require_backend_name,
    require_workers,
)
from AquaML.environment.vectorization.factory import EnvironmentFactory, checked, require_alike
from AquaML.environment.vectorization.sync import SyncVector, warn_not_shown
from AquaML.errors import EnvironmentContractError, did_you_mean


class GymnasiumWrapper(BackendWrapper):
    """Gymnasium 0.28 and newer behind AquaML's step contract.

    Args:
        env: An environment id, a function that makes one environment, a made ``gymnasium.Env``, or a made
            ``gymnasium.vector.VectorEnv``.
        num_envs: How many to make of an id or function.
        seed: Seed of the first reset when the caller of :meth:`reset` gives none; environment *i* gets ``seed + i``.
        render_mode: Handed to ``gymnasium.make`` for the first environment, for example ``"human"`` or ``"rgb_array"``
            (ids only). Where no window can be opened, this is said once and the environment runs without.
        action_bounds: ``"clip"`` cuts Box actions to their bounds, ``"rescale"`` maps -1 … 1 to them, ``"none"``
            passes them on. The agent's tensors are never changed.
        finite_horizon: True if the time limit is part of the task: reaching it then counts as termination.
        autoreset: Vector environments only: when it resets itself, if its metadata is wrong or missing.
        gives_final_observation: Vector environments only: False if it resets in the same step and hides the last
            observation.
        vectorization: What steps the environments. ``"auto"`` takes the fastest that is proven equal to Gymnasium:
            ``"batched"`` where there is such a backend, else ``"sync"``. By name also ``"sharded"`` (worker processes)
            and ``"envpool"`` (other random streams, next-step reset).
        workers: Number of threads (batched, EnvPool) or processes (sharded); None: as many as there are cores.
        step_timeout: Seconds after which a step of worker processes is given up (sharded only); None: never.
        **kwargs: Handed to ``gymnasium.make`` (ids only).

    Raises:
        EnvironmentContractError: The arguments do not fit together.
        SpaceError: A space is of an unsupported kind.
        MissingDependencyError: The environment needs a package that is not installed.
    """

    def __init__(
        self,
        env: Union[str, Callable[[], gymnasium.Env], gymnasium.Env, Any],
        num_envs: int = 1,
        seed: Optional[int] = None,
        render_mode: Optional[str] = None,
        action_bounds: str = "clip",
        finite_horizon: bool = False,
        autoreset: str = "auto",
        gives_final_observation: bool = True,
        vectorization: str = "auto",
        workers: Optional[int] = None,
        step_timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, action_bounds, finite_horizon)
        require_backend_name(vectorization)
        require_workers(workers, step_timeout, vectorization)
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise EnvironmentContractError("num_envs is {!r}; expected an integer of at least 1.".format(num_envs))
        self._arguments = dict(kwargs, render_mode=None, action_bounds=action_bounds, finite_horizon=finite_horizon)
        self._vectorization, self._workers, self._step_timeout = vectorization, workers, step_timeout
        self._passed_over: Dict[str, str] = {}
        if _is_vector(env):
            self._adopt_vector(env, num_envs, render_mode, autoreset, gives_final_observation, kwargs)
        else:
            if autoreset != "auto" or not gives_final_observation:
                raise EnvironmentContractError(
                    "autoreset and gives_final_observation describe a made vector environment; {!r} is reset by the "
                    "wrapper.".format(env)
                )
            self._build(env, num_envs, render_mode, kwargs)

    def _adopt_vector(
        self, env: Any, num_envs: int, render_mode: Optional[str], autoreset: str, final: bool, kwargs: Dict[str, Any]
    ) -> None:
        if num_envs != 1 or render_mode is not None or kwargs:
            raise EnvironmentContractError(
                "The vector environment is made already: num_envs, render_mode and {} have no effect; give them where "
                "it is made.".format(list(kwargs) or "further keywords")
            )
        missing = [name for name in _VECTOR_ATTRIBUTES if not hasattr(env, name)]
        if missing:
            raise EnvironmentContractError(
                "The vector environment {} has no {}; AquaML reads {}.".format(
                    type(env).__name__, ", ".join(missing), ", ".join(_VECTOR_ATTRIBUTES)
                )
            )
        self._factory: Optional[EnvironmentFactory] = None
        if self._vectorization != "auto":
            raise EnvironmentContractError(
                "vectorization={!r} makes environments itself, but {} is made already; leave it out.".format(
                    self._vectorization, type(env).__name__
                )
            )
        transform = self._describe(
            env.single_observation_space, env.single_action_space, getattr(env, "spec", None), env
        )
        self._chosen = "adapter"
        self.attach(VectorAdapter(env, self.observation_layout, transform, autoreset, final))

    def _build(self, env: Any, num_envs: int, render_mode: Optional[str], kwargs: Dict[str, Any]) -> None:
        if isinstance(env, gymnasium.Env):
            self._adopt_environment(env, num_envs, render_mode, kwargs)
            return
        if self._vectorization == "envpool":
            self._attach_envpool(env, num_envs, render_mode, kwargs)
            return
        self._source = env
        self._factory = _factory_of(env, render_mode, kwargs)
        first, display_error = self._first_environment(render_mode, kwargs)
        transform = self._describe_environment(first)
        self._factory.resolve(first)
        wanted = Wanted(self._factory, kwargs, num_envs, self._workers, render_mode, self.observation_layout, transform)
        backend = self._another_than_sync(wanted)
        if backend is not None:
            first.close()
        else:
            environments = [first] + [self._factory() for _ in range(num_envs - 1)]
            require_alike(environments, self.observation_layout, self.action_layout)
            hidden = self._factory if render_mode == "human" and display_error is None else None
            backend = SyncVector(environments, self.observation_layout, transform, hidden)
            self._chosen = "sync"
            if display_error is not None:
                backend.display_failed = True
                warn_not_shown(display_error)
        self.attach(backend)
        self._tell_choice()

    def _attach_envpool(self, env: Any, num_envs: int, render_mode: Optional[str], kwargs: Dict[str, Any]) -> None:
        if not isinstance(env, str) or render_mode is not None:
            raise EnvironmentContractError(
                "vectorization='envpool' takes the name of one of its tasks and no render_mode; got {!r} and "
                "render_mode={!r}.".format(env, render_mode)
            )
        from AquaML.environment.vectorization.envpool import EnvPoolVector

        self._source, self._factory, self._chosen = env, EnvironmentFactory(env, kwargs), "envpool"
        backend = EnvPoolVector(env, num_envs, self._workers, kwargs)
        pool = backend.environment
        transform = self._describe(pool.single_observation_space, pool.single_action_space, None, pool)
        self.name, self.max_episode_length = env, pool.spec.config.max_episode_steps
        backend.describe(self.observation_layout, transform)
        self.attach(backend)
        self._tell_choice()

    def _adopt_environment(
        self, env: gymnasium.Env, num_envs: int, render_mode: Optional[str], kwargs: Dict[str, Any]
    ) -> None:
        if num_envs != 1 or render_mode is not None or kwargs:
            raise EnvironmentContractError(
                "The environment {} is made already, so num_envs={}, render_mode={!r} and {} cannot be applied; "
                "give its id or a function that makes it.".format(env, num_envs, render_mode, list(kwargs))
            )
        if self._vectorization not in ("auto", "sync"):
            raise EnvironmentContractError(
                "vectorization={!r} makes environments itself, but {} is made already; give its id or a function that "
                "makes it.".format(self._vectorization, env)
            )
        self._factory = None
        transform = self._describe_environment(checked(env))
        self._chosen = "sync"
        self.attach(SyncVector([env], self.observation_layout, transform))

    def _first_environment(
        self, render_mode: Optional[str], kwargs: Dict[str, Any]
    ) -> Tuple[gymnasium.Env, Optional[Exception]]:
        """Return the first environment, and why it cannot be shown."""
        assert self._factory is not None
        if render_mode is None:
            return self._factory(), None
        try:
            return gymnasium.make(self._source, render_mode=render_mode, **kwargs), None
        except Exception as error:
            # If it fails without a render mode, too, the next line raises.
            return self._factory(), error

    def _another_than_sync(self, wanted: Wanted) -> Optional[VectorBackend]:
        """Return the backend that was asked for or is best, or None where environments are stepped in turn."""
        if self._vectorization == "sync":
            return None
        if self._vectorization == "sharded":
            return self._sharded(wanted)
        if self._vectorization == "auto":
            self._passed_over.update(NOT_BY_ITSELF)
        try:
            backend = proven_batch(wanted)
        except Unsuited as reason:
            if self._vectorization == "batched":
                raise EnvironmentContractError(
                    "vectorization='batched' cannot be had for {!r}: {}. Use vectorization='auto' to take what "
                    "can.".format(wanted.factory.source, reason)
                ) from reason
            self._passed_over["batched"] = str(reason)
            return None
        self._chosen = "batched"
        return backend

    def _sharded(self, wanted: Wanted) -> VectorBackend:
        if wanted.render_mode is not None:
            raise EnvironmentContractError(
                "vectorization='sharded' shows no picture; leave render_mode={!r} out.".format(wanted.render_mode)
            )
        from AquaML.environment.vectorization.sharded import ShardedVector

        self._chosen = "sharded"
        return ShardedVector(
            wanted.factory,
            wanted.num_envs,
            wanted.observations,
            wanted.transform,
            wanted.workers or available_cores(),
            self._step_timeout,
        )

    def _tell_choice(self) -> None:
        if callable(self._source):
            return
        reasons = "; ".join("{}: {}".format(name, reason) for name, reason in self._passed_over.items())
        logger.info(
            "{} x {}: vectorization is '{}'{}{}.",
            self.num_envs,
            self.name,
            self._chosen,
            ", proven equal to Gymnasium" if self._chosen == "batched" else "",
            ". Passed over: {}".format(reasons) if reasons else "",
        )

    def _describe_environment(self, environment: gymnasium.Env) -> ActionTransform:
        return self._describe(environment.observation_space, environment.action_space, environment.spec, environment)

    def _describe(self, observation_space: Any, action_space: Any, spec: Any, env: Any) -> ActionTransform:
        self.name = spec.id if spec is not None else type(env.unwrapped).__name__
        self.max_episode_length = getattr(spec, "max_episode_steps", None)
        return self.describe_spaces(
            layout_of(observation_space, OBSERVATION_NAME), layout_of(action_space, ACTION_NAME)
        )

    def spawn(self, num_envs: int) -> "GymnasiumWrapper":
        """Make independent environments of the same kind; see :meth:`EnvironmentWrapper.spawn`."""
        if self._factory is None:
            return super().spawn(num_envs)  # type: ignore[return-value]
        # Worker processes do not pay for the few environments of an evaluation, and "auto" steps them equally.
        vectorization = "auto" if self._vectorization == "sharded" else self._vectorization
        return GymnasiumWrapper(
            self._source, num_envs=num_envs, vectorization=vectorization, workers=self._workers, **self._arguments
        )

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return how to go on with the running episodes, or None where that is out of reach."""
        state = super().get_state()
        return None if state is None else dict(state, vectorization=self._chosen)

    def set_state(self, state: Dict[str, Any]) -> bool:
        """Restore the running episodes; return whether the environments stand exactly where they stood.

        What one backend saved, another cannot read, but for the two that replay: "sync" and "sharded".
        """
        saved = state.get("vectorization", "sync")
        if saved != self._chosen and not {saved, self._chosen} <= _REPLAYING:
            logger.warning(
                "The environments were saved by vectorization='{}', these are '{}': their episodes begin anew. Give "
                "GymnasiumWrapper(..., vectorization='{}') to go on exactly.",
                saved,
                self._chosen,
                saved,
            )
            return False
        return super().set_state(state)

    def getEnvInfo(self) -> Dict[str, Any]:  # noqa: N802 (the name is public API)
        """Return what :meth:`EnvironmentWrapper.getEnvInfo` does and ``"vectorization"``.

        That is ``{"backend": name, "passed_over": {name: reason}}``.
        """
        return dict(super().getEnvInfo(), vectorization=self.vectorization)

    @property
    def vectorization(self) -> Dict[str, Any]:
        """What steps the environments, and why nothing else does."""
        return {"backend": self._chosen, "passed_over": dict(self._passed_over)}


_REPLAYING = {"sync", "sharded"}
_VECTOR_ATTRIBUTES = ("num_envs", "single_observation_space", "single_action_space")
_RENDER_MODES = ("human", "rgb_array", "rgb_array_list", "ansi", "ansi_list", "depth_array", "depth_array_list")


def _is_vector(env: Any) -> bool:
    # Before Gymnasium 1.0, a wrapped vector environment is no VectorEnv itself, and a VectorEnv is a gymnasium.Env.
    vector = gymnasium.vector.VectorEnv
    if isinstance(env, vector):
        return True
    return isinstance(env, gymnasium.Env) and isinstance(env.unwrapped, vector)


def _factory_of(env: Any, render_mode: Optional[str], kwargs: Dict[str, Any]) -> EnvironmentFactory:
    """Return a function that makes one environment without a render mode."""
    if isinstance(env, str):
        if env not in gymnasium.registry and ":" not in env:
            # gymnasium gives the better message: it knows namespaces, versions and near misses.
            try:
                gymnasium.spec(env)
            except gymnasium.error.Error as error:
                raise EnvironmentContractError("There is no environment '{}': {}".format(env, error)) from error
        if render_mode is not None and render_mode not in _render_modes(env):
            raise EnvironmentContractError(
                "render_mode is {!r}.{}".format(render_mode, did_you_mean(render_mode, _render_modes(env)))
            )
        return EnvironmentFactory(env, kwargs)
    if callable(env):
        if render_mode is not None or kwargs:
            raise EnvironmentContractError(
                "{} goes into the function that makes the environment.".format(
                    ", ".join(list(kwargs) + ([] if render_mode is None else ["render_mode"]))
                )
            )
        return EnvironmentFactory(env, {})
    raise EnvironmentContractError(
        "{!r} is no environment: expected an id, a function that makes a gymnasium.Env, a gymnasium.Env or a "
        "gymnasium.vector.VectorEnv.".format(env)
    )


def _render_modes(env: str) -> Sequence[str]:
    entry = getattr(gymnasium.registry.get(env), "entry_point", None)
    own = getattr(entry, "metadata", {}).get("render_modes", ())
    return tuple(_RENDER_MODES) + tuple(own)
