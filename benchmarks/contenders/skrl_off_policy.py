"""skrl's SAC and TD3 by its own sequential trainer, on a Gymnasium environment; models as in its examples."""

from typing import Any, Dict, Tuple

import gymnasium
import torch
from skrl.agents.torch.sac import SAC, SAC_CFG
from skrl.agents.torch.td3 import TD3, TD3_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.resources.noises.torch import GaussianNoise
from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg
from skrl.utils import set_seed

from benchmarks.contenders.introduction import introduce
from benchmarks.contenders.networks import layers
from benchmarks.gate import Gate
from benchmarks.specification import Specification


class StochasticActor(GaussianMixin, Model):
    """A Gaussian whose deviation depends on the observation; skrl clips its actions."""

    def __init__(self, specification: Specification, spaces: Tuple[Any, Any]) -> None:
        Model.__init__(self, observation_space=spaces[0], action_space=spaces[1], device="cpu")
        GaussianMixin.__init__(self, clip_actions=True)
        self.net = layers(specification, self.num_observations, 2 * self.num_actions)

    def compute(self, inputs: Dict[str, Any], role: str) -> Tuple[torch.Tensor, Dict[str, Any]]:
        """Return mean actions and the logarithm of the standard deviation."""
        mean, log_std = self.net(inputs["observations"]).chunk(2, dim=-1)
        return torch.tanh(mean), {"log_std": log_std}


class DeterministicActor(DeterministicMixin, Model):
    """A policy without chance."""

    def __init__(self, specification: Specification, spaces: Tuple[Any, Any]) -> None:
        Model.__init__(self, observation_space=spaces[0], action_space=spaces[1], device="cpu")
        DeterministicMixin.__init__(self)
        self.net = layers(specification, self.num_observations, self.num_actions)

    def compute(self, inputs: Dict[str, Any], role: str) -> Tuple[torch.Tensor, Dict[str, Any]]:
        """Return actions."""
        return torch.tanh(self.net(inputs["observations"])), {}


class Critic(DeterministicMixin, Model):
    """A critic of observations and actions."""

    def __init__(self, specification: Specification, spaces: Tuple[Any, Any]) -> None:
        Model.__init__(self, observation_space=spaces[0], action_space=spaces[1], device="cpu")
        DeterministicMixin.__init__(self)
        self.net = layers(specification, self.num_observations + self.num_actions, 1)

    def compute(self, inputs: Dict[str, Any], role: str) -> Tuple[torch.Tensor, Dict[str, Any]]:
        """Return values."""
        return self.net(torch.cat([inputs["observations"], inputs["taken_actions"]], dim=1)), {}


def run(specification: Specification, gate: Gate) -> None:
    """Train in units."""
    set_seed(specification.seed)
    env = wrap_env(gymnasium.make(specification.task), wrapper="gymnasium")
    gate.attach(env)
    spaces = (env.observation_space, env.action_space)
    is_sac = specification.algorithm == "SAC"
    actor = StochasticActor if is_sac else DeterministicActor
    models: Dict[str, Any] = {"policy": actor(specification, spaces)}
    if not is_sac:
        models["target_policy"] = actor(specification, spaces)
    for name in ("critic_1", "critic_2", "target_critic_1", "target_critic_2"):
        models[name] = Critic(specification, spaces)
    chosen: Dict[str, Any] = {
        "batch_size": specification.minibatch_size,
        "learning_rate": specification.learning_rate,
        "discount_factor": specification.discount,
        "random_timesteps": specification.warm_up,
        "learning_starts": specification.warm_up,
    }
    if not is_sac:
        chosen.update(
            exploration_noise=GaussianNoise,
            exploration_noise_kwargs={"mean": 0.0, "std": 0.1, "device": "cpu"},
            smooth_regularization_noise=GaussianNoise,
            smooth_regularization_noise_kwargs={"mean": 0.0, "std": 0.2, "device": "cpu"},
        )
    kind, cfg = (SAC, SAC_CFG) if is_sac else (TD3, TD3_CFG)
    # With replacement, as everybody else: without it a permutation of the whole memory is drawn in every step.
    memory = RandomMemory(memory_size=100_000, num_envs=env.num_envs, device="cpu", replacement=True)
    agent = kind(
        models=models,
        memory=memory,
        cfg=cfg(**chosen),
        observation_space=spaces[0],
        action_space=spaces[1],
        device="cpu",
    )
    trainer = SequentialTrainer(
        cfg=SequentialTrainerCfg(timesteps=specification.planned_vector_steps, headless=True), env=env, agents=agent
    )
    settings = dict(vars(agent.cfg), memory="RandomMemory of 100,000, with replacement", trainer=vars(trainer.cfg))
    parameters = [item for name in ("policy", "critic_1", "critic_2") for item in models[name].parameters()]
    sizes = (models["policy"].num_observations, models["policy"].num_actions)
    gate.introduction = introduce(specification, settings, parameters, sizes)
    trainer.train()
