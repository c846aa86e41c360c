"""A cart-pole on Genesis that speaks rsl_rl's ``VecEnv``.

Genesis brings no environments; users write them after its examples. This one keeps on purpose what a wrapper can trip
over: it resets in the same step and hides last observations, rewards are one tensor that is used again, time limits are
a float tensor in one dictionary ``extras``, and what is logged of episodes stays there until the next reset.
"""

import math
import tempfile
from pathlib import Path
from typing import Any, Dict, Tuple

import genesis
import torch

_ROBOT = """
<mujoco model="cartpole">
  <compiler angle="radian" inertiafromgeom="true"/>
  <worldbody>
    <body name="cart" pos="0 0 1">
      <joint name="slide" type="slide" axis="1 0 0" damping="0.01"/>
      <geom name="cart" type="box" size="0.1 0.08 0.05" mass="1.0" contype="0" conaffinity="0"/>
      <body name="pole" pos="0 0 0">
        <joint name="hinge" type="hinge" axis="0 1 0" damping="0.0005"/>
        <geom name="pole" type="capsule" fromto="0 0 0 0 0 0.6" size="0.02" mass="0.2" contype="0" conaffinity="0"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
TIME_STEP = 0.02
LARGEST_FORCE = 20.0
LARGEST_ANGLE = 0.4
LARGEST_POSITION = 1.5
REWARDS = {"alive": 1.0, "upright": 1.0, "position": -0.5, "action": -0.05}
"""Weights of the rewards' terms, per second."""


def start_genesis() -> None:
    """Initialise Genesis unless it is; a process can do so but once."""
    if not genesis._initialized:
        genesis.init(backend=genesis.cpu, logging_level="error", seed=0)


class GenesisCartpole:
    """A pole on a cart that a force drives, ``num_envs`` of them in one scene.

    The return of an episode is at most ``2 * seconds``: a pole that stands still, upright, in the middle.

    Args:
        num_envs: Number of environments.
        seconds: Length of an episode.
        noise: Half the width of the positions and angles at the start.
    """

    num_obs, num_actions, num_privileged_obs = 5, 1, None

    def __init__(self, num_envs: int, seconds: float = 5.0, noise: float = 0.1) -> None:
        start_genesis()
        self.num_envs, self.device = num_envs, genesis.device
        self.cfg: Dict[str, Any] = {"seconds": seconds, "noise": noise}
        self.max_episode_length = math.ceil(seconds / TIME_STEP - 1e-6)
        self.scene = genesis.Scene(
            sim_options=genesis.options.SimOptions(dt=TIME_STEP, substeps=2),
            rigid_options=genesis.options.RigidOptions(enable_collision=False, enable_joint_limit=False),
            show_viewer=False,
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cartpole.xml"
            path.write_text(_ROBOT)
            # Genesis adds an armature of 0.1 to joints whose file gives none: the pole would fall in slow motion.
            self.robot = self.scene.add_entity(genesis.morphs.MJCF(file=str(path), default_armature=0.0))
            self.scene.build(n_envs=num_envs)
        self.cart, self.pole = (self.robot.get_joint(name).dofs_idx_local[0] for name in ("slide", "hinge"))

        self.obs_buf = torch.zeros((num_envs, self.num_obs), device=self.device)
        self.rew_buf = torch.zeros(num_envs, device=self.device)
        self.reset_buf = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self.episode_length_buf = torch.zeros(num_envs, dtype=genesis.tc_int, device=self.device)
        self.actions = torch.zeros((num_envs, self.num_actions), device=self.device)
        self.episode_sums = {name: torch.zeros(num_envs, device=self.device) for name in REWARDS}
        self.extras: Dict[str, Any] = {}
        self.reset()

    def get_observations(self) -> Dict[str, torch.Tensor]:
        """Return position, sine and cosine of the angle, and halved velocities, ``(num_envs, 5)``."""
        return {"policy": self.obs_buf}

    def reset(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """Start a new episode everywhere."""
        self._reset_rows(torch.arange(self.num_envs, device=self.device))
        self._observe()
        return self.get_observations(), self.extras

    def step(self, actions: torch.Tensor) -> Tuple[Dict[str, torch.Tensor], torch.Tensor, torch.Tensor, Dict[str, Any]]:
        """Let actions -1 … 1 of shape ``(num_envs, 1)`` act, and reset what has ended."""
        self.actions[:] = actions.detach().to(self.device).clamp(-1.0, 1.0)
        self.robot.control_dofs_force(self.actions * LARGEST_FORCE, [self.cart])
        self.scene.step()
        self.episode_length_buf += 1

        positions = self.robot.get_dofs_position()
        position, angle = positions[:, self.cart], positions[:, self.pole]
        self._end_episodes((angle.abs() > LARGEST_ANGLE) | (position.abs() > LARGEST_POSITION))
        self._reward(position, angle)
        ended = self.reset_buf.nonzero(as_tuple=False).flatten()
        if len(ended):
            self._reset_rows(ended)
        self._observe()
        return self.get_observations(), self.rew_buf, self.reset_buf, self.extras

    def close(self) -> None:
        """Give the scene back."""
        if self.scene is not None:
            self.scene.destroy()
            self.scene = None

    def _end_episodes(self, fallen: torch.Tensor) -> None:
        over = self.episode_length_buf >= self.max_episode_length
        self.reset_buf = over | fallen
        self.extras["time_outs"] = (over & ~fallen).float()

    def _reward(self, position: torch.Tensor, angle: torch.Tensor) -> None:
        terms = {
            "alive": torch.ones_like(angle),
            "upright": torch.cos(angle),
            "position": position.square(),
            "action": self.actions[:, 0].square(),
        }
        self.rew_buf[:] = 0.0  # whoever keeps this tensor must copy it
        for name, weight in REWARDS.items():
            value = terms[name] * weight * TIME_STEP
            self.rew_buf += value
            self.episode_sums[name] += value

    def _observe(self) -> None:
        positions, velocities = self.robot.get_dofs_position(), self.robot.get_dofs_velocity()
        position, angle = positions[:, self.cart], positions[:, self.pole]
        halved = 0.5 * velocities
        self.obs_buf = torch.stack(
            (position, torch.sin(angle), torch.cos(angle), halved[:, self.cart], halved[:, self.pole]), dim=-1
        )

    def _reset_rows(self, rows: torch.Tensor) -> None:
        """Start new episodes, drawn from torch's global generator."""
        state = (torch.rand((len(rows), 2), device=self.device) * 2.0 - 1.0) * self.cfg["noise"]
        self.robot.set_dofs_position(state, [self.cart, self.pole], envs_idx=rows, zero_velocity=True)
        self.extras["episode"] = {}
        for name, total in self.episode_sums.items():
            self.extras["episode"]["rew_" + name] = total[rows].mean().item() / self.cfg["seconds"]
            total[rows] = 0.0
        self.episode_length_buf[rows] = 0
