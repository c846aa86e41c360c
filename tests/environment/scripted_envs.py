"""Small real Gymnasium environments whose every observation says where it comes from."""

from typing import Any, Dict, List, Optional, Tuple

import gymnasium
import numpy as np
import torch

from AquaML.environment.gymnasium_envs import GymnasiumWrapper

Ending = Tuple[int, str]
SCRIPTS: List[List[Ending]] = [
    [(3, "truncated"), (2, "terminated"), (4, "both"), (1, "truncated")],
    [(2, "both"), (5, "terminated")],
    [(4, "truncated")],
]
"""By environment: length and kind of end of each episode, over and over."""


class ClockEnv(gymnasium.Env):
    """Observes ``[episode, step, last action, a random number of the episode]``.

    The reward is ``100 * episode + step + action``. A seed of ``s`` chooses the script ``s % 3``.

    Args:
        overwrite: Return the same array each time, as careless environments do.
    """

    metadata: Dict[str, Any] = {"render_modes": ["rgb_array"]}

    def __init__(self, overwrite: bool = False, render_mode: Optional[str] = None) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)
        self.action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)
        self.render_mode = render_mode
        self.received: List[np.ndarray] = []
        self._overwrite = overwrite
        self._array = np.zeros(4)
        self._script = SCRIPTS[0]
        self._episode = -1

    def _observe(self, action: float) -> np.ndarray:
        self._array[:] = (self._episode, self._step, action, self._chance)
        return self._array if self._overwrite else self._array.copy()

    def reset(self, *, seed: Optional[int] = None, options: Optional[Dict[str, Any]] = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self._script, self._episode = SCRIPTS[seed % len(SCRIPTS)], -1
        self._episode += 1
        self._step = 0
        self._chance = self.np_random.random()
        return self._observe(0.0), {"reset_only": 1.0, "distance": -1.0}

    def step(self, action: np.ndarray) -> Any:
        self.received.append(np.array(action))
        self._step += 1
        length, kind = self._script[self._episode % len(self._script)]
        done = self._step >= length
        value = float(action[0])
        action[0] = 99.0  # careless environments change what they are given
        info: Dict[str, Any] = {"distance": float(self._step), "terms": {"speed": 0.5 * self._step}, "note": "text"}
        if done:
            info["success"] = kind == "terminated"
        reward = 100.0 * self._episode + self._step + value
        terminated = done and kind in ("terminated", "both")
        truncated = done and kind in ("truncated", "both")
        return self._observe(value), reward, terminated, truncated, info

    def render(self) -> np.ndarray:
        return np.zeros((2, 2, 3), np.uint8)


if "Clock-v0" not in gymnasium.registry:
    gymnasium.register("Clock-v0", entry_point=ClockEnv, disable_env_checker=True)


class OneSpaceEnv(gymnasium.Env):
    """An environment with any observation and action space, whose observations are what a test puts in.

    Args:
        observation_space: The observation space.
        action_space: The action space.
        observation: What ``step`` returns; a sample of the space if None.
        reward: What ``step`` returns as reward.
        length: Steps of an episode.
    """

    def __init__(
        self,
        observation_space: Any = None,
        action_space: Any = None,
        observation: Any = None,
        reward: Any = 1.0,
        length: int = 5,
    ) -> None:
        self.observation_space = observation_space or gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = action_space or gymnasium.spaces.Discrete(2)
        self.observation = observation
        self.reward = reward
        self.length = length
        self.received: List[Any] = []

    def reset(self, *, seed: Optional[int] = None, options: Optional[Dict[str, Any]] = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._step = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.received.append(action)
        assert self.action_space.contains(action), action
        self._step += 1
        observation = self.observation_space.sample() if self.observation is None else self.observation
        return observation, self.reward, False, self._step >= self.length, {}


def action_for(states: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    """Return clock actions that depend on episode and step alone, so that all autoreset modes act alike."""
    state = states["state"]
    return {"action": 0.25 * state[:, :1] - 0.5 * (state[:, 1:2] % 3)}


Transition = Tuple[Tuple[float, ...], float, float, Tuple[float, ...], bool, bool]


def collect(wrapper: GymnasiumWrapper, steps: int, seed: int = 0) -> List[List[Transition]]:
    """Play and return, by environment, the transitions that a memory would store."""
    states, infos = wrapper.reset(seed=seed)
    assert infos == {"final_obs": None, "valid": None, "log": {}}
    rows: List[List[Transition]] = [[] for _ in range(wrapper.num_envs)]
    for _ in range(steps):
        actions = action_for(states)
        observations, rewards, terminated, truncated, infos = wrapper.step(actions)
        done = terminated | truncated
        successors = observations["state"].clone()
        if infos["final_obs"] is not None:
            successors[done[:, 0]] = infos["final_obs"]["state"][done[:, 0]]
        valid = torch.ones_like(done) if infos["valid"] is None else infos["valid"]
        for index in torch.nonzero(valid[:, 0])[:, 0].tolist():
            rows[index].append(
                (
                    tuple(states["state"][index].tolist()),
                    float(actions["action"][index, 0]),
                    float(rewards[index, 0]),
                    tuple(successors[index].tolist()),
                    bool(terminated[index, 0]),
                    bool(truncated[index, 0]),
                )
            )
        states = observations
    return rows


def expected_transitions(script: List[Ending], number: int) -> List[Tuple[float, float, float, bool, bool]]:
    """Return, by hand, episode, step before the action, reward, terminated and truncated of the first transitions."""
    rows: List[Tuple[float, float, float, bool, bool]] = []
    episode = 0
    while len(rows) < number:
        length, kind = script[episode % len(script)]
        for step in range(length):
            last = step + 1 == length
            action = min(max(0.25 * episode - 0.5 * (step % 3), -2.0), 2.0)
            ends = last and kind in ("terminated", "both")
            rows.append((episode, step, 100.0 * episode + step + 1 + action, ends, last and kind == "truncated"))
        episode += 1
    return rows[:number]
