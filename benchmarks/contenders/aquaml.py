"""AquaML, as a user would run it: its own wrapper, agent and trainer, with what these write by default."""

from typing import Any, Dict

import AquaML
from AquaML.learning.model.ready_made import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from benchmarks.contenders.introduction import introduce
from benchmarks.gate import Gate
from benchmarks.rows import make_environment
from benchmarks.specification import Specification


def make_trainer(specification: Specification, env: Any) -> SequentialTrainer:
    """Return a trainer with a new agent."""
    models = default_models(
        env.getEnvInfo(), hidden_sizes=specification.hidden_sizes, activation=specification.activation
    )
    options: Dict[str, Any] = {"compile": True} if specification.compile else {}
    if specification.plain:
        options.update(observation_normalizer=False, value_normalizer=False, value_clip=None)
    cfg = PPOCfg(
        device="cpu",
        rollouts=specification.rollout,
        mini_batches=specification.mini_batches,
        learning_epochs=specification.epochs,
        learning_rate=specification.learning_rate,
        discount_factor=specification.discount,
        **options,
    )
    trainer_cfg = TrainerConfig(timesteps=specification.planned_vector_steps, seed=specification.seed)
    return SequentialTrainer(env, PPO(models, cfg), trainer_cfg)


def describe(specification: Specification, trainer: SequentialTrainer) -> Dict[str, Any]:
    """Return what the contender says of itself."""
    env, agent = trainer.env, trainer.agent
    (observation,) = env.observation_layout.specs.values()
    (action,) = env.action_layout.specs.values()
    settings = {
        "environment": "{} of '{}'".format(type(env).__name__, env.name),
        "backend": backend_name(env),
        "agent": agent.cfg.to_dict(),
        "trainer": {"class": type(trainer).__name__, "config": trainer.cfg.to_dict()},
    }
    parameters = [*agent.models["policy"].parameters(), *agent.models["value"].parameters()]
    return introduce(specification, settings, parameters, (observation.shape[0], action.shape[0]))


def backend_name(env: Any) -> str:
    """Return what steps the environments."""
    backend = getattr(env, "_backend", None)
    return "none" if backend is None else str(getattr(env, "vectorization", type(backend).__name__))


def run(specification: Specification, gate: Gate) -> None:
    """Train in units."""
    AquaML.seed_everything(specification.seed)
    env = make_environment(specification)
    trainer = make_trainer(specification, env)
    gate.introduction = describe(specification, trainer)
    gate.attach(env)
    trainer.train()
