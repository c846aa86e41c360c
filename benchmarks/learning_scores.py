"""Trains on small tasks and writes the scores to ``benchmarks/results/learning_scores.csv``.

Each score is the mean return of 100 deterministic episodes with fixed seeds, played by the last networks. Rows that the
file already holds are left out, so that an interrupted run goes on. Run ``python -m benchmarks.learning_scores``.
"""

import argparse
import csv
import functools
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

import torch

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_actor_critic, default_models, default_q_network
from AquaML.learning.reinforcement.off_policy.dqn import DQN
from AquaML.learning.reinforcement.off_policy.sac import SAC
from AquaML.learning.reinforcement.on_policy.a2c import A2C
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.reinforcement.on_policy.trpo import TRPO
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from benchmarks.memory_tasks import PendulumWithoutVelocity, Recall

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
    env_id: Union[str, Callable[[], Any]]
    num_envs: int
    timesteps: int
    settings: Dict[str, Any]
    options: Dict[str, Any] = {}
    models: Callable[[Any], Any] = default_models

    @property
    def environment_steps(self) -> int:
        """Return in how many steps of environments it learns."""
        return self.num_envs * self.timesteps

    def learn(self, seed: int) -> Tuple[int, float]:
        """Train on the CPU; return environment steps and mean return."""
        AquaML.seed_everything(seed)
        env = GymnasiumWrapper(self.env_id, num_envs=self.num_envs, **self.options)
        cfg = self.agent.config_class(device="cpu", **self.settings)
        agent = self.agent(self.models(env.getEnvInfo()), cfg)
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
    return -math.inf if task in OUT_OF_REACH else REACHED.get(task, SOLVED[task.split()[-1]])


def decaying(updates: int, to: float) -> Dict[str, Any]:
    """Return settings of a learning rate that falls linearly to a share of itself, update by update."""
    return dict(off_policy_decaying(updates, to), scheduler_interval="update")


def off_policy_decaying(updates: int, to: float) -> Dict[str, Any]:
    """Return the same for agents whose schedules always step by updates."""
    return {
        "learning_rate_scheduler": "LinearLR",
        "learning_rate_scheduler_kwargs": {"start_factor": 1.0, "end_factor": to, "total_iters": updates},
    }


MUJOCO = {"random_timesteps": 5_000, "learning_starts": 5_000}
"""Settings of SAC on MuJoCo's tasks: enough random steps to know the range of observations."""


def small_critics(env_info: Any) -> Any:
    """Return networks of 128 units a layer, which learn MuJoCo's tasks in a third of the time."""
    return default_actor_critic(env_info, hidden_sizes=(128, 128))


SOLVED = {
    "CartPole-v1": 475.0,
    "Acrobot-v1": -100.0,
    "Pendulum-v1": -200.0,
    "HalfCheetah-v5": 4000.0,
    "Hopper-v5": 2000.0,
    "Recall": 0.95,
    "Pendulum-without-velocity": -250.0,
}
"""Mean return from which a task counts as solved, by environment."""
REACHED = dict.fromkeys(("SAC Pendulum-v1", "TD3 Pendulum-v1", "DDPG Pendulum-v1"), -180.0)
"""What algorithms reach that do more than solve a task."""
OUT_OF_REACH = {"Memoryless PPO Recall": 0.75, "Memoryless PPO Pendulum-without-velocity": -250.0}
"""What no seed reaches, since it takes a memory."""
RECALL = {"rollouts": 20, "learning_epochs": 4, "mini_batches": 2, "learning_rate": 3e-3}
RECURRENT = functools.partial(default_models, hidden_sizes=(32,), recurrent="gru", recurrent_size=32)
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
    "TRPO Pendulum-v1": Example("trpo_pendulum.py", 16 * 25_600),
    "TRPO CartPole-v1": Training(TRPO, "CartPole-v1", 8, 12_500, {"rollouts": 128, "mini_batches": 8}),
    "SAC Pendulum-v1": Example("sac_pendulum.py", 20_000),
    "TD3 Pendulum-v1": Example("td3_pendulum.py", 20_000),
    "DDPG Pendulum-v1": Example("ddpg_pendulum.py", 20_000),
    "DQN CartPole-v1": Example("dqn_cartpole.py", 8 * 12_500),
    "DQN Acrobot-v1": Training(
        DQN,
        "Acrobot-v1",
        8,
        25_000,
        dict(
            learning_starts=125,
            n_steps=3,
            target_interval=50,
            reward_scale=0.05,
            exploration_share=0.2,
            learning_rate=1e-3,
            **off_policy_decaying(25_000, 0.02),
        ),
        models=default_q_network,
    ),
    "Recurrent PPO Recall": Training(PPO, Recall, 16, 1_500, dict(RECALL, sequence_length=10), models=RECURRENT),
    "Memoryless PPO Recall": Training(PPO, Recall, 16, 1_500, RECALL),
    "Recurrent A2C Recall": Training(
        A2C,
        Recall,
        16,
        3_000,
        {"rollouts": 10, "learning_rate": 3e-3, "entropy_loss_scale": 0.01},
        models=RECURRENT,
    ),
    "Recurrent PPO Pendulum-without-velocity": Example("recurrent_pendulum.py", 32 * 12_800),
    "Memoryless PPO Pendulum-without-velocity": Training(
        PPO,
        PendulumWithoutVelocity,
        32,
        12_800,
        dict(
            rollouts=64,
            learning_epochs=8,
            mini_batches=8,
            learning_rate=1e-3,
            discount_factor=0.9,
            **decaying(200, 0.1),
        ),
        {"action_bounds": "rescale"},
    ),
}
"""By name; those without an algorithm's name are PPO's."""
LONG_TASKS: Dict[str, Union[Example, Training]] = {
    "SAC HalfCheetah-v5": Training(SAC, "HalfCheetah-v5", 2, 100_000, MUJOCO, models=small_critics),
    "SAC Hopper-v5": Training(SAC, "Hopper-v5", 1, 200_000, MUJOCO, models=small_critics),
    "FastSAC HalfCheetah-v5": Example("fast_sac_half_cheetah.py", 32 * 10_000),
}
"""Tasks of MuJoCo that take ten minutes and more; two seeds each, and only when named."""


def main(arguments: Optional[List[str]] = None) -> None:
    """Run what is missing from the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS) + list(LONG_TASKS), default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    done = {(row["task"], row["seed"]) for row in read(options.results)}
    for task in options.tasks:
        for seed in options.seeds:
            if (task, str(seed)) not in done:
                begin = time.monotonic()
                steps, score = {**TASKS, **LONG_TASKS}[task].learn(seed)
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
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
