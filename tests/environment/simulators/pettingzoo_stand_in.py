"""A parallel environment as PettingZoo 1.27 has them: dictionaries by agent, from which those that ended are gone."""

from typing import Any, Dict, Optional

import gymnasium
import numpy as np
import torch
from case import LIMIT, Case
from worlds import ClockWorld, World

from AquaML.environment.pettingzoo_envs import PettingZooWrapper


class ParallelStandIn:
    """Agents that fall one by one; when all have ended, ``agents`` is empty and the caller must reset.

    Args:
        number: Number of agents.
        world: What moves; each agent is a row of it.
        limit: The time limit, which truncates all agents that are left.
    """

    metadata: Dict[str, Any] = {"name": "parallel_stand_in"}
    render_mode = None

    def __init__(self, number: int, world: Any = ClockWorld, limit: int = LIMIT) -> None:
        self.world: World = world(number, limit)
        self._limit = limit
        self.possible_agents = ["walker_{}".format(index) for index in range(number)]
        self.agents: Any = []
        self._spaces = {
            "observation": gymnasium.spaces.Box(-np.inf, np.inf, (self.world.observation_size,), np.float32),
            "action": gymnasium.spaces.Box(-1.0, 1.0, (self.world.action_size,), np.float32),
        }
        self._seen = np.zeros((number, self.world.observation_size), np.float32)
        self.received: Dict[str, np.ndarray] = {}
        self.closed = 0

    def observation_space(self, agent: str) -> Any:
        return self._spaces["observation"]

    def action_space(self, agent: str) -> Any:
        return self._spaces["action"]

    def reset(self, seed: Optional[int] = None, options: Any = None) -> Any:
        if seed is not None:
            torch.manual_seed(seed)
        self.agents = list(self.possible_agents)
        self._age = 0
        self.world.begin(torch.arange(len(self.agents)))
        return self._observe(self.agents), {agent: {} for agent in self.agents}

    def _observe(self, agents: Any) -> Dict[str, np.ndarray]:
        self._seen[:] = self.world.observe().numpy()  # the same array each time
        return {agent: self._seen[self.possible_agents.index(agent)] for agent in agents}

    def state(self) -> np.ndarray:
        return self.world.look_behind().numpy().reshape(-1)

    def step(self, actions: Dict[str, np.ndarray]) -> Any:
        assert set(actions) == set(self.agents), "an agent that is gone was moved, or one that is there was not"
        self.received = {agent: np.array(action) for agent, action in actions.items()}
        batch = np.zeros((len(self.possible_agents), self.world.action_size), np.float32)
        for agent, action in actions.items():
            batch[self.possible_agents.index(agent)] = action
            action[...] = 99.0  # a careless environment
        rewards = self.world.advance(torch.from_numpy(batch)).tolist()
        self._age += 1
        acting, fallen = self.agents, self.world.fallen.tolist()
        index = {agent: self.possible_agents.index(agent) for agent in acting}
        terminations = {agent: fallen[index[agent]] for agent in acting}
        truncations = dict.fromkeys(acting, self._age >= self._limit)
        self.agents = [agent for agent in acting if not terminations[agent] and not truncations[agent]]
        infos = {agent: {"height": float(index[agent])} for agent in acting}
        named = {agent: rewards[index[agent]] for agent in acting}
        return self._observe(acting), named, terminations, truncations, infos

    def close(self) -> None:
        self.closed += 1
        assert self.closed == 1, "the environment is closed twice"


def make(num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, **options: Any) -> PettingZooWrapper:
    """Return a wrapper over one environment with so many agents."""
    options.setdefault("agent_ids", False)
    return PettingZooWrapper(ParallelStandIn(num_envs, world, limit), max_episode_length=limit, **options)


CASES: Dict[str, Case] = {"pettingzoo": Case(make, privileged=())}
