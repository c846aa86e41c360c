"""Worlds without physics that the stand-ins of simulators show through their interfaces."""

from typing import Any, Dict, List

import torch


class ClockWorld:
    """Every observation says where it comes from: ``[environment, episode, age, last action, chance of the episode]``.

    The reward is ``100 * episode + age + action``, with the age after the step. Robots fall at scripted ages; ages
    below 2 are not scripted, since some simulators spend the first step on a reset.

    Args:
        num_envs: Number of environments.
        limit: The age at which the simulator's time limit ends episodes; one fall comes at just that age.
    """

    observation_size = 5
    privileged_size = 2
    action_size = 1

    def __init__(self, num_envs: int, limit: int) -> None:
        self.num_envs = num_envs
        scripts = clock_scripts(limit)
        self._falls = torch.zeros((num_envs, max(map(len, scripts))), dtype=torch.long)
        self._lengths = torch.tensor([len(scripts[index % len(scripts)]) for index in range(num_envs)])
        for index in range(num_envs):
            script = scripts[index % len(scripts)]
            self._falls[index, : len(script)] = torch.tensor(script)
        self._index, self._limit = torch.arange(num_envs), limit
        self.episode = torch.full((num_envs,), -1)
        self.age = torch.zeros(num_envs, dtype=torch.long)
        self._action = torch.zeros(num_envs)
        self._chance = torch.zeros(num_envs)
        self._over = torch.zeros(num_envs, dtype=torch.bool)

    def begin(self, rows: torch.Tensor) -> None:
        """Begin an episode in the rows ``(R,)``; the first of the script where all begin out of turn."""
        if len(rows) == self.num_envs and not self._over.all():
            self.episode.fill_(-1)
        self._over[rows] = False
        self.episode[rows] += 1
        self.age[rows] = 0
        self._action[rows] = 0.0
        self._chance[rows] = torch.rand(self.num_envs)[rows]

    def advance(self, actions: torch.Tensor) -> torch.Tensor:
        """Let ``(N, 1)`` actions act; return rewards ``(N,)``."""
        self.age += 1
        self._action = actions[:, 0].clone()
        self._over |= self.fallen | (self.age >= self._limit)
        return 100.0 * self.episode + self.age + self._action

    @property
    def fallen(self) -> torch.Tensor:
        """Which robots lie on the ground, ``(N,)`` bool."""
        script = self.episode.clamp(min=0) % self._lengths
        return (self.age > 0) & (self._falls[self._index, script] == self.age)

    def observe(self) -> torch.Tensor:
        """``(N, 5)``."""
        columns = [self._index, self.episode, self.age, self._action, self._chance]
        return torch.stack([column.float() for column in columns], dim=1)

    def look_behind(self) -> torch.Tensor:
        """What only a critic sees: ``[age, episode]``, ``(N, 2)``."""
        return torch.stack([self.age.float(), self.episode.float()], dim=1)


def clock_scripts(limit: int) -> List[List[int]]:
    """Return, for environment ``i % 3``, the age of the fall in each episode, over and over; 0: none."""
    return [[3, 0, limit, 2], [2, 0], [0]]


class PointMass:
    """A point that is to be brought to the origin: position and velocity are observed, the action is a force.

    With the force ``-2 x - 2 v`` within ±1 the mean return of an episode of 40 steps is about -5, with none -20.

    Args:
        num_envs: Number of environments.
        limit: Not used; there is a time limit only.
    """

    observation_size = 2
    privileged_size = 1
    action_size = 1
    EDGE = 3.0

    def __init__(self, num_envs: int, limit: int = 0) -> None:
        self.num_envs = num_envs
        self.position = torch.zeros(num_envs)
        self.velocity = torch.zeros(num_envs)

    def begin(self, rows: torch.Tensor) -> None:
        """Begin an episode in the rows ``(R,)``."""
        self.position[rows] = torch.rand(self.num_envs)[rows] * 2.0 - 1.0
        self.velocity[rows] = 0.0

    def advance(self, actions: torch.Tensor) -> torch.Tensor:
        """Let ``(N, 1)`` forces act for 0.1 s; return rewards ``(N,)``."""
        self.velocity = self.velocity + 0.2 * actions[:, 0]
        self.position = self.position + 0.1 * self.velocity
        return -self.position.abs() - 0.05 * self.velocity.abs()

    @property
    def fallen(self) -> torch.Tensor:
        """Which points have left the track, ``(N,)`` bool."""
        return self.position.abs() > self.EDGE

    def observe(self) -> torch.Tensor:
        """``(N, 2)``."""
        return torch.stack([self.position, self.velocity], dim=1)

    def look_behind(self) -> torch.Tensor:
        """What only a critic sees, ``(N, 1)``."""
        return self.position.abs().unsqueeze(1)


class NumbersWorld:
    """Random numbers of any size, for measuring; every hundredth robot falls in each step.

    Args:
        num_envs: Number of environments.
        limit: Not used.
    """

    observation_size = privileged_size = action_size = 1

    def __init__(self, num_envs: int, limit: int = 0) -> None:
        self._num_envs = num_envs

    @classmethod
    def of(cls, observations: int, actions: int) -> type:
        """Return such a world with so many numbers observed and moved."""
        sizes = {"observation_size": observations, "privileged_size": 4, "action_size": actions}
        return type("NumbersWorld", (cls,), sizes)

    def begin(self, rows: torch.Tensor) -> None:
        """Begin an episode in the rows ``(R,)``."""

    def advance(self, actions: torch.Tensor) -> torch.Tensor:
        """Return rewards ``(N,)``."""
        return torch.rand(self._num_envs)

    @property
    def fallen(self) -> torch.Tensor:
        """Which robots have fallen, ``(N,)`` bool."""
        return torch.rand(self._num_envs) < 0.01

    def observe(self) -> torch.Tensor:
        """``(N, observation_size)``."""
        return torch.rand(self._num_envs, self.observation_size)

    def look_behind(self) -> torch.Tensor:
        """``(N, privileged_size)``."""
        return torch.rand(self._num_envs, self.privileged_size)


class AttributeBox:
    """A box as the old package ``gym`` has it, known by nothing but its attributes."""

    def __init__(self, low: float, high: float, size: int) -> None:
        import numpy as np

        self.low = np.full(size, low, np.float32)
        self.high = np.full(size, high, np.float32)
        self.shape = (size,)
        self.dtype = np.dtype("float32")


class DictSpace:
    """A Dict space by its attributes alone."""

    def __init__(self, spaces: Dict[str, Any]) -> None:
        self.spaces = spaces


World = Any
