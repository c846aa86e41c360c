"""Tiny linear networks for off-policy agents, and environments for them."""

from typing import Any, Dict, List, Sequence

import gymnasium
import numpy as np
import torch
from scripted import ScriptedEnv, SpaceEnv

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import DeterministicModel, Model, ModelCfg, SquashedGaussianModel
from AquaML.learning.reinforcement.off_policy import DDPG, DQN, SAC, TD3
from AquaML.learning.reinforcement.off_policy.transitions import Transitions


class DiscreteScriptedEnv(ScriptedEnv):
    """Plays given episodes; its three actions are called 5, 6 and 7."""

    action_space = gymnasium.spaces.Discrete(3, start=5)

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        return super().step(action)


class LinearPolicy(DeterministicModel):
    """An action in its own units: weight * state."""

    def __init__(self, weight: float = 0.25) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def compute(self, data_dict: torch.Tensor) -> torch.Tensor:
        return self.weight * data_dict[:, :1]


class LinearSquashed(SquashedGaussianModel):
    """A squashed Gaussian: the mean of u is weight * state."""

    def __init__(self, weight: float = 0.25, log_std: float = -0.5) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.weight = torch.nn.Parameter(torch.tensor(weight))
        self.log_std_parameter = torch.nn.Parameter(torch.tensor([log_std]))

    def compute(self, data_dict: torch.Tensor) -> Dict[str, torch.Tensor]:
        return {"mean_actions": self.weight * data_dict[:, :1], "log_std": self.log_std_parameter}


class LinearCritic(Model):
    """Values ``state * s + action * a + bias`` by critic, of the action as a place in its range.

    Args:
        weights: ``[s, a, bias]`` of each critic.
    """

    def __init__(self, weights: Sequence[Sequence[float]]) -> None:
        super().__init__(ModelCfg(inputs_name=["state", "action"], concat_dict=True))
        self.weights = torch.nn.Parameter(torch.tensor(weights))

    def compute(self, data_dict: torch.Tensor) -> torch.Tensor:
        inputs = torch.cat([data_dict[:, :1], data_dict[:, -1:], torch.ones(len(data_dict), 1)], dim=1)
        return inputs @ self.weights.T


class LinearQ(Model):
    """Values of all actions: slope * state + bias by action.

    Args:
        weights: ``[slope, bias]`` of each action.
    """

    def __init__(self, weights: Sequence[Sequence[float]]) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.weights = torch.nn.Parameter(torch.tensor(weights))

    def compute(self, data_dict: torch.Tensor) -> torch.Tensor:
        inputs = torch.cat([data_dict[:, :1], torch.ones(len(data_dict), 1)], dim=1)
        return inputs @ self.weights.T


CRITICS = [[1.0, 2.0, 0.0], [3.0, -1.0, 1.0]]
Q_VALUES = [[1.0, 0.0], [-1.0, 4.0], [0.5, 0.5]]


def linear_models(kind: Any) -> Dict[str, Model]:
    """Return the models that an agent of this kind needs."""
    if issubclass(kind, DQN):
        return {"q_network": LinearQ(Q_VALUES)}
    return {"policy": LinearSquashed() if issubclass(kind, SAC) else LinearPolicy(), "critic": LinearCritic(CRITICS)}


def linear_agent(kind: Any, **options: Any) -> Any:
    """Return an agent of linear networks that learns from single rows, without normaliser or random steps."""
    settings: Dict[str, Any] = dict(
        device="cpu", observation_normalizer=False, random_timesteps=0, learning_starts=0, batch_size=4, memory_size=64
    )
    if issubclass(kind, DDPG):
        settings["exploration_noise"] = settings["final_exploration_noise"] = 0.0
    settings.update(options)
    return kind(linear_models(kind), kind.config_class(**settings))


def space_env(kind: Any, num_envs: int = 2) -> GymnasiumWrapper:
    """Return environments of one number as observation; actions are in -2 … 2, or 0, 1 and 2."""
    actions = gymnasium.spaces.Discrete(3) if issubclass(kind, DQN) else gymnasium.spaces.Box(-2.0, 2.0, (1,))
    return GymnasiumWrapper(lambda: SpaceEnv(gymnasium.spaces.Box(-1.0, 1.0, (1,)), actions), num_envs=num_envs)


def bound_agent(kind: Any, **options: Any) -> Any:
    """Return a linear agent that knows :func:`space_env`."""
    agent = linear_agent(kind, **options)
    agent.setup(space_env(kind).getEnvInfo())
    agent.prepare_training()
    return agent


def batch_of(
    states: List[float],
    actions: List[float],
    rewards: List[float],
    next_states: List[float],
    discounts: List[float],
    weights: Any = None,
) -> Transitions:
    """Return transitions of one number each."""

    def column(numbers: List[float]) -> torch.Tensor:
        return torch.tensor(numbers).reshape(-1, 1)

    return Transitions(
        states={"state": column(states)},
        actions={"action": column(actions)},
        rewards=column(rewards),
        next_states={"state": column(next_states)},
        discounts=column(discounts),
        weights=None if weights is None else column(weights),
        places=torch.arange(len(states)),
    )


def squashed_log_prob(mean: torch.Tensor, std: torch.Tensor, actions: torch.Tensor, half_width: float) -> torch.Tensor:
    """Return torch's own log-density of actions in ``-half_width … half_width``, in float64."""
    transforms = [
        torch.distributions.TanhTransform(),
        torch.distributions.AffineTransform(0.0, half_width),
    ]
    normal = torch.distributions.Normal(mean.double(), std.double())
    return torch.distributions.TransformedDistribution(normal, transforms).log_prob(actions.double())


KINDS = {"ddpg": DDPG, "td3": TD3, "sac": SAC, "dqn": DQN}


def seen(memory: Any, name: str) -> np.ndarray:
    """Return a key of all stored transitions, environment by environment, oldest first."""
    places = memory.following(torch.arange(memory.transitions), memory.cursor - memory.size)
    values = memory.read(name, places)
    return values.reshape((memory.size, memory.num_envs) + tuple(values.shape[1:])).transpose(0, 1).numpy()
