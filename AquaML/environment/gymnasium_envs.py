"""Gymnasium environments: an id, a made environment, or a vector environment."""

from typing import Any, Callable, Dict, Optional, Sequence, Union

import gymnasium

# Gymnasium before 1.0 does not import this part by itself.
import gymnasium.vector  # noqa: F401  isort: skip

from AquaML.environment.backend_wrapper import BackendWrapper
from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME, ActionTransform, layout_of
from AquaML.environment.vectorization.adapter import VectorAdapter
from AquaML.environment.vectorization.sync import SyncVector, warn_not_shown
from AquaML.errors import EnvironmentContractError, MissingDependencyError, did_you_mean


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
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, action_bounds, finite_horizon)
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise EnvironmentContractError("num_envs is {!r}; expected an integer of at least 1.".format(num_envs))
        self._arguments = dict(kwargs, render_mode=None, action_bounds=action_bounds, finite_horizon=finite_horizon)
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
        self._factory: Optional[Callable[[], gymnasium.Env]] = None
        transform = self._describe(
            env.single_observation_space, env.single_action_space, getattr(env, "spec", None), env
        )
        self.attach(VectorAdapter(env, self.observation_layout, transform, autoreset, final))

    def _build(self, env: Any, num_envs: int, render_mode: Optional[str], kwargs: Dict[str, Any]) -> None:
        display_error: Optional[Exception] = None
        if isinstance(env, gymnasium.Env):
            if num_envs != 1 or render_mode is not None or kwargs:
                raise EnvironmentContractError(
                    "The environment {} is made already, so num_envs={}, render_mode={!r} and {} cannot be applied; "
                    "give its id or a function that makes it.".format(env, num_envs, render_mode, list(kwargs))
                )
            self._factory = None
            environments = [_checked(env)]
        else:
            self._factory = _factory_of(env, render_mode, kwargs)
            first = None
            if render_mode is not None:
                try:
                    first = gymnasium.make(env, render_mode=render_mode, **kwargs)
                except Exception as error:
                    # If it fails without a render mode, too, the next line raises.
                    display_error = error
            environments = [_checked(self._factory()) if first is None else first]
            environments += [_checked(self._factory()) for _ in range(num_envs - 1)]
        self._source = env
        transform = self._describe(
            environments[0].observation_space, environments[0].action_space, environments[0].spec, environments[0]
        )
        self._require_alike(environments)
        hidden = self._factory if render_mode == "human" and display_error is None else None
        backend = SyncVector(environments, self.observation_layout, transform, hidden)
        if display_error is not None:
            backend.display_failed = True
            warn_not_shown(display_error)
        self.attach(backend)

    def _require_alike(self, environments: Sequence[gymnasium.Env]) -> None:
        if len({id(environment) for environment in environments}) < len(environments):
            raise EnvironmentContractError(
                "The function returned the same environment more than once; it must make a new one on each call."
            )
        for index, environment in enumerate(environments[1:], start=1):
            for ours, space, name in (
                (self.observation_layout, environment.observation_space, OBSERVATION_NAME),
                (self.action_layout, environment.action_space, ACTION_NAME),
            ):
                differences = ours.differences(layout_of(space, name))
                if differences:
                    raise EnvironmentContractError(
                        "Environment {} has other spaces than environment 0: {}.".format(index, "; ".join(differences))
                    )

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
        return GymnasiumWrapper(self._source, num_envs=num_envs, **self._arguments)


_VECTOR_ATTRIBUTES = ("num_envs", "single_observation_space", "single_action_space")
_RENDER_MODES = ("human", "rgb_array", "rgb_array_list", "ansi", "ansi_list", "depth_array", "depth_array_list")


def _is_vector(env: Any) -> bool:
    # Before Gymnasium 1.0, a wrapped vector environment is no VectorEnv itself, and a VectorEnv is a gymnasium.Env.
    vector = gymnasium.vector.VectorEnv
    if isinstance(env, vector):
        return True
    return isinstance(env, gymnasium.Env) and isinstance(env.unwrapped, vector)


def _factory_of(env: Any, render_mode: Optional[str], kwargs: Dict[str, Any]) -> Callable[[], gymnasium.Env]:
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
        return lambda: _made(env, kwargs)
    if callable(env):
        if render_mode is not None or kwargs:
            raise EnvironmentContractError(
                "{} goes into the function that makes the environment.".format(
                    ", ".join(list(kwargs) + ([] if render_mode is None else ["render_mode"]))
                )
            )
        return env
    raise EnvironmentContractError(
        "{!r} is no environment: expected an id, a function that makes a gymnasium.Env, a gymnasium.Env or a "
        "gymnasium.vector.VectorEnv.".format(env)
    )


def _render_modes(env: str) -> Sequence[str]:
    entry = getattr(gymnasium.registry.get(env), "entry_point", None)
    own = getattr(entry, "metadata", {}).get("render_modes", ())
    return tuple(_RENDER_MODES) + tuple(own)


def _made(env: str, kwargs: Dict[str, Any]) -> gymnasium.Env:
    try:
        return gymnasium.make(env, **kwargs)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise MissingDependencyError("'{}' cannot be made: {}".format(env, error)) from error
    except (gymnasium.error.Error, TypeError) as error:
        raise EnvironmentContractError(
            "'{}' cannot be made with the keywords {}: {}".format(env, list(kwargs) or "none", error)
        ) from error


def _checked(environment: Any) -> gymnasium.Env:
    if not isinstance(environment, gymnasium.Env):
        raise EnvironmentContractError("The function returned {!r}; expected a gymnasium.Env.".format(environment))
    layer: Any = environment
    while isinstance(layer, gymnasium.Wrapper):
        if type(layer).__name__ in ("AutoResetWrapper", "Autoreset"):
            raise EnvironmentContractError(
                "{} resets itself through {}, which hides the last observation of an episode; leave that wrapper out, "
                "GymnasiumWrapper resets the environment.".format(environment, type(layer).__name__)
            )
        layer = layer.env
    return environment
