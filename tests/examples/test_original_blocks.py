"""Every code block of the original description runs as it stands; only what a fragment leaves open is filled in."""

import re
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
import torch
from torch import nn

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError, DeviceError
from AquaML.learning.model import Model, default_models
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer

TEXT = (Path(__file__).parent / "original_blocks.md").read_text(encoding="utf-8")
PYTHON: List[str] = re.findall(r"```python\n(.*?)```", TEXT, re.S)
SHELL: List[str] = re.findall(r"```bash\n(.*?)```", TEXT, re.S)
REPOSITORY = Path(__file__).resolve().parents[2]

Space = Dict[str, Any]


def pendulum(space: Space) -> None:
    """Fill in an environment, models, an agent and a trainer."""
    space["env"] = GymnasiumWrapper("Pendulum-v1")
    space["models"] = default_models(space["env"].getEnvInfo())
    space["agent"] = PPO(space["models"], PPOCfg(device="cpu"))
    space["trainer"] = SequentialTrainer(
        space["env"], space["agent"], TrainerConfig(timesteps=64, disable_progressbar=True)
    )
    space.update(TrainerConfig=TrainerConfig, SequentialTrainer=SequentialTrainer, ModelCfg=ModelCfg)


def nothing(space: Space) -> None:
    """Check nothing more than that the block ran."""


def quick_start(space: Space) -> None:
    assert space["trainer"].get_status()["state"] == "finished"
    assert space["trainer"].timestep == 10_000


def full_example(space: Space) -> None:
    space["main"]()
    assert Path("trained_model.pt").is_file()
    agent = PPO(
        {"policy": space["PendulumPolicy"](ModelCfg()), "value": space["PendulumValue"](ModelCfg())},
        PPOCfg(device="cpu"),
    )
    agent.load("trained_model.pt")
    assert agent.predict(np.zeros(3, np.float32)).shape == (1,)


def my_policy(space: Space) -> None:
    policy = space["MyPolicy"](ModelCfg())
    space.update(mean=torch.zeros(5, 1), log_std=torch.zeros(5, 1))
    outputs = policy.act({"state": torch.zeros(5, 3)})
    assert outputs["actions"].shape == (5, 1) and outputs["log_prob"].shape == (5, 1)


def ppo_cfg(space: Space) -> None:
    cfg = space["ppo_cfg"]
    assert (cfg.learning_rate, cfg.rollouts, cfg.memory_size) == (3e-4, 32, 2048)
    env = GymnasiumWrapper("Pendulum-v1")
    agent = PPO(default_models(env.getEnvInfo()), cfg)
    SequentialTrainer(env, agent, TrainerConfig(timesteps=65, disable_progressbar=True)).train()
    assert agent.memory.capacity == 64


def custom_agent(space: Space) -> None:
    agent = space["MyCustomAgent"]()
    assert isinstance(agent, Agent)
    trainer = SequentialTrainer(GymnasiumWrapper("Pendulum-v1"), agent, TrainerConfig(timesteps=3))
    with pytest.raises(AgentError, match="MyCustomAgent.act gave NoneType"):
        trainer.train()


def environment_and_status(space: Space) -> None:
    assert space["env_info"]["observation_cfg"]["state"]["shape"] == (3,)
    assert space["env_info"]["action_cfg"]["action"]["high"].tolist() == [2.0]
    assert space["status"]["state"] == "new"


def devices(space: Space) -> None:
    assert space["model_cfg"].device == "cuda"
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="'cuda' was asked for"):
            Model(space["model_cfg"])


def any_observation(space: Space) -> None:
    class Value(Model):
        compute = space["compute"]

        def __init__(self) -> None:
            super().__init__(ModelCfg())
            self.net = nn.Linear(3, 1)

    for name in ("state", "observation", "other"):
        assert Value().act({name: torch.zeros(4, 3)})["values"].shape == (4, 1)


def custom_trainer(space: Space) -> None:
    trainer = space["MyTrainer"](space["env"], space["agent"], TrainerConfig(timesteps=40, disable_progressbar=True))
    trainer.train()
    assert trainer.timestep == 40


def saved(space: Space) -> None:
    assert Path("models/my_model.pt").is_file()


CHECKS: List[Callable[[Space], None]] = [
    quick_start,
    full_example,
    nothing,
    my_policy,
    nothing,
    ppo_cfg,
    saved,
    nothing,
    custom_agent,
    environment_and_status,
    devices,
    any_observation,
    custom_trainer,
]


@pytest.mark.parametrize("index", range(len(PYTHON)))
def test_python_block(index: int) -> None:
    assert len(PYTHON) == len(CHECKS)
    space: Space = {"__name__": "block"}
    pendulum(space)
    exec(compile(PYTHON[index], "block {}".format(index), "exec"), space)
    CHECKS[index](space)


def test_the_examples_that_the_shell_blocks_run_exist() -> None:
    named = {name for block in SHELL for name in re.findall(r"python (examples/\w+\.py)", block)}
    assert named == {"examples/ppo_pendulum_example.py", "examples/model_saving_example.py"}
    for name in sorted(named) + ["examples/simple_ppo_pendulum.py"]:
        assert (REPOSITORY / name).is_file()
