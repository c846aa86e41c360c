"""Worlds so small that what an algorithm must learn in them is known, and each of which needs one more part of it."""

from typing import Any, List, Tuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

DISCOUNT = 0.6
"""gamma of every agent that is probed."""

ACTIONS = 4
"""Number of Discrete actions; Box actions are one number from -1 to 1."""


class Probe(gymnasium.Env):
    """A world of one or two states, which the agent sees as they are.

    Attributes:
        values: What each state is worth; empty where that is not probed.
        best: The best action in each state, as an index; empty where actions do not matter.
    """

    values: List[float] = []
    best: List[int] = []

    def __init__(self, actions: str = "discrete", observations: str = "box") -> None:
        """Give actions of a kind ("discrete" or "box") and show states as a kind ("box" or "discrete")."""
        self.action_space = Discrete(ACTIONS) if actions == "discrete" else Box(-1.0, 1.0, (1,), np.float32)
        self.shows_numbers = observations == "box"
        self.observation_space = Box(-1.0, 1.0, (1,), np.float32) if self.shows_numbers else Discrete(2)
        self.state = 0
        self.time = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.state, self.time = self.first(), 0
        return self.seen(self.state), {}

    def step(self, action: Any) -> Any:
        reward = self.reward(action)
        self.time += 1
        self.state, terminated, truncated = self.follow()
        return self.seen(self.state), reward, terminated, truncated, {}

    def seen(self, state: int) -> Any:
        """Return what the agent sees of a state: -1 or 1, or its index."""
        return np.array([2.0 * state - 1.0], np.float32) if self.shows_numbers else state

    def ideal(self, state: int) -> Any:
        """Return the best action in a state: an index, or a number from -0.5 to 0.5."""
        index = self.best[state]
        return index if isinstance(self.action_space, Discrete) else index / 3.0 - 0.5

    def first(self) -> int:
        """Return the state in which an episode begins."""
        return 0

    def reward(self, action: Any) -> float:
        """Return what an action earns in the present state."""
        return 1.0

    def follow(self) -> Tuple[int, bool, bool]:
        """Return the next state, and whether the episode has ended there, or was cut off."""
        return 0, True, False


class Value(Probe):
    """Pays 1 and ends: are rewards learned at all?"""

    values = [1.0]


class ValueByObservation(Probe):
    """Pays what is seen, and ends: does the value function read the observation?"""

    values = [-1.0, 1.0]

    def first(self) -> int:
        return int(self.np_random.integers(2))

    def reward(self, action: Any) -> float:
        return self.values[self.state]


class Discount(Probe):
    """Pays 1 for the second of two steps: is the later reward carried back, and discounted once?"""

    values = [DISCOUNT, 1.0]

    def reward(self, action: Any) -> float:
        return float(self.state)

    def follow(self) -> Tuple[int, bool, bool]:
        return 1, self.time == 2, False


class Policy(Probe):
    """Pays for one action, and ends: do better actions become likelier?"""

    best = [3]

    def reward(self, action: Any) -> float:
        ideal = self.ideal(self.state)
        if isinstance(self.action_space, Discrete):
            return float(action == ideal)
        return -float((action[0] - ideal) ** 2)


class PolicyByObservation(Policy):
    """Pays for an action that depends on what is seen, and ends: does the policy read the observation?"""

    best = [3, 0]

    def first(self) -> int:
        return int(self.np_random.integers(2))


class Bootstrap(Probe):
    """Pays 1 for ever, cut off every two steps: does a value reach beyond a time limit?

    Where the limit is taken for an end, the value is 1.43 instead.
    """

    values = [1.0 / (1.0 - DISCOUNT)]

    def follow(self) -> Tuple[int, bool, bool]:
        return 0, False, self.time == 2


class LastObservation(Probe):
    """Leads to a state that pays 1 for ever, cut off after every step: is it the true last observation that is valued?

    Where it is the first one of the next episode, the values are 0.75 and 1.75 instead; where it is the one before,
    the first value is 0.
    """

    values = [DISCOUNT / (1.0 - DISCOUNT), 1.0 / (1.0 - DISCOUNT)]

    def first(self) -> int:
        return int(self.np_random.integers(2))

    def reward(self, action: Any) -> float:
        return float(self.state)

    def follow(self) -> Tuple[int, bool, bool]:
        return 1, False, True
