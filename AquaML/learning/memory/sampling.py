"""The one sampler of rows to learn from."""

from typing import Tuple

import torch


def minibatch_indices(rows: torch.Tensor, mini_batches: int) -> Tuple[torch.Tensor, ...]:
    """Split rows into random minibatches: a fresh permutation at every call, every row exactly once.

    Args:
        rows: Indices to draw from, ``(R,)``; the permutation is drawn on their device.
        mini_batches: Number of minibatches; sizes differ by one at most, so no remainder is lost.

    Returns:
        ``mini_batches`` tensors of indices; fewer where there are fewer rows, since the mean of an empty minibatch
        is no number.
    """
    order = torch.randperm(len(rows), device=rows.device)
    return torch.tensor_split(rows[order], max(1, min(mini_batches, len(rows))))


def uniform_places(stored: int, number: int, device: torch.device) -> torch.Tensor:
    """Draw places of a replay memory, each alike and independently: a place may come up twice.

    Args:
        stored: Number of places in use.
        number: How many are drawn.
        device: Where they are drawn.

    Returns:
        ``(number,)`` int64.
    """
    return torch.randint(stored, (number,), device=device)
