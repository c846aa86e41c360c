"""What agents share that descend losses of a policy and a value function in minibatches of a rollout."""

import abc
import functools
import math
import operator
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import torch
from loguru import logger

from AquaML.compat import autocast, clip_gradient_norm, compiled, gradient_scaler
from AquaML.errors import AgentError, ConfigError, NonFiniteError
from AquaML.learning.adam import make_adam
from AquaML.learning.finite_guard import SKIP, StepGuard
from AquaML.learning.memory.sampling import minibatch_indices
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.reinforcement.on_policy.actor_critic_cfg import ActorCriticCfg
from AquaML.learning.reinforcement.on_policy.base import OnPolicyAgent
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.schedulers import LearningRateSchedule


class ActorCriticAgent(OnPolicyAgent):
    """Learns from each rollout by passes over its minibatches, in each of which all losses are descended together.

    Subclasses write :meth:`policy_loss`. To change an algorithm, override it, :meth:`value_loss`, :meth:`extra_losses`,
    :meth:`augment` or :meth:`rollout_rewards`.

    Args:
        models: ``"policy"``, a distribution, and ``"value"``; the same object under both names is a shared network
            whose ``compute`` also returns ``"values"``.
        cfg: The configuration; None: defaults.
    """

    config_class = ActorCriticCfg
    recurrent_roles: Sequence[str] = ("policy", "value")
    cfg: ActorCriticCfg

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[ActorCriticCfg] = None) -> None:
        super().__init__(models, cfg)
        self.optimizer = self._make_optimizer()
        self.register_part("optimizer", self.optimizer)
        self._parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.scheduler: Optional[LearningRateSchedule] = None
        if self.cfg.learning_rate_scheduler is not None:
            self.scheduler = LearningRateSchedule(
                self.optimizer, self.cfg.learning_rate_scheduler, self.cfg.learning_rate_scheduler_kwargs
            )
            self.register_part("scheduler", self.scheduler)
        self.scaler = gradient_scaler(enabled=self._precision == torch.float16)
        self.register_part("scaler", self.scaler)
        self._skips = self.cfg.non_finite == SKIP
        self._step_guard = StepGuard(self.optimizer, self.device, self.scaler, sticky=not self._skips)
        self._passes: List[Dict[str, torch.Tensor]] = []
        self._gradient_norms: List[torch.Tensor] = []
        self._judge = self._judge_minibatch
        if self.cfg.compile:
            self._judge = compiled(self._judge_minibatch)
            logger.info(
                "{}: the losses are compiled in the first update, which takes up to a minute.", self.algorithm()
            )

    def _make_optimizer(self) -> torch.optim.Optimizer:
        cfg = self.cfg
        groups: List[Dict[str, Any]] = [
            {"params": trainable_parameters(self.policy), "lr": cfg.learning_rate, "name": "policy"}
        ]
        if not self.shares_model:
            policy_parameters = {id(parameter) for parameter in groups[0]["params"]}
            own = [item for item in trainable_parameters(self.value) if id(item) not in policy_parameters]
            if cfg.value_learning_rate is None:
                # One group costs one call of the optimiser's kernel, two cost two.
                groups[0]["params"] += own
            else:
                groups.append({"params": own, "lr": cfg.value_learning_rate, "name": "value"})
        elif cfg.value_learning_rate is not None:
            raise ConfigError(
                "{}.value_learning_rate is {!r}, but policy and value are one model with one learning rate; leave "
                "it None or use two models.".format(type(cfg).__name__, cfg.value_learning_rate)
            )
        if not any(group["params"] for group in groups):
            raise AgentError("{}: neither policy nor value has a parameter to learn.".format(type(self).__name__))
        return self._adam([group for group in groups if group["params"]])

    def _adam(self, groups: List[Dict[str, Any]]) -> torch.optim.Optimizer:
        return make_adam(groups, self.device, lr=self.cfg.learning_rate)

    def _check_setup(self, rows: int) -> None:
        blocks = rows // self.sequence_length
        if self.is_recurrent and self.cfg.mini_batches > blocks:
            raise ConfigError(
                "{}.mini_batches is {}; expected at most rollouts * num_envs / sequence_length = {}, for "
                "recurrent models learn from whole sequences. Lower sequence_length, or take more environments.".format(
                    type(self.cfg).__name__, self.cfg.mini_batches, blocks
                )
            )
        if self.cfg.mini_batches > rows:
            raise ConfigError(
                "{}.mini_batches is {}; expected at most rollouts * num_envs = {}.".format(
                    type(self.cfg).__name__, self.cfg.mini_batches, rows
                )
            )

    # ------------------------------------------------------------------ the update

    def learn(self, batch: Batch, rows: torch.Tensor) -> None:
        """Take passes over the rollout."""
        cfg = self.cfg
        if cfg.advantage_normalization == "batch":
            batch.advantages = standardized(batch.advantages, batch.advantages.index_select(0, rows))
        self._track_deviation(batch)
        epoch: Dict[str, torch.Tensor] = {}
        self._step_guard.begin()
        self._passes, self._gradient_norms = [], []
        for _ in range(self.passes()):
            parts = [self._step(minibatch) for minibatch in self._minibatches(batch, rows)]
            measured = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
            self._passes.append(measured)
            epoch = {name: self._mean(values, measured) for name, values in measured.items()}
            for name, value in epoch.items():
                self.track(name, value)
            if cfg.scheduler_interval == "epoch":
                self._schedule(epoch)
            if self.has_learned_enough(epoch):
                break
        if cfg.scheduler_interval == "update":
            self._schedule(epoch)
        for group in self.optimizer.param_groups:
            self.track("learning_rate/" + group["name"], group["lr"])

    def _minibatches(self, batch: Batch, rows: torch.Tensor) -> Iterator[Batch]:
        """Yield the minibatches of a pass: random rows, or random blocks where a model is recurrent."""
        if self.is_recurrent:
            for blocks in minibatch_indices(batch.blocks(), self.cfg.mini_batches):
                yield batch.select_blocks(blocks)
        else:
            for indices in minibatch_indices(rows, self.cfg.mini_batches):
                yield batch.select(indices)

    def passes(self) -> int:
        """Return how many passes an update takes over its rollout."""
        return 1

    def has_learned_enough(self, measured: Dict[str, torch.Tensor]) -> bool:
        """Return whether the remaining passes of the update are left out.

        Args:
            measured: What the pass just made has measured, means over its minibatches, on the device.
        """
        return False

    def _step(self, minibatch: Batch) -> Dict[str, torch.Tensor]:
        """Take one gradient step and return what it measured, still on the device."""
        total, measured = self._judge(minibatch)
        measured["gradient/norm"] = self._descend(total)
        return measured

    def _judge_minibatch(self, minibatch: Batch) -> Tuple[torch.Tensor, Dict[str, torch.Tensor]]:
        """Return the loss to descend, with its graph, and what was measured, without."""
        cfg = self.cfg
        if cfg.advantage_normalization == "minibatch":
            rows = minibatch.transitions()
            sample = minibatch.advantages if rows is None else minibatch.advantages.index_select(0, rows)
            minibatch.advantages = standardized(minibatch.advantages, sample)
        losses, measured = self._losses(self.augment(minibatch))
        total = functools.reduce(operator.add, losses.values())
        measured.update({name: loss.detach() for name, loss in losses.items()})
        measured["loss/total"] = total.detach()
        return total, measured

    def _losses(self, minibatch: Batch) -> Tuple[Dict[str, torch.Tensor], Dict[str, torch.Tensor]]:
        """Return the losses by name, with their graphs, and further figures, without."""
        cfg = self.cfg
        with autocast(self.device, self._precision):
            evaluated, values = self.evaluate(minibatch)
        rows = minibatch.transitions()
        if rows is not None:
            # Reset-only rows went through a recurrent model with their blocks; from here on they are gone.
            evaluated = _transitions_of(evaluated, rows, len(values))
            minibatch, values = minibatch.select(rows), values.index_select(0, rows)
        entropy = evaluated["entropy"].mean()
        losses = {
            "loss/policy": self.policy_loss(minibatch, evaluated),
            "loss/value": cfg.value_loss_scale * self.value_loss(minibatch, values),
            # Without a scale the bonus has no gradient, and none is computed.
            "loss/entropy": -cfg.entropy_loss_scale * (entropy if cfg.entropy_loss_scale else entropy.detach()),
        }
        losses.update({"loss/" + name: loss for name, loss in self.extra_losses(minibatch, evaluated).items()})
        with torch.no_grad():
            return losses, dict(self.diagnose(minibatch, evaluated), **{"policy/entropy": entropy.detach()})

    def _descend(self, loss: torch.Tensor) -> torch.Tensor:
        for parameter in self._parameters:
            parameter.grad = None
        self._step_guard.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        gradient_norm, norms = clip_gradient_norm(self._parameters, self.cfg.grad_norm_clip)
        self._gradient_norms.append(norms)
        self._step_guard.step(loss, gradient_norm)
        return gradient_norm

    def _mean(self, values: torch.Tensor, measured: Dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the mean over minibatches, without those that were skipped; NaN if none is left."""
        if not self._skips:
            return values.mean()
        taken = torch.isfinite(measured["loss/total"] + measured["gradient/norm"])
        return torch.where(taken, values, torch.zeros_like(values)).sum() / taken.sum()

    def check_learning(self) -> None:
        """Name the first loss or gradient of the update that was not finite; one read from the device.

        Raises:
            NonFiniteError: There was one, and none is to be skipped or none was left.
        """
        faults = self._step_guard.faults()
        if not faults:
            return
        joined = {name: torch.cat([measured[name] for measured in self._passes]) for name in self._passes[0]}
        wrong = ~torch.isfinite(joined["loss/total"] + joined["gradient/norm"])
        first, steps = int(wrong.nonzero()[0]), len(wrong)
        left_out = faults if self._skips else steps - first
        site, key, value = self._name_fault({name: float(values[first]) for name, values in joined.items()}, first)
        pass_, minibatch = divmod(first, len(self._passes[0]["loss/total"]))
        error = NonFiniteError(
            "The {} '{}' is {} in minibatch {} of pass {}. {} of {} steps were left out; parameters and moments hold "
            "nothing of them. Lower the learning rate, clip gradients (grad_norm_clip), or look for a division, "
            "logarithm or root in models and losses.".format(site, key, value, minibatch, pass_, left_out, steps),
            site,
            key,
        )
        if not self._skips or left_out == steps:
            raise error
        self.finite_guard.count(error, left_out)

    def _name_fault(self, measured: Dict[str, float], step: int) -> Tuple[str, str, float]:
        for name, value in measured.items():
            if name.startswith("loss/") and name != "loss/total" and not math.isfinite(value):
                return "loss", name[len("loss/") :], value
        if not math.isfinite(measured["loss/total"]):
            return "loss", "total", measured["loss/total"]
        name, norm = self._wrong_gradient(step)
        return "gradient", name, norm

    def _wrong_gradient(self, step: int) -> Tuple[str, float]:
        """Return name and norm of the first gradient of a step that was not finite."""
        norms = self._gradient_norms[step].tolist()
        names = {
            id(item): role + "." + name
            for role, model in self.models.items()
            for name, item in model.named_parameters()
        }
        present = [names.get(id(item), "?") for item in self._parameters if item.grad is not None]
        for name, norm in zip(present, norms):
            if not math.isfinite(norm):
                return name, norm
        return "norm of all", float("inf")

    def evaluate(self, minibatch: Batch) -> Tuple[ModelOutput, torch.Tensor]:
        """Return what the present policy says of the stored actions, and the present values ``(B, 1)``."""
        evaluated = self.evaluate_policy(minibatch)
        return evaluated, evaluated["values"].float() if self.shares_model else self.evaluate_values(minibatch)

    def evaluate_policy(self, minibatch: Batch) -> ModelOutput:
        """Return what the present policy says of the stored actions."""
        actions: Any = minibatch.actions
        if not self.policy.names_actions:
            actions = next(iter(actions.values()))
        return self.policy.evaluate(self.policy.select_inputs(minibatch.inputs("policy")), actions)

    def evaluate_values(self, minibatch: Batch) -> torch.Tensor:
        """Return the present values of a value function that is a model of its own, ``(B, 1)``."""
        outputs = self.value.act(self.value.select_inputs(minibatch.inputs("value")))
        values = outputs if isinstance(outputs, torch.Tensor) else outputs["values"]
        return values.float()

    def diagnose(self, minibatch: Batch, evaluated: ModelOutput) -> Dict[str, torch.Tensor]:
        """Return figures of a minibatch to log, each of shape ``()``; ``"policy/kl"`` is what schedulers go by."""
        parameters = {name: evaluated[name] for name in minibatch.parameters}
        return {"policy/kl": self.policy.kl(minibatch.parameters, parameters).mean()}

    def _track_deviation(self, batch: Batch) -> None:
        """Report the mean standard deviation with which the actions of the rollout were drawn."""
        stds = [value.exp().mean() for name, value in batch.parameters.items() if name.split("/")[-1] == "log_std"]
        if stds:
            self.track("policy/std", torch.stack(stds).mean())

    def _schedule(self, epoch: Dict[str, torch.Tensor]) -> None:
        if self.scheduler is not None:
            self.scheduler.step(epoch.get("policy/kl"), epoch["loss/total"])

    # ------------------------------------------------------------------ seams

    @abc.abstractmethod
    def policy_loss(self, minibatch: Batch, evaluated: ModelOutput) -> torch.Tensor:
        """Return the policy's loss, shape ``()``.

        Args:
            minibatch: The rows.
            evaluated: ``"log_prob"``, ``"entropy"`` and parameters under the present policy.
        """

    def value_loss(self, minibatch: Batch, values: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the values, shape ``()``.

        Args:
            minibatch: The rows.
            values: Present values, ``(B, 1)``, in the units of ``minibatch.returns``.
        """
        return (values - minibatch.returns).square().mean()

    def extra_losses(self, minibatch: Batch, evaluated: ModelOutput) -> Dict[str, torch.Tensor]:
        """Return further losses by name, each of shape ``()``, to be added and logged; none by default."""
        return {}

    def augment(self, minibatch: Batch) -> Batch:
        """Return the rows to learn from, for example with mirrored copies; unchanged by default."""
        return minibatch


def _transitions_of(outputs: ModelOutput, rows: torch.Tensor, total: int) -> ModelOutput:
    """Return some rows of a model's outputs; what has other rows, such as a state or a parameter, stays as it is."""

    def is_of_rows(value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == total

    return {name: value.index_select(0, rows) if is_of_rows(value) else value for name, value in outputs.items()}


def trainable_parameters(model: torch.nn.Module) -> List[torch.nn.Parameter]:
    """Return what an optimiser may change."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def standardized(values: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
    """Return values in units of a sample: its mean is 0 and its deviation 1."""
    # The biased estimator and the floor keep a sample of one row finite.
    deviation, mean = torch.std_mean(sample, unbiased=False)
    return (values - mean) / (deviation + math.sqrt(torch.finfo(values.dtype).eps))
