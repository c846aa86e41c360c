"""``ManiSkill: mani_skill/vector/wrappers/gymnasium.py`` in plain torch: same-step reset, last observations given."""

from typing import Any, Callable, Dict, Optional

import torch
from case import LIMIT, Case
from worlds import AttributeBox, ClockWorld, DictSpace, World

from AquaML.environment.maniskill_envs import ManiSkillWrapper


class ManiSkillStandIn:
    """A ``ManiSkillVectorEnv``.

    Args:
        num_envs: Number of environments.
        world: What moves.
        limit: The time limit; a fall at the same step is reported besides.
        nested: Observe a dictionary, as with ``obs_mode="state_dict"``.
    """

    auto_reset = True

    def __init__(self, num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, nested: bool = False) -> None:
        self.num_envs, self.device, self._nested = num_envs, torch.device("cpu"), nested
        self.world: World = world(num_envs, limit)
        self.max_episode_steps = limit
        infinite = float("inf")
        box = AttributeBox(-infinite, infinite, self.world.observation_size)
        critic = AttributeBox(-infinite, infinite, self.world.privileged_size)
        self.single_observation_space: Any = DictSpace({"state": box, "critic": critic}) if nested else box
        self.single_action_space = AttributeBox(-1.0, 1.0, self.world.action_size)
        self.elapsed_steps = torch.zeros(num_envs, dtype=torch.int32)
        self._observation = torch.zeros((num_envs, self.world.observation_size))
        self._returns = torch.zeros(num_envs)
        self.received = torch.zeros((num_envs, self.world.action_size))

    def _observe(self) -> Any:
        self._observation[:] = self.world.observe()
        return {"state": self._observation, "critic": self.world.look_behind()} if self._nested else self._observation

    def reset(self, *, seed: Any = None, options: Optional[Dict[str, Any]] = None) -> Any:
        if seed is not None:
            assert len(seed) == self.num_envs
            torch.manual_seed(seed[0])
        rows = (options or {}).get("env_idx", torch.arange(self.num_envs))
        self.world.begin(rows)
        self.elapsed_steps[rows] = 0
        self._returns[rows] = 0.0
        return self._observe(), {"reconfigure": False}

    def step(self, actions: torch.Tensor) -> Any:
        self.received = torch.clamp(actions, -1.0, 1.0)
        actions.fill_(99.0)  # a careless environment
        rewards = self.world.advance(self.received)
        self.elapsed_steps += 1
        self._returns += rewards
        terminations, truncations = self.world.fallen, self.elapsed_steps >= self.max_episode_steps
        infos: Dict[str, Any] = {"success": terminations, "elapsed_steps": self.elapsed_steps}
        infos["episode"] = {"return": self._returns.clone(), "episode_len": self.elapsed_steps.clone()}
        observations = self._observe()
        done = terminations | truncations
        if done.any():
            last = _cloned(observations)
            final_info = _cloned(infos)
            observations, infos = self.reset(options={"env_idx": torch.arange(self.num_envs)[done]})
            infos.update(final_info=final_info, _final_info=done, final_observation=last, _final_observation=done)
        return observations, rewards, terminations, truncations, infos


def _cloned(value: Any) -> Any:
    return {name: _cloned(part) for name, part in value.items()} if isinstance(value, dict) else value.clone()


def maker(**settings: Any) -> Callable[..., ManiSkillWrapper]:
    """Return what makes a wrapper over an environment with these settings."""

    def make(num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, **options: Any) -> ManiSkillWrapper:
        names = {"critic": "privileged"} if settings else None
        return ManiSkillWrapper(ManiSkillStandIn(num_envs, world, limit, **settings), names=names, **options)

    return make


CASES: Dict[str, Case] = {
    "maniskill state": Case(maker(), privileged=()),
    "maniskill dict": Case(maker(nested=True)),
}
