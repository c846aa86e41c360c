"""Environments for worker processes; this module imports no torch, as theirs need not."""

import os
import sys
import time
from typing import Any, Dict, Optional

import gymnasium
import numpy as np


class Calm(gymnasium.Env):
    """Observes how often it was stepped."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)
        self._steps = 0

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> Any:
        self._steps += 1
        return np.full(1, self._steps, np.float32), 1.0, False, False, {}


class Nested(gymnasium.Env):
    """Dict observations and actions; episodes of random length; infos of every kind."""

    def __init__(self) -> None:
        box = gymnasium.spaces.Box(-1.0, 1.0, (2, 2), np.float64)
        self.observation_space = gymnasium.spaces.Dict({"a": box, "b": gymnasium.spaces.Discrete(5, start=1)})
        self.action_space = gymnasium.spaces.Dict(
            {"move": gymnasium.spaces.Box(-1.0, 1.0, (2,)), "grip": gymnasium.spaces.Discrete(3)}
        )

    def _observe(self) -> Dict[str, Any]:
        return {"a": self.np_random.uniform(-1, 1, (2, 2)), "b": int(self.np_random.integers(1, 6))}

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: Dict[str, Any]) -> Any:
        reward = float(action["move"].sum()) + float(action["grip"])
        chance = self.np_random.random()
        info = {"chance": chance, "rare": {"high": 1.0}} if chance > 0.5 else {"chance": chance}
        return self._observe(), reward, chance > 0.9, chance < 0.1, info


class Troubled(Calm):
    """Does what the action says: -1 raises, -2 never returns."""

    def step(self, action: np.ndarray) -> Any:
        if action[0] == -1.0:
            raise ValueError("the arm is broken")
        if action[0] == -2.0:
            time.sleep(1000)
        return super().step(action)


class NoTorch(Calm):
    """Its reward says whether torch was imported in its process."""

    def step(self, action: np.ndarray) -> Any:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float("torch" in sys.modules), terminated, truncated, dict(info, pid=os.getpid())


class BreaksWhenMade(Calm):
    def __init__(self) -> None:
        if os.environ.get("AQUAML_TEST_MAIN") != str(os.getpid()):
            raise OSError("no licence")
        super().__init__()


class DiesWhenMade(Calm):
    def __init__(self) -> None:
        if os.environ.get("AQUAML_TEST_MAIN") != str(os.getpid()):
            os._exit(3)
        super().__init__()
