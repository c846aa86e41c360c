"""A small environment whose episodes, rewards and figures are known by heart."""

from typing import Any, Dict, Optional, Tuple

import gymnasium
import numpy as np


class Clock(gymnasium.Env):
    """Episodes of the given lengths in turn; the reward of step k is k; even episodes end by termination.

    ``infos`` holds ``"term"``, the step's index, and on the last step ``"success"``.
    """

    metadata: Dict[str, Any] = {"render_modes": ["rgb_array"]}

    def __init__(self, lengths: Tuple[int, ...] = (3, 5), render_mode: Optional[str] = None) -> None:
        self.observation_space = gymnasium.spaces.Box(-1e3, 1e3, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.lengths = lengths
        self.render_mode = render_mode
        self.episode = -1
        self.frames = 0

    def reset(self, *, seed: Optional[int] = None, options: Optional[Dict[str, Any]] = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.episode = -1
        self.episode += 1
        self.time = 0
        return self._observe(), {"term": 1000.0}

    def step(self, action: np.ndarray) -> Any:
        self.time += 1
        over = self.time == self.lengths[self.episode % len(self.lengths)]
        info: Dict[str, Any] = {"term": float(self.time), "text": "ignored"}
        if over:
            info["success"] = self.episode % 2 == 0
        natural = over and self.episode % 2 == 0
        return self._observe(), float(self.time), natural, over and not natural, info

    def _observe(self) -> np.ndarray:
        return np.array([self.time, self.episode], np.float32)

    def render(self) -> np.ndarray:
        self.frames += 1
        return np.zeros((4, 4, 3), np.uint8)
