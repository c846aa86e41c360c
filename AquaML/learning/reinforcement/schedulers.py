"""Learning-rate schedules, called in one form whatever their kind."""

import inspect
import warnings
from collections import Counter
from typing import Any, Dict, Optional, Type, Union

import torch

from AquaML.compat import scheduler_base_class
from AquaML.errors import ConfigError, StateError, did_you_mean
from AquaML.stateful import kind_differences, require_dictionary, require_keys


class KLAdaptiveLR:
    """Keeps the policy's change per update near a target by scaling the learning rate.

    If the divergence exceeds ``kl_threshold * kl_factor`` the rate is divided by ``lr_factor``, if it is below
    ``kl_threshold / kl_factor`` it is multiplied by it (Schulman et al., 2017, adaptive KL; here applied to the
    learning rate as in Rudin et al., 2022, "Learning to walk in minutes").

    Args:
        optimizer: Whose rates are scaled, all groups alike.
        kl_threshold: Target divergence in nats.
        kl_factor: Tolerance around the target.
        min_lr: Lower bound.
        max_lr: Upper bound.
        lr_factor: Step of the change.

    Raises:
        ConfigError: A value is out of range.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        kl_threshold: float = 0.008,
        kl_factor: float = 2.0,
        min_lr: float = 1e-6,
        max_lr: float = 1e-2,
        lr_factor: float = 1.5,
    ) -> None:
        for name, value, bound in (
            ("kl_threshold", kl_threshold, 0.0),
            ("kl_factor", kl_factor, 1.0),
            ("lr_factor", lr_factor, 1.0),
            ("min_lr", min_lr, 0.0),
            ("max_lr", max_lr, min_lr),
        ):
            if not value > bound:
                raise ConfigError(
                    "KLAdaptiveLR.{} is {!r}; expected a value greater than {}.".format(name, value, bound)
                )
        self.optimizer = optimizer
        self.kl_threshold = kl_threshold
        self.kl_factor = kl_factor
        self.min_lr = min_lr
        self.max_lr = max_lr
        self.lr_factor = lr_factor

    def step(self, kl: float) -> None:
        """Change the learning rate.

        Args:
            kl: Mean divergence between the policy that acted and the present one.
        """
        if kl > self.kl_threshold * self.kl_factor:
            factor = 1.0 / self.lr_factor
        elif kl < self.kl_threshold / self.kl_factor:
            factor = self.lr_factor
        else:
            return
        for group in self.optimizer.param_groups:
            if group["lr"] == 0.0:
                continue  # Switched off on purpose; the lower bound must not switch it on.
            group["lr"] = min(max(group["lr"] * factor, self.min_lr), self.max_lr)

    def state_dict(self) -> Dict[str, Any]:
        """Return the learning rates."""
        return {"learning_rates": [float(group["lr"]) for group in self.optimizer.param_groups]}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Restore the learning rates."""
        for group, rate in zip(self.optimizer.param_groups, state["learning_rates"]):
            group["lr"] = rate


class LearningRateSchedule:
    """One face for :class:`KLAdaptiveLR` and every scheduler of ``torch.optim.lr_scheduler``.

    Args:
        optimizer: Whose rates are changed.
        scheduler: ``"KLAdaptiveLR"``, the name of a torch scheduler, or a class.
        arguments: Keyword arguments of the scheduler.

    Raises:
        ConfigError: The name is unknown or an argument does not fit.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, scheduler: Union[str, Type[Any]], arguments: Dict[str, Any]
    ) -> None:
        chosen = scheduler_class(scheduler)
        known = inspect.signature(chosen.__init__).parameters
        for name in arguments:
            if name not in known and not any(item.kind is item.VAR_KEYWORD for item in known.values()):
                raise ConfigError(
                    "learning_rate_scheduler_kwargs has '{}', which {} does not take.{}".format(
                        name, chosen.__name__, did_you_mean(name, [item for item in known if item != "self"])
                    )
                )
        try:
            self.scheduler = chosen(optimizer, **arguments)
        except ConfigError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError("{} cannot be made with {}: {}".format(chosen.__name__, arguments, error)) from error
        self.needs_kl = isinstance(self.scheduler, KLAdaptiveLR)
        self._metric: Optional[str] = None
        if self.needs_kl:
            self._metric = "kl"
        elif isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self._metric = "loss"

    @property
    def needs_metric(self) -> bool:
        """Whether :meth:`step` looks at its arguments, so that the host must read them."""
        return self._metric is not None

    def step(self, kl: Any, loss: Any) -> None:
        """Advance the schedule.

        Args:
            kl: Mean divergence of the policy; read by :class:`KLAdaptiveLR`.
            loss: Mean total loss; read by ``ReduceLROnPlateau``.
        """
        with warnings.catch_warnings():
            # torch suspects a mistake where the optimiser has not stepped yet: a policy may wait for its critic, and a
            # step may have been left out.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
            if self._metric is None:
                self.scheduler.step()
            else:
                self.scheduler.step(float(kl if self._metric == "kl" else loss))

    def state_dict(self) -> Dict[str, Any]:
        """Return the scheduler's state without functions."""
        return _without_functions(self.scheduler.state_dict())

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare the names of a saved state with the present one.

        Raises:
            StateError: Names are missing or unknown.
        """
        require_dictionary(state, type(self.scheduler).__name__)
        # Before torch 2 a ReduceLROnPlateau has this entry only after its first step.
        present, owner = self.state_dict(), type(self.scheduler).__name__
        require_keys(dict(state, _last_lr=None), set(present) | {"_last_lr"}, owner)
        lines = kind_differences(present, state, owner)
        if lines:
            raise StateError("{}: {}".format(owner, "; ".join(lines)))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Restore the scheduler's state."""
        self.scheduler.load_state_dict(_with_counters(state, self.scheduler.state_dict()))


def _without_functions(value: Any) -> Any:
    if isinstance(value, dict) and not isinstance(value, Counter):
        return {name: _without_functions(item) for name, item in value.items() if not callable(item)}
    if isinstance(value, list):
        return [_without_functions(item) for item in value]
    return value


def _with_counters(saved: Any, current: Any) -> Any:
    """Return a saved state with a ``Counter`` where the present one has it: MultiStepLR's milestones, nested or not."""
    if isinstance(current, Counter):
        return Counter(saved)
    if isinstance(current, dict) and isinstance(saved, dict):
        return {name: _with_counters(item, current.get(name)) for name, item in saved.items()}
    if isinstance(current, list) and isinstance(saved, list) and len(current) == len(saved):
        return [_with_counters(item, present) for item, present in zip(saved, current)]
    return saved


def scheduler_class(scheduler: Union[str, Type[Any]]) -> Type[Any]:
    """Find a scheduler's class by name; a class is returned as it is.

    Raises:
        ConfigError: There is no such scheduler.
    """
    if not isinstance(scheduler, str):
        return scheduler
    if scheduler == KLAdaptiveLR.__name__:
        return KLAdaptiveLR
    bases = (scheduler_base_class(), torch.optim.lr_scheduler.ReduceLROnPlateau)
    known = {
        name: item
        for name, item in vars(torch.optim.lr_scheduler).items()
        if inspect.isclass(item) and issubclass(item, bases) and not name.startswith("_") and item not in bases[:1]
    }
    if scheduler not in known:
        raise ConfigError(
            "learning_rate_scheduler is {!r}; expected 'KLAdaptiveLR', a class, or the name of a torch "
            "scheduler.{}".format(scheduler, did_you_mean(scheduler, list(known) + [KLAdaptiveLR.__name__]))
        )
    return known[scheduler]
