"""Beta policies on the range of the action."""

from typing import Dict, Optional, Tuple

import torch
from torch.nn import functional

from AquaML.environment.spaces import TensorSpec
from AquaML.learning.model.action_range import ActionRange
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.model.stochastic import Parameters, StochasticModel, sum_dimensions

_MARGIN = 1e-6
"""Actions nearer to a bound than this share of the range are judged as if they were this far from it."""


class BetaModel(StochasticModel):
    """A policy whose action dimensions are independent Beta variables on their range.

    Nothing is cut off at the bounds, so that the policy's gradient has no bias there (Chou, Maturana and Scherer, 2017,
    "Improving stochastic policy gradients in continuous control with deep reinforcement learning using the Beta
    distribution"). ``compute`` returns ``"alpha"`` and ``"beta"``, real numbers ``(B, *action_shape)``, and
    ``1 + softplus`` of them are the parameters, which keeps the density unimodal. The action's range is that of the
    action space, or -1 … 1 where the wrapper rescales (``action_bounds="rescale"``).

    Args:
        model_cfg: Inputs and device.
    """

    output_name = "alpha"

    def __init__(self, model_cfg: ModelCfg) -> None:
        super().__init__(model_cfg)
        self.action_range = ActionRange()
        self._action_shape: Optional[Tuple[int, ...]] = None

    def bind_actions(self, specs: Dict[str, TensorSpec]) -> None:
        """Accept one bounded Box action."""
        self._action_shape = self.action_range.bind(specs, type(self).__name__).shape

    def parameters_of(self, outputs: ModelOutput, rows: int) -> Parameters:
        """Return ``"alpha"`` and ``"beta"``, both above 1, float32 of the action's shape."""
        parameters: Parameters = {}
        for name in ("alpha", "beta"):
            shape: Tuple[Optional[int], ...] = (rows,) + (self._action_shape or (None,))
            raw = self.require_output(outputs, name, shape)
            parameters[name] = 1.0 + functional.softplus(raw.float())
        return parameters

    def sample(self, parameters: Parameters) -> torch.Tensor:
        """Draw actions."""
        both = torch.stack([parameters["alpha"], parameters["beta"]], dim=-1)
        return self.action_range.from_unit(torch.distributions.Dirichlet(both, validate_args=False).sample()[..., 0])

    def mode(self, parameters: Parameters) -> torch.Tensor:
        """Return the likeliest actions; of a flat density, the middle of the range."""
        above, below = parameters["alpha"] - 1.0, parameters["beta"] - 1.0
        total = above + below
        flat = total < _MARGIN
        place = torch.where(flat, torch.full_like(total, 0.5), above / torch.where(flat, torch.ones_like(total), total))
        return self.action_range.from_unit(place)

    def log_prob(self, parameters: Parameters, actions: torch.Tensor) -> torch.Tensor:
        """Return the log-density of actions in their own units, ``(B, 1)``."""
        place = self.action_range.to_unit(actions, _MARGIN)
        alpha, beta = parameters["alpha"], parameters["beta"]
        density = (alpha - 1.0) * place.log() + (beta - 1.0) * torch.log1p(-place) - _log_beta(alpha, beta)
        return sum_dimensions(density - self.action_range.log_width)

    def entropy(self, parameters: Parameters) -> torch.Tensor:
        """Return the differential entropy, ``(B, 1)``."""
        alpha, beta = parameters["alpha"], parameters["beta"]
        total = alpha + beta
        entropy = (
            _log_beta(alpha, beta)
            - (alpha - 1.0) * torch.digamma(alpha)
            - (beta - 1.0) * torch.digamma(beta)
            + (total - 2.0) * torch.digamma(total)
        )
        return sum_dimensions(entropy + self.action_range.log_width)

    def kl(self, old: Parameters, new: Parameters) -> torch.Tensor:
        """Return the divergence in closed form, ``(B, 1)``."""
        alpha, beta, total = old["alpha"], old["beta"], old["alpha"] + old["beta"]
        more, less = new["alpha"] - alpha, new["beta"] - beta
        divergence = (
            _log_beta(new["alpha"], new["beta"])
            - _log_beta(alpha, beta)
            - more * torch.digamma(alpha)
            - less * torch.digamma(beta)
            + (more + less) * torch.digamma(total)
        )
        return sum_dimensions(divergence)


def _log_beta(alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    return torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)
