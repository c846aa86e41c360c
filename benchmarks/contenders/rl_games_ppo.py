"""rl_games by its own runner; on EnvPool, for which it ships configurations, or on AquaML's backend by an adapter."""

import os
from typing import Any, Dict, Tuple

import torch
from rl_games.common import env_configurations, vecenv
from rl_games.common.algo_observer import DefaultAlgoObserver
from rl_games.common.ivecenv import IVecEnv
from rl_games.envs.envpool import Envpool
from rl_games.torch_runner import Runner

from benchmarks.contenders.introduction import introduce
from benchmarks.gate import Gate
from benchmarks.rows import Rows
from benchmarks.specification import Specification


class RowsVecEnv(IVecEnv):
    """AquaML's rows as a vector environment of rl_games."""

    def __init__(self, specification: Specification) -> None:
        self.rows = Rows(specification)
        self.observation_space = self.rows.observation_space
        self.action_space = self.rows.action_space

    def reset(self) -> torch.Tensor:
        """Start new episodes."""
        return self.rows.reset()

    def step(self, actions: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, Dict[str, Any]]:
        """Advance all rows."""
        step = self.rows.step(actions)
        return step.observations, step.rewards, step.terminated | step.truncated, {"time_outs": step.truncated}

    def get_env_info(self) -> Dict[str, Any]:
        """Return the spaces."""
        return {"observation_space": self.observation_space, "action_space": self.action_space}


class Introducer(DefaultAlgoObserver):
    """The default observer, which also introduces the agent once that is built."""

    def __init__(self, specification: Specification, gate: Gate, settings: Dict[str, Any]) -> None:
        super().__init__()
        self._arguments = (specification, gate, settings)

    def after_init(self, algo: Any) -> None:
        """Describe the agent."""
        super().after_init(algo)
        specification, gate, settings = self._arguments
        sizes = (algo.observation_space.shape[0], algo.env_info["action_space"].shape[0])
        gate.introduction = introduce(specification, settings, algo.model.parameters(), sizes)


def run(specification: Specification, gate: Gate) -> None:
    """Train in units."""

    def make(name: str, num_actors: int, **options: Any) -> Any:
        env = Envpool(name, num_actors, **options) if specification.backend == "default" else RowsVecEnv(specification)
        gate.attach(env)
        return env

    vecenv.register("GATED", make)
    env_configurations.register("gated", {"vecenv_type": "GATED", "env_creator": None})
    settings = _settings(specification)
    described = dict(
        settings,
        environment="EnvPool, by its own class"
        if specification.backend == "default"
        else "AquaML's backend by an adapter",
    )
    runner = Runner(Introducer(specification, gate, described))
    runner.load({"params": settings})
    runner.run({"train": True, "play": False})


def _settings(specification: Specification) -> Dict[str, Any]:
    """Return the settings of rl_games' own Ant configuration, with the sizes and passes that all contenders have."""
    space = {
        "mu_activation": "None",
        "sigma_activation": "None",
        "mu_init": {"name": "default"},
        "sigma_init": {"name": "const_initializer", "val": 0},
        "fixed_sigma": True,
    }
    mlp = {
        "units": list(specification.hidden_sizes),
        "activation": specification.activation,
        "initializer": {"name": "default"},
    }
    config: Dict[str, Any] = {
        "name": "gated",
        "env_name": "gated",
        "device": "cpu",
        "torch_compile": specification.compile,
        "normalize_input": not specification.plain,
        "normalize_value": not specification.plain,
        "value_bootstrap": True,
        "normalize_advantage": True,
        "reward_shaper": {"scale_value": 1.0},
        "gamma": specification.discount,
        "tau": 0.95,
        "learning_rate": specification.learning_rate,
        "lr_schedule": None,
        "grad_norm": 1.0,
        "entropy_coef": 0.0,
        "truncate_grads": True,
        "e_clip": 0.2,
        "clip_value": not specification.plain,
        "use_smooth_clamp": True,
        "bound_loss_type": "regularisation",
        "bounds_loss_coef": 0.0,
        "max_epochs": specification.planned_iterations,
        "num_actors": specification.num_envs,
        "horizon_length": specification.rollout,
        "minibatch_size": specification.minibatch_size,
        "mini_epochs": specification.epochs,
        "critic_coef": 2,
    }
    if specification.backend == "default":
        config["env_config"] = {"env_name": specification.task, "seed": specification.seed}
    network = {"name": "actor_critic", "separate": True, "space": {"continuous": space}, "mlp": mlp}
    return {
        "seed": specification.seed + 1,
        # By default rl_games sets the number of threads itself; a setting of the user's holds for all libraries.
        "torch_threads": 0 if "OMP_NUM_THREADS" in os.environ else "auto",
        "algo": {"name": "a2c_continuous"},
        "model": {"name": "continuous_a2c_logstd"},
        "network": network,
        "config": config,
    }
