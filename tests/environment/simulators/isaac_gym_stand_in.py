"""A task as isaacgymenvs 1.5.1 has them, in plain torch: the public interface and its traps, without the simulator."""

from typing import Any, Callable, Dict, Tuple

import torch
from case import LIMIT, Case
from worlds import AttributeBox, ClockWorld, World

from AquaML.environment.isaac_gym_envs import IsaacGymWrapper


class VecTaskStandIn:
    """``IsaacGymEnvs: tasks/base/vec_task.py``, with the four ways in which tasks reset themselves.

    Args:
        num_envs: Number of environments.
        resets: ``"post_physics"`` (``tasks/ant.py:287-297``), ``"pre_physics"`` (``tasks/shadow_hand.py``),
            ``"same_step"`` (``tasks/anymal_terrain.py:453-485``) or ``"manual"`` (``tasks/humanoid_amp.py:87-96``).
        max_episode_length: As the task says it; episodes end at ``progress_buf >= max_episode_length - 1``.
        world: What moves.
        states: Whether there are states for the critic.
        bool_flags: Whether ``reset_buf`` is bool, as in AnymalTerrain, and not long.
        rl_device: Where results go.
    """

    def __init__(
        self,
        num_envs: int,
        resets: str = "post_physics",
        max_episode_length: int = 6,
        world: Any = ClockWorld,
        states: bool = True,
        bool_flags: bool = False,
        rl_device: str = "cpu",
    ) -> None:
        self._resets = resets
        self.device, self.rl_device, self.headless = "cpu", rl_device, True
        self.num_envs = self.num_environments = num_envs
        self.num_agents = 1
        self.world: World = world(num_envs, max_episode_length - 1)
        self.num_obs = self.num_observations = self.world.observation_size
        self.num_states = self.world.privileged_size if states else 0
        self.num_acts = self.num_actions = self.world.action_size
        # Old gym boxes, infinite for observations.
        self.observation_space = self.obs_space = AttributeBox(-float("inf"), float("inf"), self.num_obs)
        self.state_space = AttributeBox(-float("inf"), float("inf"), self.num_states)
        self.action_space = self.act_space = AttributeBox(-1.0, 1.0, self.num_acts)
        self.clip_obs, self.clip_actions = float("inf"), 1.0
        self.max_episode_length = max_episode_length
        self.obs_buf = torch.zeros((num_envs, self.num_obs))
        self.states_buf = torch.zeros((num_envs, self.num_states))
        self.rew_buf = torch.zeros(num_envs)
        # Ones at the start, so that the first step resets everything.
        self.reset_buf = torch.ones(num_envs, dtype=torch.bool if bool_flags else torch.long)
        self.timeout_buf = torch.zeros(num_envs, dtype=torch.long)
        self.progress_buf = torch.zeros(num_envs, dtype=torch.long)
        self._terminate_buf = torch.zeros(num_envs, dtype=torch.long)
        self.extras: Dict[str, Any] = {}
        self.obs_dict: Dict[str, torch.Tensor] = {}
        self.told_frames = 0
        self.received = torch.zeros((num_envs, self.num_acts))
        if resets in ("same_step", "manual"):
            self.reset_idx(torch.arange(num_envs))

    # No close(), as there.

    def zero_actions(self) -> torch.Tensor:
        return torch.zeros((self.num_envs, self.num_actions), device=self.rl_device)

    def set_train_info(self, env_frames: int, *args: Any, **kwargs: Any) -> None:
        self.told_frames = env_frames

    def get_env_state(self) -> Any:
        return {"curriculum": self.told_frames}

    def set_env_state(self, state: Any) -> None:
        self.told_frames = state["curriculum"]

    def reset(self) -> Dict[str, torch.Tensor]:
        """Resets nothing and computes no observation: all zeros at the first call."""
        return self._shown()

    def reset_idx(self, rows: torch.Tensor) -> None:
        self.world.begin(rows)
        self.progress_buf[rows] = 0
        self.reset_buf[rows] = 0
        self._terminate_buf[rows] = 0

    def reset_done(self) -> Tuple[Dict[str, torch.Tensor], torch.Tensor]:
        rows = self.reset_buf.nonzero(as_tuple=False).squeeze(-1)
        if len(rows) > 0:
            self.reset_idx(rows)
            if self._resets == "manual":
                self._compute_observations()
        return self._shown(), rows

    def step(self, actions: torch.Tensor) -> Any:
        self.received = torch.clamp(actions, -self.clip_actions, self.clip_actions)
        actions.fill_(99.0)  # a careless task
        if self._resets == "pre_physics":
            self._reset_finished()
        rewards = self.world.advance(self.received)
        self.progress_buf += 1
        if self._resets == "post_physics":
            self._reset_finished()
        elif self._resets == "same_step":
            # Falls and time limits are looked for first; then the counter is set back, and only then observed.
            self.reset_buf = self._ends()
            rows = self.reset_buf.nonzero(as_tuple=False).squeeze(-1)
            self.world.begin(rows)
            self.progress_buf[rows] = 0
        self._compute_observations()
        self.rew_buf[:] = rewards
        if self._resets != "same_step":
            self.reset_buf[:] = self._ends()
        self.timeout_buf = (self.progress_buf >= self.max_episode_length - 1) & (self.reset_buf != 0)
        self.extras["time_outs"] = self.timeout_buf.to(self.rl_device)
        self.extras["consecutive_successes"] = self.rew_buf.mean()
        if self._resets == "manual":
            self.extras["terminate"] = self._terminate_buf
        # The same dictionaries each time; .to() does not copy where the device is the same.
        return self._shown(), self.rew_buf.to(self.rl_device), self.reset_buf.to(self.rl_device), self.extras

    def _ends(self) -> torch.Tensor:
        fallen = self.world.fallen
        self._terminate_buf[:] = fallen
        ends = fallen | (self.progress_buf >= self.max_episode_length - 1)
        return ends.to(self.reset_buf.dtype)

    def _reset_finished(self) -> None:
        rows = self.reset_buf.nonzero(as_tuple=False).squeeze(-1)
        if len(rows) > 0:
            self.reset_idx(rows)

    def _compute_observations(self) -> None:
        self.obs_buf[:] = self.world.observe()
        if self.num_states:
            self.states_buf[:] = self.world.look_behind()

    def _shown(self) -> Dict[str, torch.Tensor]:
        # Here clipping copies; a task that does not clip shows the buffer itself.
        self.obs_dict["obs"] = self.obs_buf.to(self.rl_device)
        if self.num_states:
            self.obs_dict["states"] = self.states_buf.to(self.rl_device)
        return self.obs_dict

    def render(self, mode: str = "rgb_array") -> None:
        """Returns a picture only where a virtual screen is captured."""


def maker(**settings: Any) -> Callable[..., IsaacGymWrapper]:
    """Return what makes a wrapper over a task with these settings."""

    def make(num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, **options: Any) -> IsaacGymWrapper:
        return IsaacGymWrapper(VecTaskStandIn(num_envs, max_episode_length=limit, world=world, **settings), **options)

    return make


CASES: Dict[str, Case] = {
    # Episodes end at progress_buf >= max_episode_length - 1, and any end there is called a time limit.
    "isaac_gym post_physics": Case(maker(resets="post_physics"), LIMIT - 1, both="truncated"),
    "isaac_gym pre_physics": Case(maker(resets="pre_physics"), LIMIT - 1, first_age=1, both="truncated"),
    "isaac_gym same_step": Case(
        maker(resets="same_step", bool_flags=True), LIMIT - 1, both="truncated", gives_final=False
    ),
    "isaac_gym manual": Case(maker(resets="manual"), LIMIT - 1),
    "isaac_gym without states": Case(maker(states=False), LIMIT - 1, both="truncated", privileged=()),
    "isaac_gym two devices": Case(maker(rl_device="cpu:0"), LIMIT - 1, both="truncated"),
}
