"""A small PPO agent of each library, saved, loaded and trained through the library's own functions."""

import abc
import hashlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional

import torch

from benchmarks.rows import Rows
from benchmarks.specification import Specification

SPECIFICATION = Specification("subject", "", "Pendulum-v1", "auto", 4, 16, 2, 2, (256, 256), "tanh")


class Subject(abc.ABC):
    """What a campaign does with a library's agent.

    Args:
        disturb: Changes the rows before the library sees them, for poisoned numbers; None: nothing.
    """

    name = ""
    suffix = ".pt"

    def __init__(self, disturb: Optional[Callable[[Rows], Rows]] = None) -> None:
        self._disturb = disturb
        torch.manual_seed(0)
        self.build()

    def rows(self) -> Rows:
        """Return the environments."""
        rows = Rows(SPECIFICATION)
        return rows if self._disturb is None else self._disturb(rows)

    @abc.abstractmethod
    def build(self) -> None:
        """Make the agent."""

    @abc.abstractmethod
    def parameters(self) -> Iterable[torch.Tensor]:
        """Return what acting depends on."""

    @abc.abstractmethod
    def train(self, iterations: int) -> None:
        """Train for some rollouts and updates."""

    @abc.abstractmethod
    def save(self, path: Path) -> None:
        """Save as a user would."""

    @abc.abstractmethod
    def load(self, path: Path) -> None:
        """Load as a user would."""

    @abc.abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser."""

    def tensors(self) -> List[torch.Tensor]:
        """Return all parameters and the optimiser's moments."""
        moments = [
            moment
            for parameter in self.parameters()
            for _, moment in sorted(self.optimizer().state.get(parameter, {}).items())
            if isinstance(moment, torch.Tensor)
        ]
        return [*self.parameters(), *moments]

    def digest(self) -> str:
        """Return the SHA-256 of all tensors."""
        digest = hashlib.sha256()
        for tensor in self.tensors():
            digest.update(tensor.detach().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def scramble(self) -> None:
        """Change all tensors, so that a load that does nothing is noticed."""
        with torch.no_grad():
            for tensor in self.tensors():
                tensor.add_(1.0)

    def is_finite(self) -> bool:
        """Return whether all parameters are finite."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters())


class AquaMLSubject(Subject):
    """AquaML."""

    name = "AquaML"
    suffix = ".aqua"

    def build(self) -> None:
        """Make an agent by AquaML's own model builder."""
        from AquaML.learning.model.ready_made import default_models
        from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg

        self._env = self.rows().wrapped
        info = self._env.getEnvInfo()
        models = default_models(info, hidden_sizes=SPECIFICATION.hidden_sizes, activation=SPECIFICATION.activation)
        cfg = PPOCfg(device="cpu", rollouts=SPECIFICATION.rollout, mini_batches=2, learning_epochs=2)
        self.agent = PPO(models, cfg)
        self.agent.setup(info)

    def parameters(self) -> Iterable[torch.Tensor]:
        """Return the parameters of policy and value."""
        return [*self.agent.models["policy"].parameters(), *self.agent.models["value"].parameters()]

    def optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return self.agent.optimizer

    def train(self, iterations: int) -> None:
        """Train by the sequential trainer."""
        from AquaML.learning.trainers.sequential import SequentialTrainer
        from AquaML.learning.trainers.trainer_cfg import TrainerConfig

        timesteps = SPECIFICATION.rollout * iterations
        cfg = TrainerConfig(timesteps=timesteps, disable_progressbar=True, tensorboard=False, learning_curve=False)
        SequentialTrainer(self._env, self.agent, cfg).train()

    def save(self, path: Path) -> None:
        """Save the agent."""
        self.agent.save(path)

    def load(self, path: Path) -> None:
        """Load into the agent."""
        self.agent.load(path)


class SkrlSubject(Subject):
    """skrl."""

    name = "skrl"

    def build(self) -> None:
        """Make an agent as skrl's examples do."""
        from skrl.agents.torch.ppo import PPO, PPO_CFG
        from skrl.memories.torch import RandomMemory

        from benchmarks.contenders.skrl_ppo import Policy, RowsWrapper, Value

        self._env = RowsWrapper(self.rows())
        spaces = (self._env.observation_space, self._env.action_space)
        self.models = {"policy": Policy(SPECIFICATION, *spaces), "value": Value(SPECIFICATION, *spaces)}
        memory = RandomMemory(memory_size=SPECIFICATION.rollout, num_envs=SPECIFICATION.num_envs, device="cpu")
        cfg = PPO_CFG(rollouts=SPECIFICATION.rollout, learning_epochs=2, mini_batches=2)
        self.agent = PPO(
            models=self.models,
            memory=memory,
            cfg=cfg,
            observation_space=spaces[0],
            action_space=spaces[1],
            device="cpu",
        )

    def parameters(self) -> Iterable[torch.Tensor]:
        """Return the parameters of policy and value."""
        return [parameter for model in self.models.values() for parameter in model.parameters()]

    def optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return self.agent.optimizer

    def train(self, iterations: int) -> None:
        """Train by skrl's sequential trainer."""
        from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg

        timesteps = SPECIFICATION.rollout * iterations
        cfg = SequentialTrainerCfg(timesteps=timesteps, headless=True, disable_progressbar=True)
        SequentialTrainer(cfg=cfg, env=self._env, agents=self.agent).train()

    def save(self, path: Path) -> None:
        """Save the agent."""
        self.agent.save(str(path))

    def load(self, path: Path) -> None:
        """Load into the agent."""
        self.agent.load(str(path))


class RslRlSubject(Subject):
    """rsl_rl."""

    name = "rsl_rl"

    def build(self) -> None:
        """Make a runner."""
        from rsl_rl.runners import OnPolicyRunner

        from benchmarks.contenders.rsl_rl_ppo import RowsEnvironment, runner_settings

        self.runner = OnPolicyRunner(
            RowsEnvironment(self.rows()), runner_settings(SPECIFICATION), log_dir=None, device="cpu"
        )

    def parameters(self) -> Iterable[torch.Tensor]:
        """Return the parameters of actor and critic."""
        return [*self.runner.alg.actor.parameters(), *self.runner.alg.critic.parameters()]

    def optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return self.runner.alg.optimizer

    def train(self, iterations: int) -> None:
        """Train by the runner."""
        self.runner.learn(iterations)

    def save(self, path: Path) -> None:
        """Save the runner's state."""
        self.runner.save(str(path))

    def load(self, path: Path) -> None:
        """Load into the runner."""
        self.runner.load(str(path))


class StableBaselines3Subject(Subject):
    """stable-baselines3."""

    name = "stable-baselines3"
    suffix = ".zip"

    def build(self) -> None:
        """Make a model."""
        from stable_baselines3 import PPO

        from benchmarks.contenders.stable_baselines3_ppo import RowsVecEnv

        self.agent: Any = PPO(
            "MlpPolicy",
            RowsVecEnv(self.rows()),
            n_steps=SPECIFICATION.rollout,
            batch_size=SPECIFICATION.minibatch_size,
            n_epochs=2,
            policy_kwargs={"net_arch": list(SPECIFICATION.hidden_sizes)},
            device="cpu",
        )

    def parameters(self) -> Iterable[torch.Tensor]:
        """Return the policy's parameters."""
        return list(self.agent.policy.parameters())

    def optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return self.agent.policy.optimizer

    def train(self, iterations: int) -> None:
        """Train by ``learn``."""
        self.agent.learn(iterations * SPECIFICATION.rollout * SPECIFICATION.num_envs)

    def save(self, path: Path) -> None:
        """Save the model."""
        self.agent.save(str(path))

    def load(self, path: Path) -> None:
        """Load as users do, which makes a new model."""
        self.agent = type(self.agent).load(str(path), device="cpu")


class RlGamesSubject(Subject):
    """rl_games: its two functions for checkpoints, given the state of two networks and an optimiser."""

    name = "rl_games"
    suffix = ".pth"

    def build(self) -> None:
        """Make networks of the same sizes; rl_games' own agent saves them by the same functions."""
        sizes = [3, *SPECIFICATION.hidden_sizes, 1]
        layers: List[torch.nn.Module] = []
        for _ in range(2):
            for inputs, outputs in zip(sizes, sizes[1:]):
                layers += [torch.nn.Linear(inputs, outputs), torch.nn.Tanh()]
        self.model = torch.nn.Sequential(*layers)
        self._adam = torch.optim.Adam(self.model.parameters())

    def parameters(self) -> Iterable[torch.Tensor]:
        """Return the parameters."""
        return list(self.model.parameters())

    def optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return self._adam

    def train(self, iterations: int) -> None:
        """Take steps of the optimiser, so that it has moments to save."""
        for _ in range(iterations):
            sum(parameter.square().sum() for parameter in self.parameters()).backward()
            self._adam.step()

    def save(self, path: Path) -> None:
        """Save by rl_games, which adds the suffix itself."""
        from rl_games.algos_torch import torch_ext

        state = {"model": self.model.state_dict(), "optimizer": self._adam.state_dict(), "epoch": 1, "frame": 64}
        torch_ext.save_checkpoint(str(path.with_suffix("")), state)

    def load(self, path: Path) -> None:
        """Load by rl_games."""
        from rl_games.algos_torch import torch_ext

        state = torch_ext.load_checkpoint(str(path))
        self.model.load_state_dict(state["model"])
        self._adam.load_state_dict(state["optimizer"])


SUBJECTS: Dict[str, Any] = {
    subject.name: subject
    for subject in (AquaMLSubject, SkrlSubject, RslRlSubject, RlGamesSubject, StableBaselines3Subject)
}
