"""Tasks that no policy without memory can solve."""

from typing import Any, Dict, Tuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

RECALL_LENGTH = 10


class Recall(gymnasium.Env):
    """Shows a sign in the first of ten steps and asks for it in the last: 1 for the right answer, 0 for the other.

    The observation is ``(sign, whether to answer)``; in the last step it is the same for both signs, so that without
    memory the best return is 1/2.
    """

    observation_space = Box(-1.0, 1.0, (2,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: Any = None, options: Any = None) -> Tuple[np.ndarray, Dict[str, Any]]:
        """Draw a sign and show it."""
        super().reset(seed=seed)
        self.sign, self.time = int(self.np_random.integers(2)), 0
        return np.array([2 * self.sign - 1, 0.0], np.float32), {}

    def step(self, action: Any) -> Tuple[np.ndarray, float, bool, bool, Dict[str, Any]]:
        """Show nothing, or pay for the answer."""
        self.time += 1
        is_over = self.time == RECALL_LENGTH
        asks = np.array([0.0, self.time == RECALL_LENGTH - 1], np.float32)
        return asks, float(is_over and int(action) == self.sign), is_over, False, {}


class PendulumWithoutVelocity(gymnasium.ObservationWrapper):
    """Pendulum-v1 of which only the angle is seen: the velocity has to be remembered from the steps before."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("Pendulum-v1"))
        self.observation_space = Box(-1.0, 1.0, (2,), np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Return cosine and sine of the angle."""
        return observation[:2]
