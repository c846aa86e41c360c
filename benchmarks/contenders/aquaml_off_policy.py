"""AquaML's SAC and TD3, as a user would run them."""

from typing import Any, Dict

import AquaML
from AquaML.learning.model import default_actor_critic
from AquaML.learning.reinforcement.off_policy import SAC, TD3
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from benchmarks.contenders.aquaml import backend_name
from benchmarks.contenders.introduction import introduce
from benchmarks.gate import Gate
from benchmarks.rows import make_environment
from benchmarks.specification import Specification

_AGENTS: Dict[str, Any] = {"SAC": (SAC, "squashed"), "TD3": (TD3, "deterministic")}


def run(specification: Specification, gate: Gate) -> None:
    """Train in units."""
    AquaML.seed_everything(specification.seed)
    env = make_environment(specification)
    kind, policy = _AGENTS[specification.algorithm]
    models = default_actor_critic(
        env.getEnvInfo(), policy, specification.hidden_sizes, activation=specification.activation
    )
    cfg = kind.config_class(
        device="cpu",
        batch_size=specification.minibatch_size,
        learning_rate=specification.learning_rate,
        discount_factor=specification.discount,
        random_timesteps=specification.warm_up,
        learning_starts=specification.warm_up,
    )
    agent = kind(models, cfg)
    trainer_cfg = TrainerConfig(timesteps=specification.planned_vector_steps, seed=specification.seed)
    trainer = SequentialTrainer(env, agent, trainer_cfg)
    settings = {
        "environment": "{} of '{}'".format(type(env).__name__, env.name),
        "backend": backend_name(env),
        "agent": agent.cfg.to_dict(),
        "trainer": {"class": type(trainer).__name__, "config": trainer.cfg.to_dict()},
    }
    (observation,), (action,) = env.observation_layout.specs.values(), env.action_layout.specs.values()
    parameters = [*agent.policy.parameters(), *agent.critic.parameters()]
    gate.introduction = introduce(specification, settings, parameters, (observation.shape[0], action.shape[0]))
    gate.attach(env)
    trainer.train()
