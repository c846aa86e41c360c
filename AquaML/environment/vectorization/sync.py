"""Single Gymnasium environments stepped one after the other in this process, with same-step reset."""

import contextlib
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence

import numpy as np
from loguru import logger

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.spaces import SpaceLayout, store_leaf
from AquaML.environment.step_arrays import StepArrays, add_scalars, as_scalar
from AquaML.environment.vectorization.backend import VectorBackend
from AquaML.errors import AquaMLError, EnvironmentContractError, EnvironmentFailedError


class SyncVector(VectorBackend):
    """A list of ``gymnasium.Env`` behind one batch step.

    An environment that ends is reset at once: its true last observation goes to ``final``, the first one of the next
    episode to ``observations``. The state is saved by replay: how each running episode began (its seed, or its random
    generator's state) and the actions since.

    Args:
        environments: Made environments with equal spaces.
        layout: Their observation space.
        transform: Converts the agent's actions.
        without_display: Makes an environment like the first one that opens no window; it takes over when the first one
            fails because it cannot be shown. None: a failure is a failure.
        first_index: Index of the first environment in a larger batch, for messages.
        progress: One integer that always holds the index of the environment that is stepped or reset, -1 between.

    Raises:
        EnvironmentFailedError: By all methods: an environment raised an exception.
    """

    REPLAY_LIMIT = 100_000
    """Longest episode, in steps, whose actions are kept for an exact resume."""

    def __init__(
        self,
        environments: Sequence[Any],
        layout: SpaceLayout,
        transform: ActionTransform,
        without_display: Optional[Callable[[], Any]] = None,
        first_index: int = 0,
        progress: Optional[np.ndarray] = None,
    ) -> None:
        self.environments = list(environments)
        self.num_envs = len(self.environments)
        self.display_failed = False
        self._without_display = without_display
        self._first_index = first_index
        self._progress = np.full(1, -1, np.int64) if progress is None else progress
        self._progress[0] = -1
        self._layout = layout
        self._transform = transform
        self._episodes: List[Dict[str, Any]] = [{} for _ in self.environments]
        self._actions: Deque[Dict[str, np.ndarray]] = deque()
        self._oldest = 0
        self._steps = 0
        self._latest: Dict[str, np.ndarray] = {}

    def reset(self, seed: Optional[int], out: StepArrays) -> None:
        """Start every environment anew and write the first observations."""
        self._actions.clear()
        self._oldest = self._steps
        for index in range(self.num_envs):
            self._store(out.observations, index, self._begin(index, None if seed is None else seed + index))
        self._progress[0] = -1
        self._latest = out.observations

    def _begin(self, index: int, seed: Optional[int] = None) -> Any:
        start: Dict[str, Any] = {"seed": seed}
        if seed is None:
            start = {"generator": _generator_state(self.environments[index])}
        self._episodes[index] = {"start": start, "step": self._steps}
        return self._start(index, start)

    def step(self, native: Dict[str, np.ndarray], out: StepArrays) -> bool:
        """Advance every environment and write the results.

        Args:
            native: Action name to ``(N,) + native_shape`` arrays that nobody changes later.
            out: Where to write.

        Returns:
            Whether any episode ended.
        """
        self._actions.append(native)
        self._steps += 1
        out.log = {}
        ended = False
        for index in range(self.num_envs):
            result = self._step_one(index, native)
            if not isinstance(result, tuple) or len(result) != 5:
                raise EnvironmentContractError(
                    "Environment {}: step() returned {}; expected (observation, reward, terminated, truncated, "
                    "info).".format(self._first_index + index, _describe(result))
                )
            observation, reward, terminated, truncated, info = result
            out.rewards[index, 0] = _number(self._first_index + index, reward)
            out.terminated[index, 0] = terminated
            out.truncated[index, 0] = truncated and not terminated
            if info:
                add_scalars(out.log, info, index, self.num_envs)
            if terminated or truncated:
                ended = True
                self._store(out.final, index, observation)
                observation = self._begin(index)
            self._store(out.observations, index, observation)
        self._progress[0] = -1
        if ended or len(self._actions) > self.REPLAY_LIMIT:
            self._forget_old_actions()
        self._latest = out.observations
        return ended

    def _step_one(self, index: int, native: Mapping[str, np.ndarray]) -> Any:
        self._progress[0] = self._first_index + index
        # The environment gets a copy of its action: one that changes it in place must not change what is replayed.
        try:
            return self.environments[index].step(self._transform.row(native, index))
        except Exception as error:
            first = self._episodes[index]["step"] - self._oldest
            if first < 0:
                raise self._failure(index, "step", error) from error
            self._hide(index, "step", error)
            self._start(index, self._episodes[index]["start"])
            for row in list(self._actions)[first:-1]:
                self.environments[index].step(self._transform.row(row, index))
            return self.environments[index].step(self._transform.row(native, index))

    def _failure(self, index: int, method: str, error: Exception) -> Exception:
        """Return the error to raise for what an environment raised."""
        if isinstance(error, AquaMLError):
            return error
        return EnvironmentFailedError(
            "Environment {} raised {} in {}(): {}".format(
                self._first_index + index, type(error).__name__, method, error
            )
        )

    def _hide(self, index: int, method: str, error: Exception) -> None:
        """Put an environment without a window in the place of one that failed; raise the failure if there is none."""
        if index != 0 or self._without_display is None:
            failure = self._failure(index, method, error)
            raise failure from (None if failure is error else error)
        shown, self.environments[0] = self.environments[0], self._without_display()
        self._without_display = None
        self.display_failed = True
        warn_not_shown(error)
        with contextlib.suppress(Exception):
            shown.close()

    def _store(self, target: Dict[str, np.ndarray], index: int, observation: Any) -> None:
        try:
            for name, value in self._layout.flatten(observation).items():
                store_leaf(self._layout.specs[name], value, target[name][index])
        except EnvironmentContractError as error:
            raise EnvironmentContractError(
                "Environment {} broke its observation space: {}".format(self._first_index + index, error)
            ) from error

    def _forget_old_actions(self) -> None:
        oldest = min(episode["step"] for episode in self._episodes)
        while self._oldest < max(oldest, self._steps - self.REPLAY_LIMIT):
            self._actions.popleft()
            self._oldest += 1

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return how to replay all running episodes, or None when one cannot be replayed."""
        replayable = all(
            episode and episode["step"] >= self._oldest and episode["start"].get("generator", True) is not None
            for episode in self._episodes
        )
        if not replayable:
            return None
        return {
            "episodes": [
                {"start": episode["start"], "length": self._steps - episode["step"]} for episode in self._episodes
            ],
            "actions": self._running_actions(),
            "observations": {name: np.array(values) for name, values in self._latest.items()},
            "generators": [_generator_state(environment) for environment in self.environments],
        }

    def _running_actions(self) -> Dict[str, np.ndarray]:
        """Return the actions of the running episodes, ``(steps,) + native``, with zeros before each one's begin."""
        if not self._actions:
            return {}
        stacked = {name: np.stack([row[name] for row in self._actions]) for name in self._actions[0]}
        for index, episode in enumerate(self._episodes):
            for values in stacked.values():
                values[: episode["step"] - self._oldest, index] = 0
        return stacked

    def set_state(self, state: Dict[str, Any], out: StepArrays) -> bool:
        """Replay the saved episodes; return whether observations and generators came out bit for bit the same."""
        if set(state["observations"]) != set(self._layout.specs) or not set(state["actions"]) <= set(
            self._transform.layout.specs
        ):
            return False
        total = len(next(iter(state["actions"].values()))) if state["actions"] else 0
        rows = [{name: values[step] for name, values in state["actions"].items()} for step in range(total)]
        self._actions = deque(rows)
        self._oldest, self._steps = 0, total
        exact = True
        for index, saved in enumerate(state["episodes"]):
            observation = self._start(index, saved["start"])
            self._episodes[index] = {"start": saved["start"], "step": total - saved["length"]}
            for row in rows[total - saved["length"] :]:
                action = self._transform.row(row, index)
                observation, _, terminated, truncated, _ = self.environments[index].step(action)
                if terminated or truncated:
                    # The episode ran on when it was saved: the environment does not repeat itself.
                    exact = False
                    break
            self._store(out.observations, index, observation)
            exact = exact and _same(_generator_state(self.environments[index]), state["generators"][index])
        self._latest = out.observations
        return exact and all(
            np.array_equal(out.observations[name], saved) for name, saved in state["observations"].items()
        )

    def _start(self, index: int, start: Dict[str, Any]) -> Any:
        """Reset one environment from a seed or a state of its generator, and return the first observation."""
        number = self._progress[0] = self._first_index + index
        try:
            return _first_observation(number, _reset(self.environments[index], start))
        except Exception as error:
            self._hide(index, "reset", error)
            return _first_observation(number, _reset(self.environments[index], start))

    def render(self) -> Any:
        """Render the first environment."""
        return self.environments[0].render()

    @property
    def render_mode(self) -> Optional[str]:
        """The first environment's render mode."""
        return getattr(self.environments[0], "render_mode", None)

    def close(self) -> None:
        """Close every environment."""
        for environment in self.environments:
            environment.close()


def warn_not_shown(error: Exception) -> None:
    """Say that an environment runs on without a window, and what to do."""
    logger.warning(
        "The environment cannot be shown ({}: {}); it runs on without a window. Install what its rendering needs (for "
        "example pip install 'gymnasium[classic-control]'), use a machine with a display, or render_mode='rgb_array'.",
        type(error).__name__,
        error,
    )


def _reset(environment: Any, start: Dict[str, Any]) -> Any:
    if "seed" in start:
        return environment.reset(seed=start["seed"])
    if start["generator"] is not None:
        environment.unwrapped.np_random.bit_generator.state = start["generator"]
    return environment.reset()


def _first_observation(index: int, result: Any) -> Any:
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], Mapping):
        raise EnvironmentContractError(
            "Environment {}: reset() returned {}; expected (observation, info) with a dict as info.".format(
                index, _describe(result)
            )
        )
    return result[0]


def _number(index: int, reward: Any) -> float:
    number = as_scalar(reward)
    if number is None:
        raise EnvironmentContractError(
            "Environment {}: step() returned {} as reward; expected one number.".format(index, _describe(reward))
        )
    return number


def _describe(value: Any) -> str:
    if isinstance(value, tuple):
        return "a tuple of {}".format(len(value))
    shape = getattr(value, "shape", None)
    return repr(value) if shape is None else "{} of shape {}".format(type(value).__name__, tuple(shape))


def _generator_state(environment: Any) -> Optional[Dict[str, Any]]:
    generator = getattr(environment.unwrapped, "np_random", None)
    bit_generator = getattr(generator, "bit_generator", None)
    return None if bit_generator is None else bit_generator.state


def _same(one: Any, other: Any) -> bool:
    """Compare generator states, which some bit generators keep in arrays."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(_same(one[key], other[key]) for key in one)
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)
