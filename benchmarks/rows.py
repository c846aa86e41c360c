"""AquaML's environments as plain rows of tensors, for the thin adapters of the peers."""

from typing import Any, Dict, NamedTuple, Optional

import gymnasium
import numpy as np
import torch

from AquaML.environment.base import EnvironmentWrapper
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from benchmarks.free_environment import FreeEnvironment
from benchmarks.specification import FREE, Specification


def make_environment(specification: Specification) -> EnvironmentWrapper:
    """Make the environment that a specification names, on the backend that it names."""
    if specification.task == FREE:
        return FreeEnvironment(specification.num_envs, specification.observation_size, specification.action_size)
    options: Dict[str, Any] = {} if specification.backend == "auto" else {"vectorization": specification.backend}
    return GymnasiumWrapper(specification.task, num_envs=specification.num_envs, seed=specification.seed, **options)


class Step(NamedTuple):
    """What a step of all rows returned; flags and rewards ``(num_envs,)``, observations ``(num_envs, size)``."""

    observations: torch.Tensor
    rewards: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    final: Optional[torch.Tensor]


class Rows:
    """The environment of a specification, with one observation and one action, as rows of tensors.

    Nothing is copied: tensors share the memory of what the backend wrote.
    """

    def __init__(self, specification: Specification) -> None:
        self.wrapped = make_environment(specification)
        self.num_envs = specification.num_envs
        (observation,) = self.wrapped.observation_layout.specs.values()
        (action,) = self.wrapped.action_layout.specs.values()
        self._name = observation.name
        self._seed = specification.seed
        self.observation_size = observation.shape[0]
        self.action_size = action.shape[0]
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, observation.shape, np.float32)
        self.action_space = gymnasium.spaces.Box(
            np.broadcast_to(np.asarray(action.low, np.float32), action.shape),
            np.broadcast_to(np.asarray(action.high, np.float32), action.shape),
            action.shape,
            np.float32,
        )

    def reset(self) -> torch.Tensor:
        """Start new episodes and return the observations."""
        observations, _ = self.wrapped.reset(seed=self._seed)
        return observations[self._name]

    def step(self, actions: torch.Tensor) -> Step:
        """Advance every row."""
        observations, rewards, terminated, truncated, infos = self.wrapped.step(actions)
        final = infos["final_obs"]
        return Step(
            observations[self._name],
            rewards[:, 0],
            terminated[:, 0],
            truncated[:, 0],
            None if final is None else final[self._name],
        )

    def close(self) -> None:
        """Release the environments."""
        self.wrapped.close()
