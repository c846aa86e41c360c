"""Small robots whose physics can be computed by hand, and how tests play them; for modules that need MuJoCo."""

from typing import Any, Dict, List

import numpy as np
import torch

from AquaML.environment.mujoco import MujocoVectorEnv, Normal, Uniform

STEP = 0.01
GRAVITY = 9.81

BALL = """
<mujoco><option timestep="0.01"/>
  <worldbody><body name="ball" pos="0 0 100"><joint name="height" type="slide" axis="0 0 1"/>
    <geom size="0.1" mass="2"/><site name="top" pos="0 0 0.1"/></body></worldbody>
  <actuator><motor name="lift" joint="height" ctrlrange="-50 50"/></actuator>
  <sensor><framepos name="where" objtype="body" objname="ball"/></sensor>
</mujoco>"""

CART = """
<mujoco><option timestep="0.01" gravity="0 0 0"/>
  <worldbody>
    <body name="cart"><joint name="place" type="slide" axis="1 0 0"/><geom name="box" size="0.1" mass="2"/>
      <body name="pole"><joint name="angle" axis="0 1 0" damping="0.1"/>
        <geom name="rod" type="capsule" fromto="0 0 0 0 0 0.5" size="0.02" mass="0.1"/></body></body>
  </worldbody>
  <actuator><motor name="push" joint="place" gear="4" ctrlrange="-1 1"/></actuator>
  <keyframe><key name="aside" qpos="3 0.2" qvel="0 1"/></keyframe>
</mujoco>"""

BLOCK = """
<mujoco><option timestep="0.01"/>
  <worldbody><geom name="floor" type="plane" size="9 9 1"/>
    <body name="block" pos="0 0 0.1"><freejoint/><geom name="cube" type="box" size="0.1 0.1 0.1" mass="3"/></body>
  </worldbody>
</mujoco>"""


class Ball(MujocoVectorEnv):
    """Falls, or is lifted; observes height and speed."""

    def __init__(self, num_envs: int = 2, model: Any = BALL, **options: Any) -> None:
        super().__init__(model, num_envs, **options)

    def observation(self) -> Any:
        return np.hstack([self.qpos, self.qvel])

    def reward(self, actions: np.ndarray) -> Any:
        return self.qpos[:, 0]


class Block(Ball):
    """Lies on the floor; what acts on it is nothing."""

    def action_range(self) -> Any:
        return np.array([-1.0]), np.array([1.0])

    def controls(self, actions: np.ndarray) -> np.ndarray:
        return np.zeros((self.num_envs, 0))


class Clock(Ball):
    """Observes how many steps its episode is old, and the control that arrived."""

    def observation(self) -> Any:
        return {"state": self.elapsed[:, None].astype(float), "privileged": self.watch("ctrl")}


class Cart(Ball):
    """All kinds of numbers at once, with arrays of its own."""

    def __init__(self, num_envs: int = 4, model: Any = CART, **options: Any) -> None:
        super().__init__(num_envs, model, **options)

    def prepare(self) -> None:
        self.extra_state["target"] = np.zeros((self.num_envs, 1))

    def begin_episode(self, rows: np.ndarray, generator: np.random.Generator) -> None:
        self.extra_state["target"][rows] = generator.uniform(-1.0, 1.0, (len(rows), 1))

    def observation(self) -> Any:
        seen = np.hstack([self.qpos, self.qvel, self.extra_state["target"], self.actions])
        return {"state": seen, "privileged": self.parameter("body_mass")}

    def reward(self, actions: np.ndarray) -> Any:
        distance = np.abs(self.joint_position("place") - self.extra_state["target"])[:, 0]
        return {"near": 1.0 - distance, "effort": -0.1 * np.square(actions - self.previous_actions).sum(1)}

    def terminated(self) -> np.ndarray:
        return np.abs(self.qpos[:, 0]) > 0.3

    def log(self) -> Dict[str, np.ndarray]:
        return {"speed": self.qvel[:, 0]}


EVERYTHING: Dict[str, Any] = {
    "frame_skip": 2,
    "max_episode_steps": 17,
    "initial_noise": 0.1,
    "random_initial_length": True,
    "randomization": {
        ("body_mass", "body_inertia"): Uniform(0.5, 1.5),
        "dof_damping": Normal(0.0, 0.01),
        "opt.gravity": Normal(0.0, 0.1),
    },
    "observation_noise": {"state": 0.01},
    "observation_delay": {"state": (0, 3)},
    "action_noise": 0.1,
    "action_delay": (0, 2),
}


def actions_for(env: MujocoVectorEnv, steps: int, seed: int = 0) -> List[torch.Tensor]:
    size = env.action_layout.specs["action"].shape[0]
    draws = torch.rand(steps, env.num_envs, size, generator=torch.Generator().manual_seed(seed))
    return list(draws * 2.0 - 1.0)


def play(env: MujocoVectorEnv, actions: List[torch.Tensor]) -> torch.Tensor:
    """Return everything that steps returned, one row per step."""
    rows = []
    for action in actions:
        seen, rewards, terminated, truncated, infos = env.step(action)
        done = terminated | truncated
        final = [torch.where(done, values, 0.0 * values) for values in (infos["final_obs"] or {}).values()]
        final = final or [0.0 * values for values in seen.values()]
        parts = list(seen.values()) + [rewards, terminated, truncated] + final + list(infos["log"].values())
        rows.append(torch.cat([part.double().flatten() for part in parts]))
    return torch.stack(rows)
