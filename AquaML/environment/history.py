"""Histories: the last observations stacked, for tasks in which one of them does not tell enough."""

import dataclasses
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch

from AquaML.environment.base import EnvironmentWrapper, StepResult, TensorDict
from AquaML.environment.rows import begun_rows, like_rows
from AquaML.environment.spaces import DISCRETE, MULTI_DISCRETE, SpaceLayout, TensorSpec, join_names
from AquaML.errors import EnvironmentContractError, StateError, did_you_mean
from AquaML.stateful import require_keys


class HistoryWrapper(EnvironmentWrapper):
    """Stacks the last observations of any environment wrapper.

    A stacked key has a leading history axis per environment, ``(length, *shape)``, oldest first, so that
    ``[:, -1]`` is what is observed now. Ready-made networks and ``concat_dict`` flatten it. A Discrete key becomes a
    MultiDiscrete one.

    The first observation of an episode fills its whole history. ``infos["final_obs"]`` is the true last history of the
    episode that ended. Rows that begin an episode, and no others, forget what was before.

    Args:
        env: The wrapper.
        length: How many observations are stacked, the present one counted.
        names: Which keys are stacked; None: all.

    Attributes:
        env: The wrapper inside.
        length: How many observations are stacked.
        names: Which keys are stacked.

    Raises:
        EnvironmentContractError: The environment is no wrapper, the length is no positive integer, or a name is
            unknown.
    """

    def __init__(self, env: EnvironmentWrapper, length: int, names: Optional[Sequence[str]] = None) -> None:
        super().__init__()
        if not isinstance(env, EnvironmentWrapper):
            raise EnvironmentContractError(
                "HistoryWrapper got {}; expected an AquaML wrapper, for example HistoryWrapper(GymnasiumWrapper(env), "
                "length=4).".format(type(env).__name__)
            )
        _require_length(length)
        specs = env.observation_layout.specs
        self.env = env
        self.length = length
        self.names: List[str] = list(specs) if names is None else list(names)
        for name in self.names:
            if name not in specs:
                raise EnvironmentContractError(
                    "HistoryWrapper: names holds '{}', but the observations are {}.{}".format(
                        name, join_names(specs), did_you_mean(name, specs)
                    )
                )
        if not self.names:
            raise EnvironmentContractError("HistoryWrapper: names is empty; name at least one observation, or None.")
        self.num_envs = env.num_envs
        self.name = env.name
        self.device = env.device
        self.action_layout = env.action_layout
        self.observation_layout = SpaceLayout(
            {name: history_spec(spec, length) if name in self.names else spec for name, spec in specs.items()},
            env.observation_layout.structure,
        )
        self.autoreset = env.autoreset
        self.max_episode_length = env.max_episode_length
        self.gives_final_observation = env.gives_final_observation
        self.has_invalid_rows = env.has_invalid_rows
        self.action_bounds = env.action_bounds
        self._history: TensorDict = {}

    @property
    def evaluating(self) -> bool:
        """Whether an evaluation is playing; the environment inside is told."""
        return self.env.evaluating

    @evaluating.setter
    def evaluating(self, value: bool) -> None:
        self.env.evaluating = value

    def reset(self, seed: Optional[int] = None) -> Tuple[TensorDict, Dict[str, Any]]:
        """Start a new episode everywhere; see :meth:`EnvironmentWrapper.reset`."""
        observations, infos = self.env.reset(seed=seed)
        self._history = {name: self._filled_with(observations[name]).clone() for name in self.names}
        return self._shown(observations), infos

    def step(self, actions: Any) -> StepResult:
        """Advance every environment; see :meth:`EnvironmentWrapper.step`."""
        if not self._history:
            raise EnvironmentContractError("'{}' was stepped before its first reset; call reset().".format(self.name))
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        final = infos["final_obs"]
        if final is not None:
            histories = {name: self._followed_by(name, final[name]) for name in self.names}
            infos = dict(infos, final_obs=dict(final, **histories))
        begun = begun_rows(terminated | truncated, infos["valid"], self.autoreset)
        for name in self.names:
            value = observations[name]
            went_on = self._followed_by(name, value)
            self._history[name] = torch.where(like_rows(begun, went_on), self._filled_with(value), went_on)
        return self._shown(observations), rewards, terminated, truncated, infos

    def _filled_with(self, value: torch.Tensor) -> torch.Tensor:
        return value.unsqueeze(1).expand((-1, self.length) + tuple(value.shape[1:]))

    def _followed_by(self, name: str, value: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._history[name][:, 1:], value.unsqueeze(1)], dim=1)

    def _shown(self, observations: TensorDict) -> TensorDict:
        # A copy, since what a caller does to it must not come back in the next history.
        return dict(observations, **{name: history.clone() for name, history in self._history.items()})

    def to(self, device: torch.device) -> None:
        """Move what is returned from now on to a device."""
        self.env.to(device)
        self.device = self.env.device
        self._history = {name: history.to(self.device) for name, history in self._history.items()}

    def render(self) -> Any:
        """Show or return a picture of the environment."""
        return self.env.render()

    def close(self) -> None:
        """Release the simulator."""
        self.env.close()

    def spawn(self, num_envs: int) -> "HistoryWrapper":
        """Make independent environments of the same kind, stacked alike; see :meth:`EnvironmentWrapper.spawn`."""
        return HistoryWrapper(self.env.spawn(num_envs), self.length, self.names)

    def getEnvInfo(self) -> Dict[str, Any]:  # noqa: N802 (the name is public API)
        """Return what the environment inside does, with stacked observations."""
        layout = self.observation_layout
        return dict(self.env.getEnvInfo(), observation_cfg=layout.specs, observation_layout=layout)

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return the simulator's state and the histories, or None where the simulator gives none."""
        simulator = self.env.get_state()
        if simulator is None:
            return None
        return {"environment": simulator, "history": {name: value.cpu() for name, value in self._history.items()}}

    def set_state(self, state: Dict[str, Any]) -> bool:
        """Restore simulator and histories; return whether the environments stand exactly where they stood."""
        if not self.env.set_state(state["environment"]):
            return False
        self._history = {name: value.to(self.device, copy=True) for name, value in state["history"].items()}
        return True

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check that the state comes from as many environments of the same name with histories as long."""
        super().validate_state(state)
        simulator = state["simulator"]
        if simulator is None:
            return
        require_keys(simulator, ("environment", "history"), "environment")
        self.env.validate_state(dict(state, simulator=simulator["environment"]))
        histories = simulator["history"]
        # Before the first reset there are none.
        require_keys(histories, self.names if histories else (), "environment: histories")
        for name, history in histories.items():
            spec = self.observation_layout.specs[name]
            expected = (getattr(torch, spec.dtype), (self.num_envs,) + spec.shape)
            given = (history.dtype, tuple(history.shape)) if isinstance(history, torch.Tensor) else (type(history), ())
            if given != expected:
                raise StateError(
                    "environment: the history of '{}' was saved as {} {}, this has {} {}".format(
                        name, *(given + expected)
                    )
                )


class ObservationHistory:
    """Stacks single observations as :class:`HistoryWrapper` does, for ``agent.predict`` on a robot.

    Args:
        length: How many observations are stacked, the present one counted.
        names: Which keys are stacked, nested ones joined by ``/``; None: all.

    Raises:
        EnvironmentContractError: The length is no positive integer.
    """

    def __init__(self, length: int, names: Optional[Sequence[str]] = None) -> None:
        _require_length(length)
        self.length = length
        self.names = None if names is None else list(names)
        self._past: Dict[str, List[np.ndarray]] = {}

    def reset(self) -> None:
        """Forget everything; call it where an episode begins."""
        self._past = {}

    def stack(self, observation: Any) -> Any:
        """Take the present observation and return what ``predict`` expects.

        Args:
            observation: One unbatched observation in the environment's own form: an array, or a dict or tuple of them.

        Returns:
            The same form; each stacked part has a leading history axis, oldest first. After :meth:`reset`, the first
            observation fills the whole history.
        """
        return self._stacked(observation, "")

    def _stacked(self, value: Any, name: str) -> Any:
        prefix = name + "/" if name else ""
        if isinstance(value, Mapping):
            return {key: self._stacked(part, prefix + key) for key, part in value.items()}
        if isinstance(value, tuple):
            return tuple(self._stacked(part, prefix + str(index)) for index, part in enumerate(value))
        if name and self.names is not None and name not in self.names:
            return value
        present = np.array(value)
        past = self._past.get(name, [present] * self.length)
        self._past[name] = past[1:] + [present]
        return np.stack(self._past[name])


def history_spec(spec: TensorSpec, length: int) -> TensorSpec:
    """Return the specification of several observations of a key, stacked along a leading axis.

    Args:
        spec: The key's specification.
        length: How many observations.
    """
    shape = (length,) + spec.shape
    return dataclasses.replace(
        spec,
        kind=MULTI_DISCRETE if spec.kind == DISCRETE else spec.kind,
        shape=shape,
        low=np.broadcast_to(spec.low, shape),
        high=np.broadcast_to(spec.high, shape),
        sizes=spec.sizes * length,
        start=spec.start * length,
        native_shape=(length,) + spec.native_shape,
    )


def _require_length(length: Any) -> None:
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise EnvironmentContractError("length is {!r}; expected an integer of at least 1.".format(length))
