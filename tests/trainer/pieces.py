"""Small agents and comparisons that the trainer's tests share."""

from typing import Any, Dict, List, Optional

import numpy as np
import torch

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from AquaML.stateful import collect_states


def make_trainer(
    env_id: str = "Pendulum-v1",
    num_envs: int = 3,
    agent: Dict[str, Any] = None,
    shared: bool = False,
    kind: Any = PPO,
    networks: Optional[Dict[str, Any]] = None,
    **trainer: Any,
) -> SequentialTrainer:
    """A seeded agent on a Gymnasium environment, quiet and small."""
    AquaML.seed_everything(1)
    env = GymnasiumWrapper(env_id, num_envs=num_envs)
    models = default_models(env.getEnvInfo(), hidden_sizes=(16,), shared=shared, **networks or {})
    options = dict(rollouts=16, mini_batches=2, device="cpu")
    options.update({name: 2 for name in ("learning_epochs", "value_epochs") if name in kind.config_class.field_names()})
    options.update(agent or {})
    settings = dict(timesteps=64, seed=5, disable_progressbar=True, tensorboard=False, checkpoint_interval=0)
    hooks = trainer.pop("hooks", ())
    evaluation_env = trainer.pop("evaluation_env", None)
    settings.update(trainer)
    made = kind(models, kind.config_class(**options))
    return SequentialTrainer(env, made, TrainerConfig(**settings), hooks=hooks, evaluation_env=evaluation_env)


def differences(first: Any, second: Any, place: str = "") -> List[str]:
    """Return where two states differ, bit for bit."""
    if isinstance(first, torch.Tensor):
        same = isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
        return [] if same else [place]
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [place + ".keys"]
        return [line for key in first for line in differences(first[key], second[key], "{}.{}".format(place, key))]
    if isinstance(first, (list, tuple)):
        if len(first) != len(second):
            return [place + ".len"]
        return [
            line for i, item in enumerate(first) for line in differences(item, second[i], "{}[{}]".format(place, i))
        ]
    if isinstance(first, np.ndarray):
        same = isinstance(second, np.ndarray) and first.dtype == second.dtype and np.array_equal(first, second)
        return [] if same else [place]
    return [] if first == second else [place]


def agent_state(agent: Agent) -> Dict[str, Any]:
    """Every part of an agent."""
    return collect_states(agent.parts)


class StopAt(Hook):
    """Ends training after a number of vector steps."""

    def __init__(self, timestep: int) -> None:
        self.timestep = timestep

    def on_step(self, trainer: Any) -> None:
        if trainer.timestep == self.timestep:
            trainer.stop("asked to")


class Count(Hook):
    """Has a state."""

    def __init__(self) -> None:
        self.steps = 0

    def on_step(self, trainer: Any) -> None:
        self.steps += 1

    def state_dict(self) -> Dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.steps = state["steps"]
