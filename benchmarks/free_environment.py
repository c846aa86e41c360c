"""An environment that costs nothing, so that only the library is measured."""

from typing import Any, Dict, Optional, Tuple

import gymnasium
import numpy as np
import torch

from AquaML.environment.base import EnvironmentWrapper, StepResult, TensorDict
from AquaML.environment.spaces import layout_of

_POOL = 8


class FreeEnvironment(EnvironmentWrapper):
    """Hands out prepared random observations and rewards in turn; episodes never end.

    Args:
        num_envs: Number of environments.
        observation_size: Numbers in an observation.
        action_size: Numbers in an action.
    """

    name = "free"

    def __init__(self, num_envs: int, observation_size: int, action_size: int) -> None:
        super().__init__()
        self.num_envs = num_envs
        observations = gymnasium.spaces.Box(-np.inf, np.inf, (observation_size,), np.float32)
        actions = gymnasium.spaces.Box(-1.0, 1.0, (action_size,), np.float32)
        self.observation_layout = layout_of(observations, "state")
        self.action_layout = layout_of(actions, "action")
        generator = torch.Generator().manual_seed(0)
        self._observations = [torch.randn(num_envs, observation_size, generator=generator) for _ in range(_POOL)]
        self._rewards = [torch.randn(num_envs, 1, generator=generator) for _ in range(_POOL)]
        self._never = torch.zeros(num_envs, 1, dtype=torch.bool)
        self._turn = 0

    def reset(self, seed: Optional[int] = None) -> Tuple[TensorDict, Dict[str, Any]]:
        """Return the first prepared observation."""
        return {"state": self._observations[0]}, {"final_obs": None, "valid": None, "log": {}}

    def step(self, actions: Any) -> StepResult:
        """Return the next prepared observation and reward."""
        self._turn = (self._turn + 1) % _POOL
        # A library may add to the rewards it is handed.
        rewards = self._rewards[self._turn].clone()
        infos: Dict[str, Any] = {"final_obs": None, "valid": None, "log": {}}
        return {"state": self._observations[self._turn]}, rewards, self._never, self._never, infos
