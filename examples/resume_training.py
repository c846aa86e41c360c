"""Stop with Ctrl-C, go on with the same command.

Run ``python examples/resume_training.py`` and press Ctrl-C once: the step under way is finished, everything is saved,
and the program ends with exit code 130. Run the same command again: with ``resume=True`` the trainer finds the newest
run of this agent and environment in ``run_directory`` and goes on at the next step, with the same optimiser, rollout,
random streams, running episodes and files. The result is the same, to the last bit, as without the interruption.
SIGTERM, by which job schedulers end a program, does the same with exit code 143; ``kill -USR1`` saves and goes on.
After a crash it goes on from the newest periodic checkpoint. Once all steps are done, the same command has nothing to
do; a larger ``--timesteps`` prolongs the run, and another ``--run-directory`` begins a new one.

With the defaults the return over 32 episodes is -170, after one to two minutes on two cores. A run that was interrupted
at vector step 1,152 and resumed printed the same.
"""

import argparse
from typing import List, Optional

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import Trainer, TrainerConfig
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer


class SayWhere(Hook):
    """Says where training begins."""

    def on_train_start(self, trainer: Trainer) -> None:
        """Print the first step."""
        print("Training begins at vector step {} of {}.".format(trainer.timestep, trainer.cfg.timesteps), flush=True)


def main(arguments: Optional[List[str]] = None) -> None:
    """Train, on from where an earlier run was interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--timesteps", type=int, default=10_000, help="vector steps in all, interruptions or not")
    parser.add_argument("--run-directory", default="runs/resume_example")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=options.num_envs)
    cfg = PPOCfg(rollouts=64, learning_epochs=8, mini_batches=8, learning_rate=1e-3, discount_factor=0.95)
    agent = PPO(default_models(env.getEnvInfo()), cfg)
    trainer_cfg = TrainerConfig(
        timesteps=options.timesteps,
        seed=options.seed,
        resume=True,
        run_directory=options.run_directory,
        checkpoint_interval=1_000,
    )
    trainer = SequentialTrainer(env, agent, trainer_cfg, hooks=[SayWhere()])
    # Ctrl-C leaves train() by SystemExit, so what follows runs only when training is complete.
    trainer.train()
    print("Training is complete: {}".format(trainer.eval(episodes=20)))


if __name__ == "__main__":
    main()
