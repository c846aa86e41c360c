"""The code in the documents runs."""

import re
from pathlib import Path
from typing import Any, Dict

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.checker import check_agent
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

REPOSITORY = Path(__file__).resolve().parents[2]


def blocks(name: str) -> Any:
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / name).read_text(encoding="utf-8"), re.S)


def test_the_readme_trains() -> None:
    for block in blocks("README.md"):
        exec(compile(block, "README.md", "exec"), {})
    assert len(list(Path("runs").glob("*_PPO_Pendulum-v1/learning_curve.png"))) == 1


def test_the_agent_of_the_architecture_page_keeps_the_contract_and_learns() -> None:
    (block,) = blocks("Doc/architecture.md")
    space: Dict[str, Any] = {}
    exec(compile(block, "architecture.md", "exec"), space)
    env = GymnasiumWrapper("CartPole-v1")
    agent = space["Reinforce"]({"policy": default_models(env.getEnvInfo())["policy"]})
    check_agent(agent, env)
    trainer = SequentialTrainer(env, agent, TrainerConfig(timesteps=6000, seed=0, disable_progressbar=True))
    before = trainer.eval(episodes=10).return_mean
    trainer.train()
    assert trainer.eval(episodes=10).return_mean > 2.0 * before
