"""Small runs into which one number that is not finite is put, at a known place and time."""

import dataclasses
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch

import AquaML
from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.environment.base import StepResult
from AquaML.errors import NonFiniteError
from AquaML.learning.finite_guard import FiniteGuard, Numbers
from AquaML.learning.model import default_models
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from AquaML.stateful import TRAINING, WEIGHTS, collect_states
from benchmarks.reliability.digest import digest_of
from benchmarks.reliability.guard_cost import UnguardedSteps
from benchmarks.reliability.soak import TickingEnvironment

ENVIRONMENTS, ROLLOUTS, PASSES, MINI_BATCHES, TIMESTEPS = 3, 8, 2, 2, 40
EPISODE = 5
PARAMETER = "policy.log_std_parameter"
"""The parameter one of whose gradient's elements is spoiled."""

STEP_SITES = ("observation", "final observation", "reward", "action", "log-probability", "value", "value target")
LOSS_SITES = ("policy", "value", "extra", "entropy", "gradient")


@dataclasses.dataclass
class Spoil:
    """One number that is put into a run.

    Attributes:
        site: One of :data:`STEP_SITES`, or ``"loss/<name>"`` and ``"gradient"``.
        value: The number.
        environment: In whose row.
        step: In which vector step, or in the update after which one.
        minibatch: In which minibatch of that update.
        done: Whether it has happened.
    """

    site: str
    value: float
    environment: int
    step: int
    minibatch: int
    done: bool = False

    def now(self, site: str, step: int) -> bool:
        """Return whether it is to happen here; it does so once."""
        if self.done or site != self.site or step != self.step:
            return False
        self.done = True
        return True

    def row(self, values: torch.Tensor) -> torch.Tensor:
        """Return a copy of ``(num_envs, *shape)`` with the number in it."""
        changed = values.clone()
        changed[self.environment].view(-1)[-1] = self.value
        return changed

    def loss(self, loss: torch.Tensor) -> torch.Tensor:
        """Return a loss that is, or whose gradient is, not finite.

        An infinite summand leaves the gradient as it was, NaN and large factors do not.
        """
        return loss + self.value if abs(self.value) == float("inf") else loss * self.value


class SpoiledEnvironment(TickingEnvironment):
    """Puts the number into what it returns.

    Args:
        spoil: What, where and when.
    """

    def __init__(self, spoil: Spoil) -> None:
        super().__init__(ENVIRONMENTS, EPISODE)
        self._spoil = spoil
        self._steps = 0

    def step(self, actions: Any) -> StepResult:
        """Return what the environment returns, once with the number in it."""
        observations, rewards, terminated, truncated, infos = super().step(actions)
        spoil, step = self._spoil, self._steps
        self._steps += 1
        if spoil.now("observation", step):
            infos["final_obs"] = {name: value.clone() for name, value in observations.items()}
            observations = {name: spoil.row(value) for name, value in observations.items()}
        if spoil.now("final observation", step):
            infos["final_obs"] = {name: spoil.row(value) for name, value in observations.items()}
        if spoil.now("reward", step):
            rewards = spoil.row(rewards)
        return observations, rewards, terminated, truncated, infos


class WatchedGuard(FiniteGuard):
    """Keeps the errors that it hears of."""

    def __init__(self, policy: str) -> None:
        super().__init__(policy)
        self.errors: List[NonFiniteError] = []

    def allow(self, error: NonFiniteError) -> None:
        """Take notice."""
        self.errors.append(error)
        super().allow(error)

    def count(self, error: NonFiniteError, number: int = 1) -> None:
        """Take notice."""
        if error not in self.errors:
            self.errors.append(error)
        super().count(error, number)


class SpoiledPPO(PPO):
    """Puts the number into what it computes, and notes its state just before.

    Args:
        spoil: What, where and when.
        policy: ``AgentCfg.non_finite``.
    """

    def __init__(self, spoil: Spoil, policy: str) -> None:
        info = SpoiledEnvironment(spoil).getEnvInfo()
        options: Dict[str, Any] = {"rollouts": ROLLOUTS, "learning_epochs": PASSES, "mini_batches": MINI_BATCHES}
        super().__init__(
            default_models(info, hidden_sizes=(8,)),
            PPOCfg(non_finite=policy, entropy_loss_scale=0.01, device="cpu", **options),
        )
        self.finite_guard = WatchedGuard(policy)
        self._spoil = spoil
        self._step_now = 0
        self._minibatch = -1
        self.networks_before: Optional[str] = None
        self.networks_after_step: Optional[str] = None
        self.normalizers_before: Optional[str] = None
        dict(self.policy.named_parameters())[PARAMETER.split(".")[1]].register_hook(self._spoil_gradient)

    def networks(self) -> str:
        """Return the digest of models and optimiser."""
        parts = [part for part in self.parts if part.name in ("policy", "value", "optimizer")]
        return digest_of(collect_states(parts))

    def normalizer_states(self) -> str:
        """Return the digest of all normalisers."""
        return digest_of(collect_states([part for part in self.parts if "normalizer" in part.name]))

    def act(self, states: Any, timestep: int, timesteps: int) -> Any:
        """Act, once with the number in actions or log-probability."""
        actions = super().act(states, timestep, timesteps)
        self._step_now = timestep
        if timestep == self._spoil.step:
            self.networks_before, self.normalizers_before = self.networks(), self.normalizer_states()
        if self._spoil.now("action", timestep):
            actions = {name: self._spoil.row(value) for name, value in actions.items()}
        if self._spoil.now("log-probability", timestep):
            assert self._acted is not None
            self._acted = dict(self._acted, log_prob=self._spoil.row(self._acted["log_prob"]))
        return actions

    @property
    def _spoiled_row(self) -> int:
        return self._spoil.step % ROLLOUTS

    def _updates_with(self, site: str) -> bool:
        """Return whether the update under way is that of the rollout in which the number belongs."""
        spoil = self._spoil
        return self._step_now // ROLLOUTS == spoil.step // ROLLOUTS and spoil.now(site, spoil.step)

    def values_of(self, states: Any) -> torch.Tensor:
        """Value states, once with the number among a rollout's."""
        values = super().values_of(states)
        if len(values) == ROLLOUTS * ENVIRONMENTS and self._updates_with("value"):
            values = values.clone()
            values[self._spoiled_row * ENVIRONMENTS + self._spoil.environment] = self._spoil.value
        return values

    def rollout_rewards(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return the rewards to learn from, once with the number among them."""
        rewards = super().rollout_rewards(rewards)
        if self._updates_with("value target"):
            rewards = rewards.clone()
            rewards[self._spoiled_row] = self._spoil.row(rewards[self._spoiled_row])
        return rewards

    def learn(self, batch: Batch, rows: torch.Tensor) -> None:
        """Learn, and count minibatches."""
        self._minibatch = -1
        super().learn(batch, rows)

    def _step(self, minibatch: Batch) -> Dict[str, torch.Tensor]:
        self._minibatch += 1
        return super()._step(minibatch)

    def _descend(self, loss: torch.Tensor) -> torch.Tensor:
        spoiled = self._spoil.site not in STEP_SITES and self._is_spoiled_minibatch
        if spoiled:
            self.networks_before = self.networks()
        norm = super()._descend(loss)
        if spoiled:
            self.networks_after_step = self.networks()
        return norm

    @property
    def _is_spoiled_minibatch(self) -> bool:
        return self._step_now == self._spoil.step and self._minibatch == self._spoil.minibatch

    def _now(self, site: str) -> bool:
        return self._minibatch == self._spoil.minibatch and self._spoil.now(site, self._step_now)

    def policy_loss(self, minibatch: Batch, evaluated: ModelOutput) -> torch.Tensor:
        """Return the loss, once spoiled."""
        loss = super().policy_loss(minibatch, evaluated)
        return self._spoil.loss(loss) if self._now("loss/policy") else loss

    def value_loss(self, minibatch: Batch, values: torch.Tensor) -> torch.Tensor:
        """Return the loss, once spoiled."""
        loss = super().value_loss(minibatch, values)
        return self._spoil.loss(loss) if self._now("loss/value") else loss

    def extra_losses(self, minibatch: Batch, evaluated: ModelOutput) -> Dict[str, torch.Tensor]:
        """Return a small loss, once spoiled."""
        loss = 1e-3 * evaluated["mean_actions"].square().mean()
        return {"extra": self._spoil.loss(loss) if self._now("loss/extra") else loss}

    def evaluate(self, minibatch: Batch) -> Tuple[ModelOutput, torch.Tensor]:
        """Evaluate a minibatch, once with a spoiled entropy."""
        evaluated, values = super().evaluate(minibatch)
        if self._now("loss/entropy"):
            evaluated = dict(evaluated, entropy=self._spoil.loss(evaluated["entropy"]))
        return evaluated, values

    def _spoil_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        if not self._now("gradient"):
            return gradient
        changed = gradient.clone()
        changed.view(-1)[0] = self._spoil.value
        return changed


class UnguardedSpoiledPPO(SpoiledPPO):
    """The same without any check."""

    def __init__(self, spoil: Spoil, policy: str) -> None:
        super().__init__(spoil, policy)
        self._step_guard = UnguardedSteps(self.optimizer)  # type: ignore[assignment]
        self.finite_guard.CHECKED_STEPS = 0  # type: ignore[misc]

    def _collected(self, *arguments: Any) -> List[Numbers]:
        return []


class WatchedTrainer(SequentialTrainer):
    """Notes the agent's state when it has recovered."""

    networks_recovered: Optional[str] = None
    normalizers_recovered: Optional[str] = None
    equals_checkpoint = False

    def _recover(self, error: NonFiniteError) -> None:
        super()._recover(error)
        assert isinstance(self.agent, SpoiledPPO)
        self.networks_recovered = self.agent.networks()
        self.normalizers_recovered = self.agent.normalizer_states()
        saved = read_checkpoint(self._require_store().latest()).parts
        present = collect_states(self.agent.parts, (WEIGHTS, TRAINING))
        self.equals_checkpoint = all(
            digest_of(saved["agent/" + name]["state"]) == digest_of(entry["state"]) for name, entry in present.items()
        )


def make_run(spoil: Spoil, policy: str, folder: Path, seed: int, guarded: bool = True) -> WatchedTrainer:
    """Return a run that is ready to be spoiled."""
    AquaML.seed_everything(seed)
    kind = SpoiledPPO if guarded else UnguardedSpoiledPPO
    settings: Dict[str, Any] = {"tensorboard": False, "learning_curve": False, "system_monitor": False}
    cfg = TrainerConfig(
        timesteps=TIMESTEPS,
        seed=seed,
        checkpoint_interval=2 * ROLLOUTS,
        log_interval=TIMESTEPS,
        run_directory=str(folder),
        run_name="run",
        disable_progressbar=True,
        **settings,
    )
    return WatchedTrainer(SpoiledEnvironment(spoil), kind(spoil, policy), cfg)


def everything_is_finite(agent: PPO) -> bool:
    """Return whether parameters, moments and normalisers are."""
    return all(
        bool(torch.isfinite(tensor.double()).all())
        for entry in collect_states(agent.parts, (WEIGHTS, TRAINING)).values()
        for tensor in _tensors(entry["state"])
    )


def _tensors(value: Any) -> List[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for item in items for tensor in _tensors(item)]
