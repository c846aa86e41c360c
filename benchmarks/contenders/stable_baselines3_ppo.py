"""stable-baselines3 by its own ``learn``; on its own vector environment, or on AquaML's backend by an adapter."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.contenders.introduction import introduce
from benchmarks.contenders.networks import ACTIVATIONS
from benchmarks.gate import Gate
from benchmarks.rows import Rows
from benchmarks.specification import Specification


class RowsVecEnv(VecEnv):
    """AquaML's rows as a vector environment of stable-baselines3."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._actions = torch.empty(0)
        super().__init__(rows.num_envs, rows.observation_space, rows.action_space)

    def reset(self) -> np.ndarray:
        """Start new episodes."""
        return self._rows.reset().numpy()

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions."""
        self._actions = torch.from_numpy(actions)

    def step_wait(self) -> Tuple[np.ndarray, np.ndarray, np.ndarray, List[Dict[str, Any]]]:
        """Advance all rows."""
        step = self._rows.step(self._actions)
        done = (step.terminated | step.truncated).numpy()
        infos: List[Dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(done):
            assert step.final is not None
            infos[row]["terminal_observation"] = step.final[row].numpy()
            infos[row]["TimeLimit.truncated"] = bool(step.truncated[row])
        return step.observations.numpy(), step.rewards.numpy(), done, infos

    def close(self) -> None:
        """Release the environments."""
        self._rows.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> List[Any]:
        """Return an attribute once per row."""
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse."""
        raise NotImplementedError(attr_name)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> List[Any]:
        """Refuse."""
        raise NotImplementedError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Optional[Sequence[int]] = None) -> List[bool]:
        """No row is a wrapped environment."""
        return [False] * self.num_envs


def run(specification: Specification, gate: Gate) -> None:
    """Train in units."""
    if specification.backend == "default":
        env: Any = make_vec_env(specification.task, n_envs=specification.num_envs, seed=specification.seed)
        source = "make_vec_env: DummyVecEnv with Monitor"
    else:
        env, source = RowsVecEnv(Rows(specification)), "AquaML's backend by an adapter"
    gate.attach(env)
    chosen: Dict[str, Any] = {
        "n_steps": specification.rollout,
        "batch_size": specification.minibatch_size,
        "n_epochs": specification.epochs,
        "learning_rate": specification.learning_rate,
        "gamma": specification.discount,
        "policy_kwargs": {
            "net_arch": {"pi": list(specification.hidden_sizes), "vf": list(specification.hidden_sizes)},
            "activation_fn": ACTIVATIONS[specification.activation],
        },
        "seed": specification.seed,
        "device": "cpu",
    }
    model = PPO("MlpPolicy", env, **chosen)
    settings = dict(chosen, environment=source, observations="not normalised, its default")
    settings.update(gae_lambda=model.gae_lambda, ent_coef=model.ent_coef, vf_coef=model.vf_coef)
    settings.update(max_grad_norm=model.max_grad_norm, normalize_advantage=model.normalize_advantage)
    sizes = (env.observation_space.shape[0], env.action_space.shape[0])
    gate.introduction = introduce(specification, settings, model.policy.parameters(), sizes)
    model.learn(total_timesteps=specification.planned_vector_steps * specification.num_envs)
