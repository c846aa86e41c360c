"""Gymnasium environments: an id, a made environment, or a vector environment."""

from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, Union

import gymnasium
import numpy as np

# Gymnasium before 1.0 does not import this part by itself.
import gymnasium.vector  # noqa: F401  isort: skip

from AquaML.compat import require_numpy_bridge
from AquaML.environment.base import EnvironmentWrapper, StepResult, TensorDict
from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME, ActionTransform, first_row, layout_of
from AquaML.environment.step_buffers import StepBuffer, StepBuffers
from AquaML.environment.sync_vector import SyncVector, warn_not_shown
from AquaML.environment.vector_adapter import VectorAdapter
from AquaML.errors import EnvironmentContractError, MissingDependencyError, did_you_mean

import torch  # isort: skip


class GymnasiumWrapper(EnvironmentWrapper):
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
        super().__init__()
        require_numpy_bridge()
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise EnvironmentContractError("num_envs is {!r}; expected an integer of at least 1.".format(num_envs))
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
            raise EnvironmentContractError("seed is {!r}; expected None or an integer of at least 0.".format(seed))
        self._seed = None if seed is None else int(seed)
        self._started = False
        self._finite_horizon = finite_horizon
        self.action_bounds = action_bounds
        self._arguments = dict(kwargs, render_mode=None, action_bounds=action_bounds, finite_horizon=finite_horizon)
        self._closed = False
        if _is_vector(env):
            self._adopt_vector(env, num_envs, render_mode, autoreset, gives_final_observation, kwargs)
        else:
            if autoreset != "auto" or not gives_final_observation:
                raise EnvironmentContractError(
                    "autoreset and gives_final_observation describe a made vector environment; {!r} is reset by the "
                    "wrapper.".format(env)
                )
            self._build(env, num_envs, render_mode, kwargs)
        self.autoreset = self._backend.autoreset
        self.gives_final_observation = self._backend.gives_final_observation
        self.has_invalid_rows = self._backend.has_invalid_rows
        self._buffers = StepBuffers(self.observation_layout.specs, self.num_envs, self.device)

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
        self._backend: Union[SyncVector, VectorAdapter] = VectorAdapter(
            env, self.observation_layout, transform, autoreset, final
        )
        self.num_envs = self._backend.num_envs

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
        self._backend = SyncVector(environments, self.observation_layout, transform, hidden)
        if display_error is not None:
            self._backend.display_failed = True
            warn_not_shown(display_error)
        self.num_envs = len(environments)

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
        self.observation_layout = layout_of(observation_space, OBSERVATION_NAME)
        self.action_layout = layout_of(action_space, ACTION_NAME)
        self.name = spec.id if spec is not None else type(env.unwrapped).__name__
        self.max_episode_length = getattr(spec, "max_episode_steps", None)
        self._transform = ActionTransform(self.action_layout, self.action_bounds)
        return self._transform

    def to(self, device: torch.device) -> None:
        """Move what is returned from now on to a device."""
        if device != self.device:
            super().to(device)
            self._buffers = StepBuffers(self.observation_layout.specs, self.num_envs, device)

    def reset(self, seed: Optional[int] = None) -> Tuple[TensorDict, Dict[str, Any]]:
        """Start a new episode everywhere; see :meth:`EnvironmentWrapper.reset`."""
        self._require_open()
        if seed is None:
            seed, self._seed = self._seed, None
        out = self._buffers.next()
        self._backend.reset(seed, out)
        self._started = True
        self._require_finite(out.observations, "Observation", None)
        return out.publish("observation/"), {"final_obs": None, "valid": None, "log": {}}

    def step(self, actions: Any) -> StepResult:
        """Advance every environment; see :meth:`EnvironmentWrapper.step`."""
        self._require_open()
        if not self._started:
            raise EnvironmentContractError("'{}' was stepped before its first reset; call reset().".format(self.name))
        named = self._named_actions(actions)
        native = self._transform({name: _to_numpy(value) for name, value in named.items()})
        out = self._buffers.next()
        gives_final = self._backend.step(native, out)
        self._require_finite_results(out, gives_final)
        if self._finite_horizon:
            np.logical_or(out.terminated, out.truncated, out=out.terminated)
            out.truncated[...] = False
        infos = {
            "final_obs": out.publish("final/") if gives_final else None,
            "valid": out.tensor("valid") if self.has_invalid_rows else None,
            "log": out.log_tensors(),
        }
        return (
            out.publish("observation/"),
            out.tensor("rewards"),
            out.tensor("terminated"),
            out.tensor("truncated"),
            infos,
        )

    def render(self) -> Any:
        """Show the environment, or return its picture in ``render_mode="rgb_array"``.

        Raises:
            EnvironmentContractError: The environment was made without a render mode.
        """
        if isinstance(self._backend, SyncVector) and self._backend.display_failed:
            return None
        if self._backend.render_mode is None:
            raise EnvironmentContractError(
                "'{0}' was made without a render mode, so there is nothing to show; use GymnasiumWrapper('{0}', "
                "render_mode='human').".format(self.name)
            )
        return self._backend.render()

    def close(self) -> None:
        """Close the environments."""
        if not self._closed:
            self._closed = True
            self._backend.close()

    def _require_finite_results(self, out: StepBuffer, gives_final: bool) -> None:
        self._require_finite({"rewards": out.rewards}, "The reward", None)
        self._require_finite(out.observations, "Observation", None)
        if gives_final:
            done = (out.terminated | out.truncated)[:, 0]
            self._require_finite(out.final, "The last observation", done)

    def _require_finite(self, leaves: Mapping[str, np.ndarray], what: str, rows: Optional[np.ndarray]) -> None:
        for name, values in leaves.items():
            if values.dtype.kind != "f" or np.isfinite(values if rows is None else values[rows]).all():
                continue
            wrong = ~np.isfinite(values)
            if rows is not None:
                wrong[~rows] = False
            index = first_row(wrong)
            raise EnvironmentContractError(
                "{} of environment {} holds {} ('{}'). One such number spoils normalisers and networks for good, so "
                "correct the environment, or replace the value there.".format(
                    what, index, float(values[index][wrong[index]][0]), name
                )
            )

    def _require_open(self) -> None:
        if self._closed:
            raise EnvironmentContractError("'{}' is closed; make a new wrapper.".format(self.name))

    def spawn(self, num_envs: int) -> "GymnasiumWrapper":
        """Make independent environments of the same kind; see :meth:`EnvironmentWrapper.spawn`."""
        if self._factory is None:
            return super().spawn(num_envs)  # type: ignore[return-value]
        return GymnasiumWrapper(self._source, num_envs=num_envs, **self._arguments)

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return how to replay the running episodes; None for a foreign vector environment."""
        return self._backend.get_state()

    def set_state(self, state: Dict[str, Any]) -> bool:
        """Replay the saved episodes; return whether the environments stand exactly where they stood."""
        self._require_open()
        exact = self._backend.set_state(state, self._buffers.next())
        self._started = self._started or exact
        return exact


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


def _to_numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
