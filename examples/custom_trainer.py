"""Your own code in the loop: a hook that adds a figure to the log, and a trainer that stops early with its best agent.

A hook watches: it is told of steps, rows of figures, evaluations and checkpoints. A subclass of the trainer changes
single pieces of the loop: begin, step, after_step, log, evaluate_agent, should_stop and end.

Run ``python examples/custom_trainer.py``; ``--help`` lists the options.

With the defaults training stops at vector step 13,000 of 20,000, and the best agent, that of step 10,000, has a
return of -165 over 112 episodes; about a minute and a half on two cores.
"""

import argparse
from typing import Any, Dict, List, Optional

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import Trainer, TrainerConfig
from AquaML.learning.trainers.evaluation import EpisodeSummary
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer


class SuccessRate(Hook):
    """Logs the share of evaluation episodes with at least a given return."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.rate = 0.0

    def on_evaluation(self, trainer: Trainer, summary: EpisodeSummary) -> None:
        """Count the successful episodes."""
        self.rate = sum(value >= self.threshold for value in summary.returns) / summary.episodes

    def on_log(self, trainer: Trainer, row: Dict[str, Any]) -> None:
        """Add the figure to the row, and so to progress.csv, TensorBoard and the others."""
        row["evaluation/success_rate"] = self.rate


class PatientTrainer(SequentialTrainer):
    """Ends training when evaluations have not become better for a while."""

    patience = 3_000
    """Vector steps without a better evaluation."""

    def should_stop(self) -> bool:
        """Look at the best evaluation so far, which checkpoints hold, and then at the usual reasons."""
        if self.best_timestep is not None and self.timestep - self.best_timestep >= self.patience:
            self.stop("no better evaluation for {} vector steps".format(self.patience))
        return super().should_stop()

    def end(self) -> None:
        """Write the last checkpoint, and then go back to the best agent."""
        super().end()
        assert self.run_folder is not None
        best = self.run_folder / "checkpoints" / "best.aqua"
        if best.is_file():
            self.agent.load(best)


def main(arguments: Optional[List[str]] = None) -> None:
    """Train until nothing is gained any more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--timesteps", type=int, default=20_000, help="vector steps at most")
    parser.add_argument("--evaluation-interval", type=int, default=1_000, help="vector steps between evaluations")
    options = parser.parse_args(arguments)

    AquaML.seed_everything(options.seed)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=options.num_envs)
    cfg = PPOCfg(rollouts=64, learning_epochs=8, mini_batches=8, learning_rate=1e-3, discount_factor=0.95)
    agent = PPO(default_models(env.getEnvInfo()), cfg)
    trainer_cfg = TrainerConfig(
        timesteps=options.timesteps,
        seed=options.seed,
        evaluation_interval=options.evaluation_interval,
        evaluation_episodes=16,
    )
    trainer = PatientTrainer(env, agent, trainer_cfg, hooks=[SuccessRate(threshold=-250.0)])
    trainer.train()
    status = trainer.get_status()
    print("Stopped at vector step {}: {}".format(status["timestep"], status["stop_reason"]))
    print("Best return {} at vector step {}".format(status["best_return"], status["best_timestep"]))
    print("Success rate of the last evaluation: {}".format(status["figures"].get("evaluation/success_rate")))
    print("The best agent: {}".format(trainer.eval(episodes=100)))


if __name__ == "__main__":
    main()
