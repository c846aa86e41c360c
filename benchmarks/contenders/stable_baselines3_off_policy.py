"""stable-baselines3's SAC and TD3 by its own ``learn``, on its own vector environment."""

from typing import Any, Dict

import numpy as np
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise

from benchmarks.contenders.introduction import introduce
from benchmarks.contenders.networks import ACTIVATIONS
from benchmarks.gate import Gate
from benchmarks.specification import Specification


def run(specification: Specification, gate: Gate) -> None:
    """Train in units."""
    env = make_vec_env(specification.task, n_envs=specification.num_envs, seed=specification.seed)
    gate.attach(env)
    chosen: Dict[str, Any] = {
        "batch_size": specification.minibatch_size,
        "learning_rate": specification.learning_rate,
        "gamma": specification.discount,
        "learning_starts": specification.warm_up,
        "train_freq": 1,
        "gradient_steps": 1,
        "policy_kwargs": {
            "net_arch": list(specification.hidden_sizes),
            "activation_fn": ACTIVATIONS[specification.activation],
        },
        "seed": specification.seed,
        "device": "cpu",
    }
    size = env.action_space.shape[0]
    if specification.algorithm == "TD3":
        chosen["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, 0.1))
    kind = {"SAC": SAC, "TD3": TD3}[specification.algorithm]
    model = kind("MlpPolicy", env, **chosen)
    settings = dict(chosen, environment="make_vec_env: DummyVecEnv with Monitor", observations="not normalised")
    settings.update(buffer_size=model.buffer_size, tau=model.tau)
    parameters = [*model.actor.parameters(), *model.critic.parameters()]
    gate.introduction = introduce(specification, settings, parameters, (env.observation_space.shape[0], size))
    model.learn(total_timesteps=specification.planned_vector_steps * specification.num_envs)
