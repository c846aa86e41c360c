"""Gaussian policies squashed into the range of the action."""

import math
from typing import Dict, Tuple

import numpy as np
import torch
from torch.nn import functional

from AquaML.environment.spaces import TensorSpec
from AquaML.learning.model.action_range import ActionRange
from AquaML.learning.model.gaussian import HALF_LOG_TWO_PI, GaussianModel, dimensions
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.model.stochastic import Parameters, sum_dimensions

_MARGIN = 1e-6
"""Actions nearer to a bound than this share of the range are judged as if they were this far from it: float32 cannot
tell how far in the tail they were drawn."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)


class SquashedGaussianModel(GaussianModel):
    """A Gaussian variable ``u`` squashed by ``tanh`` into the bounds of the action (Haarnoja et al., 2018, appendix C).

    ``compute`` returns what it does for :class:`GaussianModel`, about ``u``: ``"mean_actions"`` and ``"log_std"``. The
    action's range is that of the action space, or -1 … 1 where the wrapper rescales (``action_bounds="rescale"``).

    The divergence is that of the Gaussians, since squashing loses nothing. The entropy has no closed form; it is
    integrated by Gauss-Hermite quadrature with 64 nodes, without chance and with a gradient.

    Args:
        model_cfg: Inputs and device.
        min_log_std: Lower bound of the logarithm of the standard deviation of ``u``.
        max_log_std: Upper bound of it.
    """

    def __init__(self, model_cfg: ModelCfg, min_log_std: float = -5.0, max_log_std: float = 2.0) -> None:
        super().__init__(model_cfg, min_log_std, max_log_std)
        self.action_range = ActionRange()

    def bind_actions(self, specs: Dict[str, TensorSpec]) -> None:
        """Accept one bounded Box action."""
        spec = self.action_range.bind(specs, type(self).__name__)
        self._action_shape = spec.shape

    def sample(self, parameters: Parameters) -> torch.Tensor:
        """Draw actions."""
        return self._squashed(super().sample(parameters))

    def sample_with_log_prob(self, parameters: Parameters) -> Tuple[torch.Tensor, torch.Tensor]:
        """Draw actions; their log-density comes from ``u`` itself, exact however near the bounds they are."""
        mean, log_std = parameters["mean_actions"], parameters["log_std"]
        noise = torch.randn_like(mean)
        inner = torch.addcmul(mean, log_std.exp(), noise)
        # The density of u at mean + std * noise depends on the mean no more: noise is what (u - mean) / std is.
        information = torch.addcmul(log_std, noise, noise, value=0.5) + self._log_slope(inner)
        return self._squashed(inner), -HALF_LOG_TWO_PI * dimensions(log_std) - sum_dimensions(information)

    def mode(self, parameters: Parameters) -> torch.Tensor:
        """Return the squashed means, which are the medians."""
        return self._squashed(super().mode(parameters))

    def _squashed(self, inner: torch.Tensor) -> torch.Tensor:
        return self.action_range.from_unit(torch.sigmoid(2.0 * inner))

    def log_prob(self, parameters: Parameters, actions: torch.Tensor) -> torch.Tensor:
        """Return the log-density of actions in their own units, ``(B, 1)``."""
        # tanh(u) = 2 sigmoid(2 u) - 1, so that places in 0 … 1 keep their digits near both bounds.
        inner = 0.5 * torch.logit(self.action_range.to_unit(actions, _MARGIN))
        return super().log_prob(parameters, inner) - sum_dimensions(self._log_slope(inner))

    def entropy(self, parameters: Parameters) -> torch.Tensor:
        """Return the differential entropy, ``(B, 1)``."""
        mean, std = parameters["mean_actions"], parameters["log_std"].exp()
        nodes = torch.as_tensor(_NODES, dtype=mean.dtype, device=mean.device)
        weights = torch.as_tensor(_WEIGHTS / math.sqrt(2.0 * math.pi), dtype=mean.dtype, device=mean.device)
        expected = (self._log_slope(mean.unsqueeze(-1) + std.unsqueeze(-1) * nodes, per_node=True) * weights).sum(
            dim=-1
        )
        return super().entropy(parameters) + sum_dimensions(expected)

    def _log_slope(self, inner: torch.Tensor, per_node: bool = False) -> torch.Tensor:
        """Return the logarithm of the action's derivative by ``u``: of ``width / 2 * (1 - tanh(u)^2)``."""
        width = self.action_range.log_width
        doubled = 2.0 * inner
        # The place in 0 … 1 is p = sigmoid(2 u), and its derivative 2 p (1 - p).
        slope = torch.sub(2.0 * functional.logsigmoid(doubled), doubled)
        return slope + (math.log(2.0) + (width.unsqueeze(-1) if per_node else width))
