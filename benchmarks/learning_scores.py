"""Trains on small tasks and writes the scores to ``benchmarks/results/learning_scores.csv``.

Each score is the mean return of 100 deterministic episodes with fixed seeds, played by the last networks. Rows that the
file already holds are left out, so that an interrupted run goes on. Run ``python benchmarks/learning_scores.py``.
"""

import argparse
import csv
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import torch

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.a2c import A2C
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.reinforcement.on_policy.trpo import TRPO
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "learning_scores.csv"


class Example(NamedTuple):
    """A program in ``examples/`` that trains with its defaults and prints its score."""

    program: str
    environment_steps: int

    def learn(self, seed: int) -> Tuple[int, float]:
        """Run the program as a user would; return environment steps and mean return."""
        command = [sys.executable, str(REPOSITORY / "examples" / self.program), "--seed", str(seed)]
        with tempfile.TemporaryDirectory() as folder:
            output = subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        found = re.search(r"over 100 episodes: (-?[\d.]+)", output.stdout.decode())
        assert found is not None, output.stdout.decode()
        return self.environment_steps, float(found.group(1))


class Training(NamedTuple):
    """A training with ready-made networks."""

    agent: Any
    env_id: str
    num_envs: int
    timesteps: int
    settings: Dict[str, Any]
    options: Dict[str, Any] = {}

    @property
    def environment_steps(self) -> int:
        """Return in how many steps of environments it learns."""
        return self.num_envs * self.timesteps

    def learn(self, seed: int) -> Tuple[int, float]:
        """Train on the CPU; return environment steps and mean return."""
        AquaML.seed_everything(seed)
        env = GymnasiumWrapper(self.env_id, num_envs=self.num_envs, **self.options)
        cfg = self.agent.config_class(device="cpu", **self.settings)
        agent = self.agent(default_models(env.getEnvInfo()), cfg)
        with tempfile.TemporaryDirectory() as folder:
            settings = TrainerConfig(
                timesteps=self.timesteps, seed=seed, disable_progressbar=True, tensorboard=False, run_directory=folder
            )
            trainer = SequentialTrainer(env, agent, settings)
            trainer.train()
        test_env = GymnasiumWrapper(self.env_id, num_envs=20, **self.options)
        return trainer.statistics.environment_steps, evaluate(test_env, agent, episodes=100, seed=10_000).return_mean


def expected(task: str) -> float:
    """Return the mean return that every seed reaches."""
    return UNSOLVED.get(task, SOLVED[task.split()[-1]])


def decaying(updates: int, to: float) -> Dict[str, Any]:
    """Return settings of a learning rate that falls linearly to a share of itself."""
    return {
        "learning_rate_scheduler": "LinearLR",
        "learning_rate_scheduler_kwargs": {"start_factor": 1.0, "end_factor": to, "total_iters": updates},
        "scheduler_interval": "update",
    }


SOLVED = {"CartPole-v1": 475.0, "Pendulum-v1": -200.0}
"""Mean return from which a task counts as solved, by environment."""
UNSOLVED = {"TRPO Pendulum-v1": -250.0}
"""What tasks reach that are not solved with every seed."""
TASKS: Dict[str, Union[Example, Training]] = {
    "Pendulum-v1": Example("ppo_pendulum_example.py", 32 * 12_800),
    "CartPole-v1": Training(
        PPO,
        "CartPole-v1",
        8,
        12_500,
        dict(rollouts=64, learning_epochs=8, mini_batches=4, learning_rate=1e-3, **decaying(195, 0.05)),
    ),
    "A2C Pendulum-v1": Training(
        A2C,
        "Pendulum-v1",
        32,
        25_600,
        {"rollouts": 5, "learning_rate": 1e-3, "discount_factor": 0.9, "gae_lambda": 0.9, "entropy_loss_scale": 0.01},
        {"action_bounds": "rescale"},
    ),
    "A2C CartPole-v1": Example("a2c_cartpole.py", 16 * 18_750),
    "RPO Pendulum-v1": Example("rpo_pendulum.py", 32 * 12_800),
    "TRPO Pendulum-v1": Example("trpo_pendulum.py", 32 * 12_800),
    "TRPO CartPole-v1": Training(TRPO, "CartPole-v1", 8, 12_500, {"rollouts": 128}),
}
"""By name; those without an algorithm's name are PPO's."""


def main(arguments: Optional[List[str]] = None) -> None:
    """Run what is missing from the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    done = {(row["task"], row["seed"]) for row in read(options.results)}
    for task in options.tasks:
        for seed in options.seeds:
            if (task, str(seed)) not in done:
                begin = time.monotonic()
                steps, score = TASKS[task].learn(seed)
                append(options.results, row_of(task, seed, steps, score, time.monotonic() - begin))
                print("{} seed {}: {:.1f}".format(task, seed, score), flush=True)


def row_of(task: str, seed: int, steps: int, score: float, seconds: float) -> Dict[str, Any]:
    """Return a row of the results, with the versions that made it."""
    return {
        "task": task,
        "seed": seed,
        "environment_steps": steps,
        "return_mean": "{:.2f}".format(score),
        "seconds": "{:.0f}".format(seconds),
        "AquaML": AquaML.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
    }


def read(path: Path) -> List[Dict[str, str]]:
    """Return the rows of the results so far."""
    if not path.is_file():
        return []
    with open(str(path), newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]


def append(path: Path, row: Dict[str, Any]) -> None:
    """Add a row to the results, whose columns are its keys."""
    new = not path.is_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(str(path), "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
