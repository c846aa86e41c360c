"""Environments as Isaac Lab and mjlab have them, in plain torch: same-step reset, reused buffers, groups."""

from types import SimpleNamespace
from typing import Any, Callable, Dict, Optional

import torch
from case import LIMIT, Case
from worlds import AttributeBox, ClockWorld, DictSpace, World

from AquaML.environment.isaac_lab_envs import IsaacLabWrapper, MjlabWrapper


class IsaacLabStandIn:
    """``IsaacLab: source/isaaclab/isaaclab/envs/direct_rl_env.py`` and ``manager_based_rl_env.py``.

    Args:
        num_envs: Number of environments.
        world: What moves.
        limit: The time limit.
        direct: Direct environments end at ``max_episode_length - 1`` and declare no space for the critic; manager-based
            ones end at ``max_episode_length``, and here their critic's terms are not concatenated.
        compute_final_obs: Hand over last observations.
        is_finite_horizon: The time limit is part of the task.
        actor: The actor's group: ``"policy"``, in newer versions of mjlab ``"actor"``.
    """

    def __init__(
        self,
        num_envs: int,
        world: Any = ClockWorld,
        limit: int = LIMIT,
        direct: bool = True,
        compute_final_obs: bool = False,
        is_finite_horizon: bool = False,
        actor: str = "policy",
        **cfg: Any,
    ) -> None:
        self.num_envs, self.device = num_envs, "cpu"
        self.max_episode_length, self._direct, self._actor = limit, direct, actor
        self.cfg = SimpleNamespace(compute_final_obs=compute_final_obs, is_finite_horizon=is_finite_horizon, **cfg)
        self._last_age = limit - 1 if direct else limit
        self.world: World = world(num_envs, self._last_age)
        infinite = float("inf")
        spaces: Dict[str, Any] = {actor: AttributeBox(-infinite, infinite, self.world.observation_size)}
        if not direct:
            terms = {name: AttributeBox(-infinite, infinite, 1) for name in self._terms()}
            spaces["critic"] = DictSpace(terms)
        self.single_observation_space = DictSpace(spaces)
        self.single_action_space = AttributeBox(-infinite, infinite, self.world.action_size)
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self.reward_buf = torch.zeros(num_envs)
        self.reset_terminated = torch.zeros(num_envs, dtype=torch.bool)
        self.reset_time_outs = torch.zeros(num_envs, dtype=torch.bool)
        self._buffer = torch.zeros((num_envs, self.world.observation_size))
        self._critic_buffer = torch.zeros((num_envs, self.world.privileged_size))
        self.obs_buf: Dict[str, Any] = {}
        self.extras: Dict[str, Any] = {}
        self.received = torch.zeros((num_envs, self.world.action_size))
        self.closed = 0

    @property
    def unwrapped(self) -> "IsaacLabStandIn":
        return self

    def _terms(self) -> Any:
        return ["term_{}".format(index) for index in range(self.world.privileged_size)]

    def _observe(self) -> Dict[str, Any]:
        """Observations in buffers that are used again."""
        self._buffer[:] = self.world.observe()
        self._critic_buffer[:] = self.world.look_behind()
        columns = self._critic_buffer.unsqueeze(2).unbind(1)
        self.obs_buf[self._actor] = self._buffer
        self.obs_buf["critic"] = self._critic_buffer if self._direct else dict(zip(self._terms(), columns))
        return self.obs_buf

    def reset(self, seed: Optional[int] = None, options: Any = None) -> Any:
        if seed is not None:
            torch.manual_seed(seed)
        self._reset_idx(torch.arange(self.num_envs))
        return self._observe(), self.extras

    def _reset_idx(self, rows: torch.Tensor) -> None:
        self.extras["log"] = {"Episode_Reward/upright": self.reward_buf[rows].mean(), "Curriculum/level": 2.0}
        self.world.begin(rows)
        self.episode_length_buf[rows] = 0

    def step(self, actions: torch.Tensor) -> Any:
        self.received = torch.clamp(actions, -1.0, 1.0)
        actions.fill_(99.0)  # a careless environment
        rewards = self.world.advance(self.received)
        self.episode_length_buf += 1
        self.reset_terminated[:] = self.world.fallen
        self.reset_time_outs[:] = self.episode_length_buf >= self._last_age
        self.reward_buf[:] = rewards
        rows = (self.reset_terminated | self.reset_time_outs).nonzero(as_tuple=False).squeeze(-1)
        self._reset_finished(rows)
        return self._observe(), self.reward_buf, self.reset_terminated, self.reset_time_outs, self.extras

    def _reset_finished(self, rows: torch.Tensor) -> None:
        if len(rows) == 0:
            return
        if self.cfg.compute_final_obs:
            last = self._observe()
            critic = last["critic"]
            self.extras["final_obs"] = {
                self._actor: last[self._actor].clone(),
                "critic": critic.clone() if self._direct else {name: value.clone() for name, value in critic.items()},
            }
        self._reset_idx(rows)

    def close(self) -> None:
        self.closed += 1
        assert self.closed == 1, "the simulator is closed twice"


class MjlabStandIn(IsaacLabStandIn):
    """``mjlab: src/mjlab/envs/manager_based_rl_env.py``: as Isaac Lab's manager-based ones, with two ways out.

    With ``auto_reset=False`` the caller resets what has ended, by ``reset(env_ids=...)``; with
    ``capture_terminal_observations`` last observations come as ``extras["terminal"]``.
    """

    def __init__(self, num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, **cfg: Any) -> None:
        super().__init__(num_envs, world, limit, direct=False, actor="actor", **cfg)
        self._waiting = torch.zeros(num_envs, dtype=torch.bool)

    def reset(self, seed: Optional[int] = None, env_ids: Optional[torch.Tensor] = None, options: Any = None) -> Any:
        if env_ids is None:
            self._waiting[:] = False
            return super().reset(seed)
        self._waiting[env_ids] = False
        self._reset_idx(env_ids)
        return self._observe(), self.extras

    def step(self, actions: torch.Tensor) -> Any:
        assert not self._waiting.any(), "an environment that has ended was not reset"
        return super().step(actions)

    def _reset_finished(self, rows: torch.Tensor) -> None:
        self.extras.pop("terminal", None)
        if not getattr(self.cfg, "auto_reset", True):
            self._waiting[rows] = True
            return
        if len(rows) and getattr(self.cfg, "capture_terminal_observations", False):
            seen, critic = self.world.observe()[rows], self.world.look_behind()[rows]
            terms = dict(zip(self._terms(), critic.unsqueeze(2).unbind(1)))
            self.extras["terminal"] = {"env_ids": rows, "observations": {"actor": seen, "critic": terms}}
        super()._reset_finished(rows)


def maker(wrapper: Any, stand_in: Any, **settings: Any) -> Callable[..., IsaacLabWrapper]:
    """Return what makes a wrapper over an environment with these settings."""

    def make(num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, **options: Any) -> IsaacLabWrapper:
        made: IsaacLabWrapper = wrapper(stand_in(num_envs, world, limit, **settings), clip_actions=1.0, **options)
        return made

    return make


_TERMS = ("privileged/term_0", "privileged/term_1")
CASES: Dict[str, Case] = {
    "isaac_lab direct": Case(maker(IsaacLabWrapper, IsaacLabStandIn), LIMIT - 1, gives_final=False),
    "isaac_lab direct final_obs": Case(maker(IsaacLabWrapper, IsaacLabStandIn, compute_final_obs=True), LIMIT - 1),
    "isaac_lab manager final_obs": Case(
        maker(IsaacLabWrapper, IsaacLabStandIn, direct=False, compute_final_obs=True), privileged=_TERMS
    ),
    "mjlab": Case(maker(MjlabWrapper, MjlabStandIn), privileged=_TERMS, gives_final=False),
    "mjlab terminal": Case(maker(MjlabWrapper, MjlabStandIn, capture_terminal_observations=True), privileged=_TERMS),
    "mjlab manual": Case(maker(MjlabWrapper, MjlabStandIn, auto_reset=False), privileged=_TERMS),
}
