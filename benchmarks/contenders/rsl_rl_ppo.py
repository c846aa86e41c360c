"""rsl_rl by its own runner; it brings no environments for a CPU, so an adapter shows it Gymnasium's or AquaML's."""

from typing import Any, Dict, Tuple

import gymnasium
import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from benchmarks.contenders.introduction import introduce
from benchmarks.gate import Gate
from benchmarks.rows import Rows, Step
from benchmarks.specification import Specification


class SyncRows:
    """Gymnasium's synchronous vector environment as rows."""

    def __init__(self, specification: Specification) -> None:
        env: Any = gymnasium.make_vec(
            specification.task,
            num_envs=specification.num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
        )
        self._env = env
        self._seed = specification.seed
        self.num_envs = specification.num_envs
        self.observation_size: int = self._env.single_observation_space.shape[0]
        self.action_size: int = self._env.single_action_space.shape[0]

    def reset(self) -> torch.Tensor:
        """Start new episodes and return the observations."""
        return torch.as_tensor(self._env.reset(seed=self._seed)[0], dtype=torch.float32)

    def step(self, actions: torch.Tensor) -> Step:
        """Advance every row."""
        space = self._env.single_action_space
        clipped = actions.cpu().numpy().clip(space.low, space.high)
        observations, rewards, terminated, truncated, _ = self._env.step(clipped)
        return Step(
            torch.as_tensor(observations, dtype=torch.float32),
            torch.as_tensor(rewards, dtype=torch.float32),
            torch.as_tensor(terminated),
            torch.as_tensor(truncated),
            None,
        )


class RowsEnvironment(VecEnv):
    """Rows as an environment of rsl_rl."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self.num_envs = rows.num_envs
        self.num_actions = rows.action_size
        self.max_episode_length = 1000
        self.episode_length_buf = torch.zeros(rows.num_envs, dtype=torch.long)
        self.device = "cpu"
        self.cfg: Dict[str, Any] = {}
        self._observations = rows.reset()

    def get_observations(self) -> TensorDict:
        """Return what to act on."""
        return TensorDict({"policy": self._observations}, batch_size=[self.num_envs])

    def step(self, actions: torch.Tensor) -> Tuple[TensorDict, torch.Tensor, torch.Tensor, Dict[str, Any]]:
        """Advance all rows."""
        step = self._rows.step(actions)
        self._observations = step.observations
        done = (step.terminated | step.truncated).long()
        return self.get_observations(), step.rewards, done, {"time_outs": step.truncated}


def runner_settings(specification: Specification) -> Dict[str, Any]:
    """Return the settings of the runner."""
    network = {
        "class_name": "rsl_rl.models:MLPModel",
        "hidden_dims": list(specification.hidden_sizes),
        "activation": specification.activation,
    }
    return {
        "num_steps_per_env": specification.rollout,
        "save_interval": 50,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": dict(
            network,
            distribution_cfg={"class_name": "rsl_rl.modules.distribution:GaussianDistribution", "std_type": "log"},
        ),
        "critic": network,
        "algorithm": {
            "class_name": "rsl_rl.algorithms:PPO",
            "num_learning_epochs": specification.epochs,
            "num_mini_batches": specification.mini_batches,
            "learning_rate": specification.learning_rate,
            "gamma": specification.discount,
            "entropy_coef": 0.0,
            "schedule": "fixed",
            "use_clipped_value_loss": not specification.plain,
            "rnd_cfg": None,
            "symmetry_cfg": None,
        },
    }


def run(specification: Specification, gate: Gate) -> None:
    """Train in units."""
    torch.manual_seed(specification.seed)
    rows = SyncRows(specification) if specification.backend == "default" else Rows(specification)
    gate.attach(rows)
    settings = runner_settings(specification)
    runner = OnPolicyRunner(RowsEnvironment(rows), settings, log_dir="rsl_rl", device="cpu")
    source = "gymnasium sync vector" if specification.backend == "default" else "AquaML's backend"
    described = dict(settings, environment=source + " by an adapter", obs_normalization="off, its default")
    parameters = [*runner.alg.actor.parameters(), *runner.alg.critic.parameters()]
    gate.introduction = introduce(specification, described, parameters, (rows.observation_size, rows.action_size))
    runner.learn(specification.planned_iterations)
