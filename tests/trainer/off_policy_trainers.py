"""Small off-policy agents that the tests of resuming share."""

from typing import Any, Dict, NamedTuple

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_actor_critic, default_q_network
from AquaML.learning.reinforcement.off_policy import DDPG, DQN, SAC, TD3, FastSAC
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig


class Setting(NamedTuple):
    """An agent with what it learns on and by.

    Attributes:
        kind: The agent's class.
        networks: Arguments of the ready-made networks; None: a Q-network.
        options: Fields of the agent's configuration.
    """

    kind: Any
    networks: Any
    options: Dict[str, Any] = {}


DETERMINISTIC = {"policy": "deterministic"}
SETTINGS: Dict[str, Setting] = {
    "SAC": Setting(SAC, {}),
    "TD3": Setting(TD3, DETERMINISTIC),
    "DDPG": Setting(DDPG, DETERMINISTIC),
    "DDPG, correlated noise": Setting(DDPG, DETERMINISTIC, {"noise_correlation": 0.9, "final_exploration_noise": 0.5}),
    "DQN": Setting(DQN, None, {"target_interval": 7}),
    "FastSAC": Setting(FastSAC, {"atoms": 11, "layer_norm": True}, {"atoms": 11}),
}
EXTRAS: Dict[str, Dict[str, Any]] = {
    "plain": {},
    "prioritized": {"prioritized": True, "n_steps": 3},
}


def make_off_policy(
    name: str = "SAC",
    extra: str = "plain",
    num_envs: int = 3,
    agent: Any = None,
    hooks: Any = (),
    coordinator: Any = None,
    env: Any = None,
    **trainer: Any,
) -> SequentialTrainer:
    """A seeded agent whose memory of 20 vector steps is overwritten several times; quiet and small."""
    setting = SETTINGS[name]
    AquaML.seed_everything(1)
    env_id, limit = ("CartPole-v1", None) if setting.networks is None else ("Pendulum-v1", 30)
    if env is None:
        env = GymnasiumWrapper(env_id, num_envs=num_envs, **({"max_episode_steps": limit} if limit else {}))
    options: Dict[str, Any] = {"memory_size": 20 * num_envs, "batch_size": 8, "random_timesteps": 4}
    options.update(learning_starts=8, learning_rate=1e-3, device="cpu")
    options.update(setting.options, **EXTRAS[extra])
    options.update(agent or {})
    info = env.getEnvInfo()
    if setting.networks is None:
        models = default_q_network(info, hidden_sizes=(16,))
    else:
        models = default_actor_critic(info, hidden_sizes=(16,), **setting.networks)
    settings = dict(timesteps=64, seed=5, disable_progressbar=True, tensorboard=False, checkpoint_interval=0)
    settings.update(log_interval=10, learning_curve=False)
    settings.update(trainer)
    made = setting.kind(models, setting.kind.config_class(**options))
    return SequentialTrainer(env, made, TrainerConfig(**settings), hooks=hooks, coordinator=coordinator)
