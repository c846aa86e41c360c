"""A batched environment in plain torch that lives on the device, as GPU simulators do."""

from typing import Any, Dict, Optional, Tuple

import numpy as np
import torch

from AquaML.environment.base import EnvironmentWrapper, StepResult, TensorDict
from AquaML.environment.spaces import BOX, SpaceLayout, TensorSpec


def box(name: str, size: int, bound: float) -> SpaceLayout:
    low = np.full((size,), -bound)
    spec = TensorSpec(name, BOX, (size,), "float32", low, -low, (), (), (size,), "float32")
    return SpaceLayout({name: spec}, name)


class DeviceEnv(EnvironmentWrapper):
    """A point that should be pushed to the origin; half of the environments fall early, the rest meet a time limit."""

    def __init__(self, num_envs: int, length: int = 20, gives_final_observation: bool = True) -> None:
        super().__init__()
        self.num_envs = num_envs
        self.length = length
        self.name = "DevicePoint"
        self.observation_layout = box("state", 2, float("inf"))
        self.action_layout = box("action", 1, 1.0)
        self.max_episode_length = length
        self.gives_final_observation = gives_final_observation

    def reset(self, seed: Optional[int] = None) -> Tuple[TensorDict, Dict[str, Any]]:
        self.point = torch.rand(self.num_envs, 2, device=self.device) - 0.5
        self.time = torch.zeros(self.num_envs, 1, dtype=torch.int64, device=self.device)
        return {"state": self.point.clone()}, {"final_obs": None, "valid": None, "log": {}}

    def step(self, actions: Any) -> StepResult:
        push = self._named_actions(actions)["action"].clamp(-1.0, 1.0)
        self.point = self.point + 0.1 * torch.cat([self.point[:, 1:], push], dim=1)
        self.time = self.time + 1
        rewards = -self.point.square().sum(dim=1, keepdim=True)
        terminated = self.point.abs().amax(dim=1, keepdim=True) > 2.0
        truncated = (self.time >= self.length) & ~terminated
        done = terminated | truncated
        final = {"state": self.point} if self.gives_final_observation else None
        fresh = torch.rand(self.num_envs, 2, device=self.device) - 0.5
        self.point = torch.where(done, fresh, self.point)
        self.time = torch.where(done, torch.zeros_like(self.time), self.time)
        infos = {"final_obs": final, "valid": None, "log": {"height": self.point[:, :1]}}
        return {"state": self.point}, rewards, terminated, truncated, infos
