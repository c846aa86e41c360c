"""A robot of your own: an MJCF file, what it observes, what it is rewarded for; then it learns to walk.

Masses, friction and motors differ from robot to robot, sensors are noisy, and commands may arrive a step late.
Run ``python examples/walking_robot.py`` after ``pip install 'AquaML[mujoco]'``; the film needs OpenGL (libegl1).

With the defaults the return rises from 183 (standing) to 470 (seed 0) and 464 (seed 1) of at most 500, the speed from 0
to 0.49 and 0.46 m/s of the wanted 0.5, and none of 128 robots falls; a few minutes on two cores.
"""

import argparse
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from PIL import Image

import AquaML
from AquaML.environment.mujoco import MujocoVectorEnv, Uniform
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer

TASK: Dict[str, Any] = {"frame_skip": 5, "max_episode_steps": 500, "keyframe": "stand", "initial_noise": 0.1}
REALITY: Dict[str, Any] = {
    "randomization": {
        "body_mass": Uniform(0.8, 1.2),
        "geom_friction": Uniform(0.6, 1.2, mode="set", columns=0, together=True),
        ("actuator_gainprm", "actuator_biasprm"): Uniform(0.8, 1.2),
    },
    "observation_noise": 0.02,
    "action_delay": (0, 1),
}


class WalkingRobot(MujocoVectorEnv):
    """Walks forward at half a metre per second, ten seconds an episode; every row is one robot."""

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        super().__init__(Path(__file__).with_name("walking_robot.xml"), num_envs, **{**TASK, **REALITY, **options})

    def action_range(self) -> Tuple[np.ndarray, np.ndarray]:
        """Let actions be -1 … 1."""
        return -np.ones(8), np.ones(8)

    def controls(self, actions: np.ndarray) -> np.ndarray:
        """Command joint angles up to half a radian off those of standing."""
        return self.resting_state[0][7:] + 0.5 * actions

    def velocity(self) -> np.ndarray:
        """Return the velocity in the trunk's axes."""
        return np.einsum("nij,ni->nj", self.body_rotation("trunk"), self.body_velocity("trunk"))

    def observation(self) -> np.ndarray:
        """See what is up, velocities, joints, and the last command; scaled to about one."""
        up, joints = self.body_rotation("trunk")[:, 2], self.qpos[:, 7:] - self.resting_state[0][7:]
        return np.hstack([up, self.velocity(), self.qvel[:, 3:6] / 4, joints, self.qvel[:, 6:] / 10, self.actions])

    def reward(self, actions: np.ndarray) -> Dict[str, np.ndarray]:
        """Reward the wanted velocity; turning, leaning, haste and jerks cost."""
        velocity = self.velocity()
        return {
            "pace": np.exp(-4.0 * np.square(velocity[:, :2] - [0.5, 0.0]).sum(axis=1)),
            "turning": -0.05 * np.square(self.qvel[:, 3:6]).sum(axis=1),
            "leaning": -2.0 * np.square(self.body_rotation("trunk")[:, 2, :2]).sum(axis=1),
            "haste": -0.001 * np.square(self.qvel[:, 6:]).sum(axis=1),
            "jerks": -0.03 * np.square(actions - self.previous_actions).sum(axis=1),
        }

    def terminated(self) -> np.ndarray:
        """End when the trunk tilts by 60 degrees or nears the floor."""
        return (self.body_rotation("trunk")[:, 2, 2] < 0.5) | (self.qpos[:, 2] < 0.08)

    def log(self) -> Dict[str, np.ndarray]:
        """Log the forward speed in metres per second."""
        return {"speed": self.velocity()[:, 0]}


def film(agent: PPO, path: Path) -> None:
    """Write an animated GIF of one robot, if pictures can be drawn here."""
    env = WalkingRobot(render_mode="rgb_array", camera="side", seed=1)
    seen, _ = env.reset()
    pictures = []
    for step in range(300):
        if step % 2 == 0:
            pictures.append(env.render())
        seen, *_ = env.step(agent.predict(seen["state"][0].numpy())[None])
    env.close()
    if pictures[0] is None:
        print("There is no film, as nothing can be drawn; the warning above says what to install.")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(str(path), save_all=True, append_images=images[1:], duration=int(2000 * env.time_step), loop=0)
    print("The film is '{}'.".format(path))


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, evaluate and film."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=128)
    parser.add_argument("--timesteps", type=int, default=8_000, help="vector steps")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = WalkingRobot(num_envs=options.num_envs, random_initial_length=True)
    cfg = PPOCfg(rollouts=24, learning_epochs=4, learning_rate=1e-3, learning_rate_scheduler="KLAdaptiveLR")
    agent = PPO(default_models(env.getEnvInfo(), initial_log_std=-0.7), cfg)
    trainer = SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed))
    before = trainer.eval(episodes=20)
    trainer.train()
    after = trainer.eval(episodes=20)
    for when, summary in (("Before training:", before), ("After training: ", after)):
        print("{} {}, {:.2f} m/s".format(when, summary, summary.infos["speed"]))
    film(agent, Path("videos/walking_robot.gif"))


if __name__ == "__main__":
    main()
