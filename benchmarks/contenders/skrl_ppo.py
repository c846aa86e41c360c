"""skrl by its own sequential trainer; on a Gymnasium vector environment, or on AquaML's backend by an adapter."""

from typing import Any, Dict, Optional, Tuple

import gymnasium
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import Wrapper, wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg
from skrl.utils import set_seed
from torch import nn

from benchmarks.contenders.introduction import introduce
from benchmarks.contenders.networks import layers
from benchmarks.gate import Gate
from benchmarks.rows import Rows
from benchmarks.specification import Specification


class Policy(GaussianMixin, Model):
    """A Gaussian with a state-independent standard deviation, as in skrl's examples."""

    def __init__(self, specification: Specification, observation_space: Any, action_space: Any) -> None:
        Model.__init__(self, observation_space=observation_space, action_space=action_space, device="cpu")
        GaussianMixin.__init__(self)
        self.net = layers(specification, self.num_observations, self.num_actions)
        self.log_std_parameter = nn.Parameter(torch.zeros(self.num_actions))

    def compute(self, inputs: Dict[str, Any], role: str) -> Tuple[torch.Tensor, Dict[str, Any]]:
        """Return mean actions and the logarithm of the standard deviation."""
        return self.net(inputs["observations"]), {"log_std": self.log_std_parameter}


class Value(DeterministicMixin, Model):
    """A value network."""

    def __init__(self, specification: Specification, observation_space: Any, action_space: Any) -> None:
        Model.__init__(self, observation_space=observation_space, action_space=action_space, device="cpu")
        DeterministicMixin.__init__(self)
        self.net = layers(specification, self.num_observations, 1)

    def compute(self, inputs: Dict[str, Any], role: str) -> Tuple[torch.Tensor, Dict[str, Any]]:
        """Return values."""
        return self.net(inputs["observations"]), {}


class RowsWrapper(Wrapper):
    """AquaML's rows as an environment of skrl."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self._device = torch.device("cpu")

    def reset(self) -> Tuple[torch.Tensor, Dict[str, Any]]:
        """Start new episodes."""
        return self._env.reset(), {}

    def step(self, actions: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Any]:
        """Advance all rows."""
        step = self._env.step(actions)
        flags = (step.terminated.unsqueeze(1), step.truncated.unsqueeze(1))
        return (step.observations, step.rewards.unsqueeze(1), flags[0], flags[1], {})

    def state(self) -> Optional[torch.Tensor]:
        """There is no privileged state."""
        return None

    def render(self, *args: Any, **kwargs: Any) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Release the environments."""
        self._env.close()


def _environment(specification: Specification, gate: Gate) -> Any:
    if specification.backend != "default":
        rows = Rows(specification)
        gate.attach(rows)
        return RowsWrapper(rows)
    if specification.num_envs == 1:
        env: Any = gymnasium.make(specification.task)
    else:
        env = gymnasium.make_vec(specification.task, num_envs=specification.num_envs, vectorization_mode="sync")
    wrapped = wrap_env(env, wrapper="gymnasium")
    gate.attach(wrapped)
    return wrapped


def run(specification: Specification, gate: Gate) -> None:
    """Train in units."""
    set_seed(specification.seed)
    env = _environment(specification, gate)
    spaces = (env.observation_space, env.action_space)
    models: Dict[str, Any] = {"policy": Policy(specification, *spaces), "value": Value(specification, *spaces)}
    chosen: Dict[str, Any] = {
        "rollouts": specification.rollout,
        "learning_epochs": specification.epochs,
        "mini_batches": specification.mini_batches,
        "learning_rate": specification.learning_rate,
        "discount_factor": specification.discount,
        "time_limit_bootstrap": True,
    }
    if specification.plain:
        chosen["value_clip"] = 0.0
    else:
        chosen.update(
            observation_preprocessor=RunningStandardScaler,
            observation_preprocessor_kwargs={"size": spaces[0], "device": "cpu"},
            value_preprocessor=RunningStandardScaler,
            value_preprocessor_kwargs={"size": 1, "device": "cpu"},
        )
    agent = PPO(
        models=models,
        memory=RandomMemory(memory_size=specification.rollout, num_envs=env.num_envs, device="cpu"),
        cfg=PPO_CFG(**chosen),
        observation_space=spaces[0],
        action_space=spaces[1],
        device="cpu",
    )
    trainer = SequentialTrainer(
        cfg=SequentialTrainerCfg(timesteps=specification.planned_vector_steps, headless=True), env=env, agents=agent
    )
    settings = dict(
        vars(agent.cfg),
        memory="RandomMemory, without replacement",
        environment="gymnasium sync vector" if specification.backend == "default" else "AquaML's backend by an adapter",
        trainer=vars(trainer.cfg),
    )
    parameters = [*models["policy"].parameters(), *models["value"].parameters()]
    sizes = (models["policy"].num_observations, models["policy"].num_actions)
    gate.introduction = introduce(specification, settings, parameters, sizes)
    trainer.train()
