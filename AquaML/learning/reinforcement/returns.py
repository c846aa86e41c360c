"""The one generalised-advantage function of the library."""

from typing import Optional

import torch


def generalized_advantage(
    rewards: torch.Tensor,
    values: torch.Tensor,
    next_values: torch.Tensor,
    terminated: torch.Tensor,
    truncated: torch.Tensor,
    discount_factor: float,
    gae_lambda: float,
    valid: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """Estimate advantages (Schulman et al., 2016, "High-dimensional continuous control using generalized advantage
    estimation"), cut at every end of an episode.

    With ``d = terminated or truncated``::

        delta_t = r_t + gamma * (1 - terminated_t) * V(s'_t) - V(s_t)
        A_t     = delta_t + gamma * lambda * (1 - d_t) * A_{t+1}

    A termination has no future; at a time limit the future counts by ``V(s'_t)``, the value of the true successor.

    Args:
        rewards: ``(T, N, 1)``.
        values: ``V(s_t)``, ``(T, N, 1)``.
        next_values: ``V(s'_t)``, ``(T, N, 1)``; what it holds where ``terminated`` is set does not matter.
        terminated: ``(T, N, 1)`` bool.
        truncated: ``(T, N, 1)`` bool.
        discount_factor: gamma, 0 … 1.
        gae_lambda: lambda, 0 … 1.
        valid: ``(T, N, 1)`` bool; rows that are False get advantage 0 and influence nothing. They follow a row that
            ended an episode. None: all are valid.

    Returns:
        Advantages ``(T, N, 1)``; adding ``values`` gives the returns.
    """
    nothing = torch.zeros((), dtype=values.dtype, device=values.device)
    deltas = rewards + discount_factor * torch.where(terminated, nothing, next_values) - values
    if valid is not None:
        deltas = torch.where(valid, deltas, nothing)
    goes_on = ~(terminated | truncated)
    if valid is not None:
        goes_on = goes_on & valid
    carried = (discount_factor * gae_lambda) * goes_on.to(values.dtype)
    advantages = torch.empty_like(values)
    following = torch.zeros_like(values[0])
    rows = list(zip(deltas.unbind(0), carried.unbind(0), advantages.unbind(0)))
    for delta, weight, row in reversed(rows):
        following = torch.addcmul(delta, weight, following, out=row)
    return advantages
