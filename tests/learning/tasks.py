"""Tasks that only a policy can solve that reads every observation and controls every action."""

from typing import Any, Dict

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple

LENGTH = 10


class Matching(gymnasium.Env):
    """Draws a fresh observation every step and rewards the action that matches it; ten steps an episode."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return self.draw(), {}

    def step(self, action: Any) -> Any:
        reward = self.score(action)
        self.time += 1
        return self.draw(), reward, False, self.time == LENGTH, {}

    def draw(self) -> Any:
        raise NotImplementedError("subclasses draw an observation and remember it")

    def score(self, action: Any) -> float:
        raise NotImplementedError("subclasses compare the action with what they drew")


class NestedObservation(Matching):
    """The action must equal the position, with the sign that the flag gives; best return 0, without a key -3.3."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Dict(
            {
                "target": gymnasium.spaces.Dict({"position": Box(-1.0, 1.0, (1,), np.float64)}),
                "sensor": Tuple((Discrete(2, start=5), Box(0, 255, (2, 2), np.uint8))),
            }
        )
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)

    def draw(self) -> Any:
        self.position = self.np_random.uniform(-1.0, 1.0, 1)
        self.flag = int(self.np_random.integers(2))
        noise = self.np_random.integers(0, 256, (2, 2)).astype(np.uint8)
        return {"target": {"position": self.position}, "sensor": (self.flag + 5, noise)}

    def score(self, action: Any) -> float:
        return -float((action[0] - self.position[0] * (2 * self.flag - 1)) ** 2)


class DictAction(Matching):
    """Two actions at once: follow ``x`` and name ``y``; best return 10, without ``x`` 6.7, without ``y`` 3.3."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Dict({"x": Box(-1.0, 1.0, (1,), np.float32), "y": Discrete(3)})
        self.action_space = gymnasium.spaces.Dict({"move": Box(-1.0, 1.0, (1,), np.float32), "grip": Discrete(3)})

    def draw(self) -> Any:
        self.x = self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32)
        self.y = int(self.np_random.integers(3))
        return {"x": self.x, "y": self.y}

    def score(self, action: Dict[str, Any]) -> float:
        return float(action["grip"] == self.y) - float((action["move"][0] - self.x[0]) ** 2)


class MultiDiscreteAction(Matching):
    """Both dials must show what is seen; best return 10, without ``a`` 6.7, without ``b`` 6.25."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Dict({"a": Discrete(3), "b": Discrete(4)})
        self.action_space = MultiDiscrete([3, 4])

    def draw(self) -> Any:
        self.a, self.b = int(self.np_random.integers(3)), int(self.np_random.integers(4))
        return {"a": self.a, "b": self.b}

    def score(self, action: Any) -> float:
        return 0.5 * float(action[0] == self.a) + 0.5 * float(action[1] == self.b)
