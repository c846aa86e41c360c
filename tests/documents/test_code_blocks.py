"""The code in the documents runs: the Python blocks of a page one after the other, in one namespace."""

import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import pytest
import stand_ins
from pages import ENGLISH_PAGES, REPOSITORY, Block, fenced_blocks, name_of

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.checker import check_agent
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

LANGUAGES = {"python", "bash", "text"}
Space = Dict[str, Any]


def python_blocks(page: Path) -> List[Block]:
    return [block for block in fenced_blocks(page) if block.language == "python"]


def run_blocks(page: Path, given: Optional[Space] = None) -> Space:
    """Run all Python blocks of a page; an error's line is that of the page."""
    space: Space = dict(given or {}, __name__="document")
    for block in python_blocks(page):
        exec(compile("\n" * (block.line - 1) + block.text, name_of(page), "exec"), space)
    return space


def readme(space: Space) -> None:
    """Run the full program, too, whose main guard keeps it from running by itself."""
    space["main"]()
    assert Path("trained_model.pt").is_file()
    assert len(list(Path("runs").glob("*_PPO_Pendulum-v1*/learning_curve.png"))) >= 1


def architecture(space: Space) -> None:
    """The agent of the page keeps the contract and learns."""
    env = GymnasiumWrapper("CartPole-v1")
    agent = space["Reinforce"]({"policy": default_models(env.getEnvInfo())["policy"]})
    check_agent(agent, env)
    trainer = SequentialTrainer(env, agent, TrainerConfig(timesteps=6000, seed=0, disable_progressbar=True))
    before = trainer.eval(episodes=10).return_mean
    trainer.train()
    assert trainer.eval(episodes=10).return_mean > 2.0 * before


def own_model(space: Space) -> None:
    """The models of the page act and learn."""
    for agent in (space["agent"], space["shared"]):
        cfg = TrainerConfig(timesteps=33, disable_progressbar=True)
        SequentialTrainer(GymnasiumWrapper("Pendulum-v1"), agent, cfg).train()


def own_robot(space: Space) -> None:
    """The robot of the page learns."""
    assert np.mean(space["after"].lengths) > 2.0 * np.mean(space["before"].lengths)


CHECKS: Dict[str, Callable[[Space], None]] = {
    "README.md": readme,
    "Doc/architecture.md": architecture,
    "Doc/how_to/own_model.md": own_model,
    "Doc/how_to/own_robot.md": own_robot,
}
PREPARED: Dict[str, Callable[[Any], Space]] = {"Doc/environments.md": stand_ins.install}
"""What the code of a page takes for installed or made already."""
NEEDS = {"Doc/how_to/own_robot.md": "mujoco"}
WITH_PYTHON = [page for page in ENGLISH_PAGES if python_blocks(page)]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_python_blocks(page: Path, monkeypatch: Any) -> None:
    if name_of(page) in NEEDS:
        pytest.importorskip(NEEDS[name_of(page)])
    prepare = PREPARED.get(name_of(page))
    space = run_blocks(page, None if prepare is None else prepare(monkeypatch))
    CHECKS.get(name_of(page), lambda space: None)(space)


@pytest.mark.parametrize("page", ENGLISH_PAGES, ids=name_of)
def test_what_the_shell_blocks_run_exists(page: Path) -> None:
    for block in fenced_blocks(page):
        assert block.language in LANGUAGES, "{}:{}".format(name_of(page), block.line)
        if block.language != "bash":
            continue
        for script in re.findall(r"python3? (?!-)(\S+\.py)", block.text):
            assert (REPOSITORY / script).is_file(), script
        for constraints in re.findall(r"-c (\S+\.txt)", block.text):
            assert (REPOSITORY / constraints).is_file(), constraints


def test_the_readme_names_the_test_command_of_the_build() -> None:
    command = 'python -m pytest -m "not slow" -n 2'
    assert command in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    shell = [block.text for block in fenced_blocks(REPOSITORY / "README.md") if block.language == "bash"]
    assert any(text.rstrip().endswith(command) for text in shell)
