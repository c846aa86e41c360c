"""From an environment and one configuration to a trainer."""

from typing import Any, Optional, Sequence

from AquaML.coordinator.coordinator import Coordinator
from AquaML.coordinator.random_state import seed_everything
from AquaML.environment.base import EnvironmentWrapper
from AquaML.learning.model.ready_made import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.trainers.experiment_cfg import ExperimentCfg
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer


def make_trainer(
    env: EnvironmentWrapper,
    experiment: Any = None,
    hooks: Sequence[Hook] = (),
    coordinator: Optional[Coordinator] = None,
) -> SequentialTrainer:
    """Make networks, agent and trainer for an environment.

    Args:
        env: The wrapped environment.
        experiment: Anything that :meth:`ExperimentCfg.of` takes; None: the defaults.
        hooks: Hooks of the trainer.
        coordinator: The trainer's coordinator; None: the default one.

    Returns:
        A trainer; ``trainer.agent`` is its agent.

    Raises:
        ConfigError: The configuration is wrong.
        ModelError: A network cannot be made for this environment.
    """
    cfg = ExperimentCfg() if experiment is None else ExperimentCfg.of(experiment)
    cfg.validate()
    if cfg.trainer.seed is not None:
        seed_everything(cfg.trainer.seed)
    networks = {name: getattr(cfg.networks, name) for name in cfg.networks.field_names()}
    agent = PPO(default_models(env.getEnvInfo(), **networks), cfg.agent)
    return SequentialTrainer(env, agent, cfg.trainer, hooks=hooks, coordinator=coordinator)
