"""Gymnasium environments: an id, a made environment, or a vector environment."""

from typing import Any, Callable, Dict, Optional, Tuple, Union

import gymnasium
import numpy as np

# Gymnasium before 1.0 does not import this part by itself.
import gymnasium.vector  # noqa: F401  isort: skip

from AquaML.compat import require_numpy_bridge
from AquaML.environment.base import EnvironmentWrapper, StepResult, TensorDict
from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME, ActionTransform, layout_of
from AquaML.environment.step_buffers import StepBuffers
from AquaML.environment.sync_vector import SyncVector
from AquaML.environment.vector_adapter import VectorAdapter
from AquaML.errors import EnvironmentContractError

import torch  # isort: skip


class GymnasiumWrapper(EnvironmentWrapper):
    """Gymnasium 0.28 and newer behind AquaML's step contract.

    Args:
        env: An environment id, a function that makes one environment, a made ``gymnasium.Env``, or a made
            ``gymnasium.vector.VectorEnv``.
        num_envs: How many to make of an id or function.
        seed: Seed of the first reset when the caller of :meth:`reset` gives none; environment *i* gets ``seed + i``.
        render_mode: Handed to ``gymnasium.make``, for example ``"human"`` or ``"rgb_array"``.
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
        self._seed = seed
        self._finite_horizon = finite_horizon
        self.action_bounds = action_bounds
        self._arguments = dict(kwargs, render_mode=None, action_bounds=action_bounds, finite_horizon=finite_horizon)
        self._closed = False
        if isinstance(env, gymnasium.vector.VectorEnv):
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
        self._factory: Optional[Callable[[], gymnasium.Env]] = None
        transform = self._describe(
            env.single_observation_space, env.single_action_space, getattr(env, "spec", None), env
        )
        self._backend: Union[SyncVector, VectorAdapter] = VectorAdapter(
            env, self.observation_layout, transform, autoreset, final
        )
        self.num_envs = self._backend.num_envs

    def _build(self, env: Any, num_envs: int, render_mode: Optional[str], kwargs: Dict[str, Any]) -> None:
        if isinstance(env, gymnasium.Env):
            if num_envs != 1 or render_mode is not None or kwargs:
                raise EnvironmentContractError(
                    "The environment {} is made already, so num_envs={}, render_mode={!r} and {} cannot be applied; "
                    "give its id or a function that makes it.".format(env, num_envs, render_mode, list(kwargs))
                )
            self._factory = None
            environments = [env]
        else:
            self._factory = _factory_of(env, render_mode, kwargs)
            environments = [_checked(self._factory()) for _ in range(num_envs)]
        self._source = env
        first = environments[0]
        transform = self._describe(first.observation_space, first.action_space, first.spec, first)
        self._backend = SyncVector(environments, self.observation_layout, transform)
        self.num_envs = len(environments)

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
        return out.publish("observation/"), {"final_obs": None, "valid": None, "log": {}}

    def step(self, actions: Any) -> StepResult:
        """Advance every environment; see :meth:`EnvironmentWrapper.step`."""
        self._require_open()
        named = self._named_actions(actions)
        native = self._transform({name: _to_numpy(value) for name, value in named.items()})
        out = self._buffers.next()
        gives_final = self._backend.step(native, out)
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
        return self._backend.set_state(state, self._buffers.next())


def _factory_of(env: Any, render_mode: Optional[str], kwargs: Dict[str, Any]) -> Callable[[], gymnasium.Env]:
    if isinstance(env, str):
        if env not in gymnasium.registry and ":" not in env:
            # gymnasium.make gives the better message: it knows namespaces, versions and near misses.
            try:
                gymnasium.spec(env)
            except gymnasium.error.Error as error:
                raise EnvironmentContractError("There is no environment '{}': {}".format(env, error)) from error
        return lambda: gymnasium.make(env, render_mode=render_mode, **kwargs)
    if callable(env):
        if render_mode is not None or kwargs:
            raise EnvironmentContractError(
                "render_mode and {} go into the function that makes the environment.".format(list(kwargs))
            )
        return env
    raise EnvironmentContractError(
        "{!r} is no environment: expected an id, a function that makes a gymnasium.Env, a gymnasium.Env or a "
        "gymnasium.vector.VectorEnv.".format(env)
    )


def _checked(environment: Any) -> gymnasium.Env:
    if not isinstance(environment, gymnasium.Env):
        raise EnvironmentContractError("The function returned {!r}; expected a gymnasium.Env.".format(environment))
    return environment


def _to_numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
