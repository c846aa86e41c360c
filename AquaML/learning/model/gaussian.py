"""Diagonal Gaussian policies in closed form."""

import math
from typing import Any, Dict, Optional, Tuple

import torch

from AquaML.environment.spaces import BOX, TensorSpec
from AquaML.errors import ModelError
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.model.stochastic import Parameters, StochasticModel, sum_dimensions

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class GaussianModel(StochasticModel):
    """A policy whose action dimensions are independent normal variables.

    ``compute`` returns ``"mean_actions"`` ``(B, *action_shape)`` and ``"log_std"``, which may depend on the state or
    be a free parameter expanded to that shape. If ``compute`` returns no ``"log_std"``, the attribute
    ``log_std_parameter`` is used.

    ``"log_std"`` is cut to its bounds. At a bound and beyond, a gradient that would lead further out is zero, and one
    that leads back in passes, so that a parameter neither wanders off nor stays there for ever. For a network's output,
    :func:`softly_bounded` has a gradient everywhere.

    Args:
        model_cfg: Inputs and device.
        min_log_std: Lower bound of the logarithm of the standard deviation, its floor.
        max_log_std: Upper bound of the logarithm of the standard deviation, its cap.

    Raises:
        ModelError: The bounds are not in order.
    """

    output_name = "mean_actions"
    is_reparameterized = True

    def __init__(self, model_cfg: ModelCfg, min_log_std: float = -20.0, max_log_std: float = 2.0) -> None:
        super().__init__(model_cfg)
        if not min_log_std < max_log_std:
            raise ModelError(
                "min_log_std is {} and max_log_std is {}; expected the first to be less.".format(
                    min_log_std, max_log_std
                )
            )
        self.min_log_std = float(min_log_std)
        self.max_log_std = float(max_log_std)
        self._action_shape: Optional[Tuple[int, ...]] = None

    def bind_actions(self, specs: Dict[str, TensorSpec]) -> None:
        """Accept one Box action."""
        spec = next(iter(specs.values()))
        if len(specs) != 1 or spec.kind != BOX:
            raise ModelError(
                "{} is a Gaussian policy for one Box action, but the actions are {}. Use CategoricalModel for "
                "Discrete, MultiCategoricalModel for MultiDiscrete, CompositeModel for several actions.".format(
                    type(self).__name__, {name: spec.kind for name, spec in specs.items()}
                )
            )
        self._action_shape = spec.shape

    def parameters_of(self, outputs: ModelOutput, rows: int) -> Parameters:
        """Return ``"mean_actions"`` and the bounded ``"log_std"``, both float32 of the action's shape."""
        mean = self._means_of(outputs, rows)
        log_std = outputs.get("log_std", getattr(self, "log_std_parameter", None))
        if log_std is None:
            raise ModelError(
                "{0}.compute must return 'log_std' beside 'mean_actions', or {0} must have an attribute "
                "log_std_parameter; it returned {1}.".format(type(self).__name__, sorted(outputs))
            )
        if not isinstance(log_std, torch.Tensor):
            raise ModelError(
                "{}.compute returned 'log_std' as {}; expected a tensor of shape {} like 'mean_actions', or one that "
                "expands to it.".format(type(self).__name__, type(log_std).__name__, tuple(mean.shape))
            )
        try:
            # Bounded before it is expanded: a free parameter is one row, whatever the batch.
            limited = self.limit_log_std(log_std.float()).expand(mean.shape)
        except RuntimeError as error:
            raise ModelError(
                "{}.compute returned 'log_std' of shape {}; expected {} like 'mean_actions'.".format(
                    type(self).__name__, tuple(log_std.shape), tuple(mean.shape)
                )
            ) from error
        return {"mean_actions": mean, "log_std": limited}

    def limit_log_std(self, log_std: torch.Tensor) -> torch.Tensor:
        """Return ``compute``'s ``"log_std"`` within the bounds; override it for another way than cutting.

        Args:
            log_std: Any shape that expands to the actions'.
        """
        return bounded(log_std, self.min_log_std, self.max_log_std)

    def _means_of(self, outputs: ModelOutput, rows: int) -> torch.Tensor:
        mean = outputs.get("mean_actions")
        if self._action_shape is not None:
            expected: Tuple[Optional[int], ...] = (rows,) + self._action_shape
        else:
            expected = (rows,) + (None,) * max(1, mean.dim() - 1 if isinstance(mean, torch.Tensor) else 1)
        return self.require_output(outputs, "mean_actions", expected).float()

    def sample(self, parameters: Parameters) -> torch.Tensor:
        """Draw actions of the means' shape."""
        mean = parameters["mean_actions"]
        return torch.addcmul(mean, parameters["log_std"].exp(), torch.randn_like(mean))

    def mode(self, parameters: Parameters) -> torch.Tensor:
        """Return the means."""
        return parameters["mean_actions"]

    def log_prob(self, parameters: Parameters, actions: torch.Tensor) -> torch.Tensor:
        """Return the log-density, ``(B, 1)``."""
        log_std = parameters["log_std"]
        standardised = (actions - parameters["mean_actions"]) / log_std.exp()
        distance = sum_dimensions(torch.addcmul(log_std, standardised, standardised, value=0.5))
        return -HALF_LOG_TWO_PI * dimensions(log_std) - distance

    def entropy(self, parameters: Parameters) -> torch.Tensor:
        """Return the differential entropy, ``(B, 1)``."""
        log_std = parameters["log_std"]
        return sum_dimensions(log_std) + (0.5 + HALF_LOG_TWO_PI) * dimensions(log_std)

    def kl(self, old: Parameters, new: Parameters) -> torch.Tensor:
        """Return the divergence in closed form, ``(B, 1)``."""
        twice = 2.0 * (old["log_std"] - new["log_std"])
        shift = (old["mean_actions"] - new["mean_actions"]) / new["log_std"].exp()
        # expm1 keeps the digits of small divergences, in which 1 + x - 1 would lose them.
        return 0.5 * sum_dimensions(torch.addcmul(torch.expm1(twice) - twice, shift, shift))


def bounded(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Cut values to bounds; at a bound and beyond, only gradients whose descent leads back in pass.

    Args:
        values: Any shape.
        low: Lower bound.
        high: Upper bound.
    """
    return _Bounded.apply(values, low, high) if torch.is_grad_enabled() else values.clamp(low, high)


class _Bounded(torch.autograd.Function):
    """``clamp``, whose own gradient would be zero beyond a bound in both directions."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, low: float, high: float) -> torch.Tensor:
        ctx.save_for_backward(values)
        ctx.low, ctx.high = low, high
        return values.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Tuple[torch.Tensor, None, None]:
        (values,) = ctx.saved_tensors
        outward = ((values <= ctx.low) & (gradient > 0.0)) | ((values >= ctx.high) & (gradient < 0.0))
        return gradient.masked_fill(outward, 0.0), None, None


def softly_bounded(raw: torch.Tensor, low: float, high: float, start: float) -> torch.Tensor:
    """Map real numbers between bounds by a sigmoid, so that there is a gradient everywhere.

    Args:
        raw: Any shape, for example a network's output.
        low: Lower bound.
        high: Upper bound.
        start: The value at ``raw = 0``, between the bounds; the slope there is 1.
    """
    share = (start - low) / (high - low)
    slope = 1.0 / ((high - low) * share * (1.0 - share))
    # The bounds hold to the last digit, whatever the rounding.
    return (low + (high - low) * torch.sigmoid(slope * raw + math.log(share / (1.0 - share)))).clamp(low, high)


def dimensions(values: torch.Tensor) -> int:
    """Return the number of action dimensions of ``(B, *action_shape)`` values."""
    return values.numel() // max(1, len(values))
