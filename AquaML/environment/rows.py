"""Picking rows of a batch: masks are ``(N, 1)``, values ``(N, *shape)``, and nothing broadcasts by accident."""

from typing import Dict, Optional

import torch


def like_rows(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return a mask that selects whole rows of ``values``.

    Args:
        mask: ``(N, 1)`` or ``(N,)`` bool.
        values: ``(N, *shape)``.

    Returns:
        The mask as ``(N, 1, …, 1)`` with as many axes as ``values``.
    """
    return mask.reshape((len(values),) + (1,) * (values.dim() - 1))


def true_successors(
    observations: Dict[str, torch.Tensor], done: torch.Tensor, final: Optional[Dict[str, torch.Tensor]]
) -> Dict[str, torch.Tensor]:
    """Return the states that a step really led to: the final observation where an episode ended.

    Args:
        observations: What to act on next, ``(N, *shape)``.
        done: ``(N, 1)`` bool.
        final: Final observations, valid where ``done``; None: the observations are the successors everywhere.
    """
    if final is None:
        return observations
    return {name: torch.where(like_rows(done, value), final[name], value) for name, value in observations.items()}


def begun_rows(done: torch.Tensor, valid: Optional[torch.Tensor], autoreset: str) -> torch.Tensor:
    """Return where what to act on next begins an episode.

    Args:
        done: ``(N, 1)`` bool, whether an episode ended in this step.
        valid: ``(N, 1)`` bool, False for rows that are no transition; None: all are.
        autoreset: ``"same_step"`` or ``"next_step"``.
    """
    if valid is None:
        return done
    return ~valid if autoreset == "next_step" else done | ~valid
