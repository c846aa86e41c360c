"""Gaussian policies with a full covariance, in closed form."""

from typing import Optional, Tuple

import torch

from AquaML.compat import solve_lower_triangular
from AquaML.errors import ModelError
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.model.gaussian import HALF_LOG_TWO_PI, GaussianModel
from AquaML.learning.model.stochastic import Parameters, sum_dimensions


class MultivariateGaussianModel(GaussianModel):
    """A policy whose action dimensions are normal variables that depend on each other.

    The covariance of the ``D`` dimensions is ``L @ L.T`` with a lower triangular Cholesky factor ``L``. ``compute``
    returns ``"mean_actions"`` ``(B, *action_shape)`` and ``"cholesky"`` ``(B, D * (D + 1) / 2)``, the entries of ``L``
    row by row (the order of ``torch.tril_indices``), in which the entries on the diagonal stand as logarithms: ``[log
    L11, L21, log L22, L31, L32, log L33, …]``. They may depend on the state or be a free parameter expanded to that
    shape. If ``compute`` returns no ``"cholesky"``, the attribute ``cholesky_parameter`` is used. All zeros are the
    standard normal distribution.

    The logarithms on the diagonal are cut to the bounds as :class:`GaussianModel` cuts ``"log_std"``. The standard
    deviation of a dimension is the length of its row of ``L``, so it never falls under ``exp(min_log_std)``; the cap
    holds for the diagonal, which alone decides the entropy.

    Args:
        model_cfg: Inputs and device.
        min_log_std: Lower bound of the logarithms on the diagonal.
        max_log_std: Upper bound of the logarithms on the diagonal.
    """

    def parameters_of(self, outputs: ModelOutput, rows: int) -> Parameters:
        """Return the distribution's parameters, all float32.

        They are ``"mean_actions"``, ``"cholesky"`` with a bounded diagonal, and, since it tells more than those do,
        ``"log_std"`` of each dimension, of the action's shape.
        """
        mean = self._means_of(outputs, rows)
        dimensions = mean.flatten(1).shape[1]
        given = self._entries_of(outputs, dimensions)
        row, column = torch.tril_indices(dimensions, dimensions, device=mean.device)
        limited = torch.where(row == column, self.limit_log_std(given), given)
        entries = limited.expand(len(mean), -1)
        log_std = 0.5 * cholesky_factor(entries, dimensions)[0].square().sum(dim=-1).log()
        return {"mean_actions": mean, "cholesky": entries, "log_std": log_std.reshape(mean.shape)}

    def _entries_of(self, outputs: ModelOutput, dimensions: int) -> torch.Tensor:
        """Return the entries that ``compute`` gave, ``(B, n)``, or the parameter, ``(1, n)``."""
        size = dimensions * (dimensions + 1) // 2
        entries: Optional[torch.Tensor] = outputs.get("cholesky", getattr(self, "cholesky_parameter", None))
        if not isinstance(entries, torch.Tensor) or entries.dim() not in (1, 2) or entries.shape[-1] != size:
            raise ModelError(
                "{0}.compute must return 'cholesky' of shape (B, {1}) for {2} action dimensions, or {0} must have an "
                "attribute cholesky_parameter of shape ({1},); it is {3}.".format(
                    type(self).__name__,
                    size,
                    dimensions,
                    "missing" if entries is None else tuple(getattr(entries, "shape", ())) or type(entries).__name__,
                )
            )
        return entries.float().reshape(-1, size)

    def sample(self, parameters: Parameters) -> torch.Tensor:
        """Draw actions of the means' shape."""
        mean = parameters["mean_actions"]
        flat = mean.flatten(1)
        factor, _ = cholesky_factor(parameters["cholesky"], flat.shape[1])
        # A sum and no matrix product, which mixed precision would round.
        drawn = flat + (factor * torch.randn_like(flat).unsqueeze(1)).sum(dim=-1)
        return drawn.reshape(mean.shape)

    def log_prob(self, parameters: Parameters, actions: torch.Tensor) -> torch.Tensor:
        """Return the log-density, ``(B, 1)``."""
        offset = (actions - parameters["mean_actions"]).flatten(1)
        factor, log_diagonal = cholesky_factor(parameters["cholesky"], offset.shape[1])
        standardised = solve_lower_triangular(factor, offset.unsqueeze(-1)).squeeze(-1)
        distance = sum_dimensions(torch.addcmul(log_diagonal, standardised, standardised, value=0.5))
        return -HALF_LOG_TWO_PI * offset.shape[1] - distance

    def entropy(self, parameters: Parameters) -> torch.Tensor:
        """Return the differential entropy, ``(B, 1)``."""
        dimensions = parameters["mean_actions"].flatten(1).shape[1]
        _, log_diagonal = cholesky_factor(parameters["cholesky"], dimensions)
        return sum_dimensions(log_diagonal) + (0.5 + HALF_LOG_TWO_PI) * dimensions

    def kl(self, old: Parameters, new: Parameters) -> torch.Tensor:
        """Return the divergence in closed form, ``(B, 1)``."""
        shift = (old["mean_actions"] - new["mean_actions"]).flatten(1)
        old_factor, old_log = cholesky_factor(old["cholesky"], shift.shape[1])
        new_factor, new_log = cholesky_factor(new["cholesky"], shift.shape[1])
        solved = solve_lower_triangular(new_factor, torch.cat([old_factor, shift.unsqueeze(-1)], dim=-1))
        # On the diagonal stands the quotient of the diagonals; expm1 keeps the digits of small divergences.
        twice = 2.0 * (old_log - new_log)
        apart = torch.cat([solved[..., :-1].tril(-1), solved[..., -1:]], dim=-1).square().sum(dim=-1)
        return 0.5 * sum_dimensions(torch.expm1(twice) - twice + apart)


def cholesky_factor(entries: torch.Tensor, dimensions: int) -> Tuple[torch.Tensor, torch.Tensor]:
    """Put a factor together from its entries.

    Args:
        entries: ``(B, D * (D + 1) / 2)``, the lower triangle row by row with logarithms on the diagonal.
        dimensions: ``D``.

    Returns:
        The factor ``(B, D, D)`` and the logarithms of its diagonal ``(B, D)``.
    """
    number = torch.arange(dimensions, device=entries.device)
    # Where each entry of the square stands; above the diagonal there is none, and what is taken instead is cut off.
    places = ((number * (number + 1) // 2).unsqueeze(1) + number).clamp(max=entries.shape[1] - 1)
    square = entries.index_select(1, places.flatten()).reshape(-1, dimensions, dimensions)
    log_diagonal = square.diagonal(dim1=-2, dim2=-1)
    return square.tril(-1) + torch.diag_embed(log_diagonal.exp()), log_diagonal
