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
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "learning_scores.csv"
COLUMNS = ["task", "seed", "environment_steps", "return_mean", "seconds", "AquaML", "torch", "python", "processors"]


def pendulum(seed: int) -> Tuple[int, float]:
    """Run ``examples/ppo_pendulum_example.py`` as a user would; return environment steps and mean return."""
    command = [sys.executable, str(REPOSITORY / "examples" / "ppo_pendulum_example.py"), "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as folder:
        output = subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = re.search(r"over 100 episodes: (-?[\d.]+)", output.stdout.decode())
    assert found is not None, output.stdout.decode()
    return 32 * 12_800, float(found.group(1))


def cartpole(seed: int) -> Tuple[int, float]:
    """Train PPO on CartPole-v1 for 100,000 environment steps; return these and the mean return."""
    AquaML.seed_everything(seed)
    env = GymnasiumWrapper("CartPole-v1", num_envs=8)
    cfg = PPOCfg(
        device="cpu",
        rollouts=64,
        learning_epochs=8,
        mini_batches=4,
        learning_rate=1e-3,
        learning_rate_scheduler="LinearLR",
        learning_rate_scheduler_kwargs={"start_factor": 1.0, "end_factor": 0.05, "total_iters": 195},
        scheduler_interval="update",
    )
    agent = PPO(default_models(env.getEnvInfo()), cfg)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainerConfig(
            timesteps=12_500, seed=seed, disable_progressbar=True, tensorboard=False, run_directory=folder
        )
        trainer = SequentialTrainer(env, agent, settings)
        trainer.train()
    summary = evaluate(GymnasiumWrapper("CartPole-v1", num_envs=20), agent, episodes=100, seed=10_000)
    return trainer.statistics.environment_steps, summary.return_mean


TASKS: Dict[str, Callable[[int], Tuple[int, float]]] = {"Pendulum-v1": pendulum, "CartPole-v1": cartpole}


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
                steps, score = TASKS[task](seed)
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
    """Add a row to the results."""
    new = not path.is_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(str(path), "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
