"""Parts to make mistakes with, and mistakes of several steps."""

from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Type

import gymnasium
import numpy as np
import torch
from torch import nn

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import (
    AquaMLError,
)
from AquaML.learning.model import (
    GaussianModel,
    Model,
    ModelCfg,
    default_models,
)
from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

STEPS: List[int] = []


class Counted(gymnasium.Env):
    """An environment with chosen spaces that counts its steps."""

    def __init__(
        self, observations: Any = None, actions: Any = None, observe: Optional[Callable[[], Any]] = None
    ) -> None:
        self.observation_space = observations or gymnasium.spaces.Box(-9.0, 9.0, (3,), np.float32)
        self.action_space = actions or gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observe = observe or (lambda: np.zeros(3, np.float32))

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        STEPS.append(1)
        return self.observe(), 0.0, False, False, {}


class GivenCompute:
    """A model whose compute is given, right or wrong."""

    def __init__(self, compute: Callable[[Any], Any], cfg: Optional[ModelCfg] = None) -> None:
        super().__init__(cfg or ModelCfg())  # type: ignore[call-arg]
        self.net = nn.Linear(3, 1)
        self.function = compute

    def compute(self, data_dict: Any) -> Any:
        return self.function(data_dict)


class Policy(GivenCompute, GaussianModel):
    """A Gaussian policy with a given compute."""


class Value(GivenCompute, Model):
    """A value function with a given compute."""


class Idle(Agent):
    """A custom agent whose act is given."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__()
        self.function = act

    def act(self, states: Any, timestep: int, timesteps: int) -> Any:
        return self.function()

    def record_transition(self, *arguments: Any, **named: Any) -> None:
        pass

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        pass


def environment(**parts: Any) -> GymnasiumWrapper:
    return GymnasiumWrapper(lambda: Counted(**parts))


def good_models() -> Dict[str, Any]:
    return default_models(environment().getEnvInfo(), hidden_sizes=(4,))


def train(agent: Any, env: Optional[GymnasiumWrapper] = None, **settings: Any) -> None:
    cfg = TrainerConfig(**dict({"timesteps": 50, "disable_progressbar": True, "tensorboard": False}, **settings))
    SequentialTrainer(env or environment(), agent, cfg).train()


def ppo(**settings: Any) -> PPO:
    return PPO(good_models(), PPOCfg(**dict({"device": "cpu", "rollouts": 4, "mini_batches": 1}, **settings)))


def with_policy(compute: Callable[[Any], Any], cfg: Optional[ModelCfg] = None) -> None:
    train(PPO(dict(good_models(), policy=Policy(compute, cfg)), PPOCfg(rollouts=4, mini_batches=1)))


def with_value(compute: Callable[[Any], Any], cfg: Optional[ModelCfg] = None) -> None:
    train(PPO(dict(good_models(), value=Value(compute, cfg)), PPOCfg(rollouts=4, mini_batches=1)))


def mean(states: Any) -> torch.Tensor:
    return torch.zeros(len(states["state"]), 1)


class Case(NamedTuple):
    """A mistake, and what must be said of it."""

    area: str
    mistake: Callable[[], Any]
    kind: Type[AquaMLError]
    builtin: type
    words: str


def frozen() -> None:
    cfg = PPOCfg(rollouts=4)
    PPO(good_models(), cfg)
    cfg.rollouts = 8


def assigned() -> None:
    PPOCfg().learning_rte = 1e-3  # type: ignore[attr-defined]


def saved_agent() -> Path:
    ppo().save("agent.aqua")
    return Path("agent.aqua")


def truncated_file() -> None:
    path = saved_agent()
    path.write_bytes(path.read_bytes()[:-300])
    ppo().load(path)


def other_architecture() -> None:
    saved_agent()
    wide = default_models(environment().getEnvInfo(), hidden_sizes=(5,))
    PPO(wide, PPOCfg()).load("agent.aqua")


def other_algorithm() -> None:
    saved_agent()
    Idle(lambda: None).load("agent.aqua")


def torch_file() -> None:
    torch.save({"policy": 1}, "weights.pt")
    ppo().load("weights.pt")


def only_unknown() -> None:
    saved_agent()
    ppo().load("agent.aqua", only=["polcy"])


def unregistered() -> None:
    agent = ppo()
    agent.extra = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    agent.save("x.aqua")


def other_spaces() -> None:
    agent = ppo()
    train(agent, timesteps=1)
    STEPS.clear()
    wide = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
    train(agent, environment(observations=wide, observe=lambda: np.zeros(4, np.float32)))


def stepped(actions: Any, action_space: Any = None) -> None:
    env = environment(actions=action_space)
    env.reset()
    env.step(actions)


def closed() -> None:
    env = environment()
    env.close()
    env.reset()


def named_space(**spaces: Any) -> gymnasium.spaces.Dict:
    return gymnasium.spaces.Dict(spaces)


def own_state() -> None:
    class Mine(SequentialTrainer):
        def begin(self) -> None:
            self.net = nn.Linear(1, 1)
            super().begin()

    Mine(environment(), ppo(), TrainerConfig()).train()


def second_number_of_environments() -> None:
    agent = ppo()
    train(agent, timesteps=1)
    STEPS.clear()
    train(agent, GymnasiumWrapper(Counted, num_envs=2))


def shared_with_value_rate() -> None:
    models = default_models(environment().getEnvInfo(), shared=True)
    PPO(models, PPOCfg(value_learning_rate=1e-3))
