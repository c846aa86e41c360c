"""Every example runs as a program, with a tiny budget."""

import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

TINY = {
    "ppo_pendulum_example.py": (["--timesteps", "130", "--num-envs", "2", "--episodes", "2"], "Deterministic return"),
    "simple_ppo_pendulum.py": (["--timesteps", "130", "--num-envs", "2"], "20 episodes, return"),
    "model_saving_example.py": (["--timesteps", "130"], "Action of the warm start"),
}


def run(name: str, arguments: List[str]) -> str:
    command = [sys.executable, str(EXAMPLES / name)] + arguments
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def test_every_example_is_known() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(TINY)


@pytest.mark.parametrize("name", sorted(TINY))
def test_example(name: str) -> None:
    arguments, words = TINY[name]
    assert words in run(name, arguments)


def test_saved_and_loaded_agents_act_alike() -> None:
    lines = [line.split(":")[1].strip() for line in run("model_saving_example.py", ["--timesteps", "70"]).splitlines()]
    assert len(lines) == 3 and len(set(lines)) == 1
