"""What people do wrong with agents that learn from a memory gives one clear, typed error before the second step."""

from typing import Any, Callable, Dict, NamedTuple, Tuple, Type

import gymnasium
import numpy as np
import pytest
import torch
from makers import STEPS, Counted, environment, train

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError, AquaMLError, ConfigError, ModelError, StorageError
from AquaML.learning.model import ModelCfg, default_actor_critic, default_models, default_q_network
from AquaML.learning.model.deterministic import DeterministicModel
from AquaML.learning.reinforcement.off_policy import (
    DDPG,
    DQN,
    SAC,
    TD3,
    DDPGCfg,
    DQNCfg,
    FastSAC,
    FastSACCfg,
    SACCfg,
    TD3Cfg,
)

spaces = gymnasium.spaces
UNBOUNDED = spaces.Box(-np.inf, np.inf, (1,), np.float32)
TWO = spaces.Dict({"move": spaces.Box(-1.0, 1.0, (2,), np.float32), "grip": spaces.Box(-1.0, 1.0, (1,), np.float32)})


def networks(policy: str = "squashed", **options: Any) -> Dict[str, Any]:
    return default_actor_critic(environment().getEnvInfo(), policy, hidden_sizes=(4,), **options)


def sac(**options: Any) -> SAC:
    return SAC(networks(), SACCfg(**dict({"memory_size": 100}, **options)))


def q_agent(categories: int = 3) -> DQN:
    info = environment(actions=spaces.Discrete(categories)).getEnvInfo()
    return DQN(default_q_network(info, hidden_sizes=(4,)), DQNCfg(memory_size=100))


def with_models(kind: Any, cfg: Any, **models: Any) -> None:
    kind(models, cfg)


def without_critic() -> None:
    models = networks()
    del models["critic"]
    SAC(models, SACCfg())


def other_number_of_environments() -> None:
    agent = sac()
    train(agent, timesteps=1)
    STEPS.clear()
    train(agent, GymnasiumWrapper(Counted, num_envs=2))


def acts_unprepared() -> None:
    sac().act({"state": torch.zeros(1, 3)}, 0, 1)


class Constant(DeterministicModel):
    """Nothing to learn."""

    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"]))

    def compute(self, data_dict: Any) -> torch.Tensor:
        return torch.zeros(len(data_dict["state"]), 1)


class Mistake(NamedTuple):
    """A mistake, the error that it gives, and words of its message."""

    make: Callable[[], Any]
    kind: Type[AquaMLError]
    words: Tuple[str, ...]


MISTAKES: Dict[str, Mistake] = {
    "a Gaussian without bounds": Mistake(
        lambda: with_models(
            SAC, SACCfg(), policy=default_models(environment().getEnvInfo())["policy"], critic=networks()["critic"]
        ),
        AgentError,
        ("SAC", "expected a SquashedGaussianModel"),
    ),
    "a distribution for TD3": Mistake(
        lambda: TD3(networks(), TD3Cfg()), AgentError, ("TD3", "a distribution; expected a DeterministicModel")
    ),
    "a policy without chance for SAC": Mistake(
        lambda: SAC(networks("deterministic"), SACCfg()), AgentError, ("expected a SquashedGaussianModel",)
    ),
    "no critic": Mistake(without_critic, AgentError, ("critic",)),
    "a module for a critic": Mistake(
        lambda: SAC(dict(networks(), critic=torch.nn.Linear(4, 1)), SACCfg()),
        AgentError,
        ("'critic' is a Linear", "expected a Model"),
    ),
    "nothing to learn": Mistake(
        lambda: DDPG(dict(networks("deterministic"), policy=Constant()), DDPGCfg()),
        AgentError,
        ("'policy' has no parameter to learn",),
    ),
    "categories for SAC": Mistake(
        lambda: train(sac(), environment(actions=spaces.Discrete(3))), AquaMLError, ("action", "Discrete")
    ),
    "no bounds for SAC": Mistake(lambda: train(sac(), environment(actions=UNBOUNDED)), AquaMLError, ("bounds",)),
    "a Box for DQN": Mistake(lambda: train(q_agent()), AgentError, ("DQN learns one Discrete action",)),
    "other categories": Mistake(
        lambda: train(q_agent(2), environment(actions=spaces.Discrete(3))), ModelError, ("values", "3")
    ),
    "networks for a Box": Mistake(
        lambda: default_q_network(environment().getEnvInfo()), ModelError, ("one Discrete action",)
    ),
    "networks for categories": Mistake(
        lambda: default_actor_critic(environment(actions=spaces.Discrete(3)).getEnvInfo()), ModelError, ("action",)
    ),
    "a policy's name": Mistake(lambda: networks("squash"), ModelError, ("Did you mean 'squashed'?",)),
    "no critics": Mistake(lambda: networks(critics=0), ModelError, ("critics is 0; expected at least 1",)),
    "one deterministic policy for two actions": Mistake(
        lambda: default_actor_critic(environment(actions=TWO).getEnvInfo(), "deterministic"),
        ModelError,
        ("is for one action", "'move'"),
    ),
    "values for FastSAC": Mistake(
        lambda: train(FastSAC(networks(), FastSACCfg(memory_size=100))), ModelError, ("logits",)
    ),
    "other atoms": Mistake(
        lambda: train(FastSAC(networks(atoms=11), FastSACCfg(memory_size=100, atoms=7))), ModelError, ("logits", "7")
    ),
    "a memory smaller than its steps": Mistake(
        lambda: sac(memory_size=2, n_steps=3), ConfigError, ("SACCfg.memory_size is 2", "at least n_steps = 3")
    ),
    "a memory that no machine holds": Mistake(
        lambda: train(sac(memory_size=10**14)), StorageError, ("SACCfg.memory_size is 1", "lower it")
    ),
    "a folder that is not there": Mistake(
        lambda: train(sac(memory_directory="nowhere")), StorageError, ("no folder 'nowhere'", "make it first")
    ),
    "a schedule by divergence": Mistake(
        lambda: sac(learning_rate_scheduler="KLAdaptiveLR"), ConfigError, ("measures no divergence",)
    ),
    "arguments without a scheduler": Mistake(
        lambda: sac(learning_rate_scheduler_kwargs={"gamma": 0.5}), ConfigError, ("learning_rate_scheduler is None",)
    ),
    "a target for a fixed temperature": Mistake(
        lambda: sac(learn_temperature=False, target_entropy=-2.0), ConfigError, ("SACCfg.target_entropy is -2.0",)
    ),
    "an exponent out of range": Mistake(
        lambda: sac(priority_exponent=1.5), ConfigError, ("SACCfg.priority_exponent is 1.5",)
    ),
    "no smoothing": Mistake(lambda: sac(target_smoothing=0.0), ConfigError, ("SACCfg.target_smoothing is 0.0",)),
    "an on-policy field": Mistake(lambda: SACCfg(rollouts=8), ConfigError, ("rollouts",)),
    "another number of environments": Mistake(
        other_number_of_environments, AgentError, ("trains with 1 environments and cannot go on with 2",)
    ),
    "acting without an environment": Mistake(
        acts_unprepared, AgentError, ("does not know the environment yet; call setup(env.getEnvInfo())",)
    ),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistake(name: str) -> None:
    STEPS.clear()
    mistake = MISTAKES[name]
    with pytest.raises(mistake.kind) as caught:
        mistake.make()
    for words in mistake.words:
        assert words in str(caught.value)
    assert len(STEPS) < 2
