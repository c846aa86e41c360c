"""Every message that the troubleshooting page quotes is one that the library really gives."""

import re
from typing import Any, Callable, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from pages import DOCUMENTS, fenced_blocks
from torch import nn

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AquaMLError
from AquaML.learning.model import GaussianModel, ModelCfg, default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer

QUIET: Dict[str, Any] = {"disable_progressbar": True, "tensorboard": False, "learning_curve": False}


def pendulum(**options: Any) -> GymnasiumWrapper:
    return GymnasiumWrapper("Pendulum-v1", **options)


def ppo(**options: Any) -> PPO:
    return PPO(default_models(pendulum().getEnvInfo()), PPOCfg(**dict({"rollouts": 32}, **options)))


def train(agent: Any, env: Any, **options: Any) -> None:
    SequentialTrainer(env, agent, TrainerConfig(**dict(QUIET, timesteps=1, **options))).train()


class Policy(GaussianModel):
    """A policy with a mistake in it."""

    def __init__(self, compute: Callable[[Any], Any], **options: Any) -> None:
        super().__init__(ModelCfg(**options))
        self.net = nn.Linear(3, 1)
        self.function = compute

    def compute(self, data_dict: Any) -> Any:
        return self.function(data_dict)


def with_policy(compute: Callable[[Any], Any], **options: Any) -> None:
    models = dict(default_models(pendulum().getEnvInfo()), policy=Policy(compute, **options))
    train(PPO(models, PPOCfg(rollouts=32)), pendulum())


class Broken(gymnasium.Env):
    """An environment that observes something that is not a number."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return np.array([0.0, np.nan], dtype=np.float32), {}


def misspelt() -> None:
    PPOCfg(learning_rte=1e-3)


def out_of_range() -> None:
    ppo(discount_factor=1.5)


def frozen() -> None:
    cfg = PPOCfg()
    PPO(default_models(pendulum().getEnvInfo()), cfg)
    cfg.learning_rate = 1e-3


def minibatches() -> None:
    train(ppo(rollouts=2), pendulum())


def unknown_environment() -> None:
    GymnasiumWrapper("Pendulum-v7x")


def unsupported_space() -> None:
    class Talking(Broken):
        observation_space = gymnasium.spaces.Text(5)

    GymnasiumWrapper(Talking)


def not_finite() -> None:
    GymnasiumWrapper(Broken).reset()


def unwrapped() -> None:
    SequentialTrainer(gymnasium.make("Pendulum-v1"), ppo())  # type: ignore[arg-type]


def wrong_input() -> None:
    with_policy(lambda states: states, inputs_name=["sate"])


def no_log_std() -> None:
    with_policy(lambda states: torch.zeros(len(states["state"]), 1), inputs_name=["state"])


def one_dimension() -> None:
    models = default_models(pendulum().getEnvInfo())
    value = models["value"]
    value.compute = lambda states: torch.zeros(len(states))  # type: ignore[method-assign]
    train(PPO(models, PPOCfg(rollouts=32)), pendulum())


def gaussian_for_categories() -> None:
    train(ppo(), GymnasiumWrapper("CartPole-v1"))


def unregistered() -> None:
    class Mine(PPO):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.encoder = nn.Linear(3, 3)

    Mine(default_models(pendulum().getEnvInfo()), PPOCfg()).save("agent.aqua")


def other_number_of_environments() -> None:
    agent = ppo()
    train(agent, pendulum(num_envs=2))
    train(agent, pendulum(num_envs=4))


def missing_file() -> None:
    ppo().load("models/pendulm.pt")


def torch_file() -> None:
    torch.save({"policy": torch.zeros(1)}, "weights.pt")
    ppo().load("weights.pt")


def other_network() -> None:
    ppo().save("small.aqua")
    wide = default_models(pendulum().getEnvInfo(), hidden_sizes=(128, 128))
    PPO(wide, PPOCfg()).load("small.aqua")


def not_a_run() -> None:
    ppo().save("agent.aqua")
    train(ppo(), pendulum(), resume="agent.aqua")


def unknown_device() -> None:
    ppo(device="gpu")


def no_render_mode() -> None:
    env = pendulum()
    env.reset()
    env.render()


def made_environment() -> None:
    train(ppo(), GymnasiumWrapper(gymnasium.make("Pendulum-v1")), evaluation_interval=1)


def short_evaluation() -> None:
    SequentialTrainer(pendulum(), ppo(), TrainerConfig(**dict(QUIET, timesteps=50))).eval()


def nothing_to_resume() -> None:
    train(ppo(), pendulum(), resume=True)


def foreign_vector() -> None:
    for timesteps in (40, 80):
        vector = gymnasium.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync")
        cfg = TrainerConfig(**dict(QUIET, timesteps=timesteps, resume=True))
        SequentialTrainer(GymnasiumWrapper(vector), ppo(), cfg).train()


CASES: List[Callable[[], None]] = [
    misspelt,
    out_of_range,
    frozen,
    minibatches,
    unknown_environment,
    unsupported_space,
    not_finite,
    unwrapped,
    wrong_input,
    no_log_std,
    one_dimension,
    gaussian_for_categories,
    unregistered,
    other_number_of_environments,
    missing_file,
    torch_file,
    other_network,
    not_a_run,
    unknown_device,
    no_render_mode,
    made_environment,
    short_evaluation,
    nothing_to_resume,
    foreign_vector,
]


def said_by(mistake: Callable[[], None], lines: List[str]) -> List[str]:
    """Return what a mistake leads to: its error, or else the warnings in the log."""
    try:
        mistake()
    except AquaMLError as error:
        return ["{}: {}".format(type(error).__name__, error)]
    return [line for line in lines if line.startswith("WARNING")]


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case.__name__ for case in CASES])
def test_a_quoted_message_is_real(index: int, log_lines: List[str]) -> None:
    quoted = [block.text for block in fenced_blocks(DOCUMENTS / "troubleshooting.md") if block.language == "text"]
    assert len(quoted) == len(CASES)
    # An ellipsis stands for what differs from case to case.
    pattern = ".*".join(re.escape(part) for part in quoted[index].rstrip("\n").split("…"))
    said = said_by(CASES[index], log_lines)
    assert any(re.fullmatch(pattern, line, re.S) for line in said), said
