"""Observations as plain features."""

from typing import Sequence

import torch
from torch.nn import functional

from AquaML.environment.spaces import DISCRETE, MULTI_DISCRETE, TensorSpec


def category_sizes(spec: TensorSpec) -> Sequence[int]:
    """Return the numbers of categories of an observation that is shown one-hot; empty for any other."""
    return spec.sizes if spec.kind in (DISCRETE, MULTI_DISCRETE) else ()


def flat_features(values: torch.Tensor, sizes: Sequence[int] = ()) -> torch.Tensor:
    """Return values as features: categories one-hot, bytes scaled to 0 … 1, everything flattened.

    Args:
        values: ``(B, *shape)``, of any type.
        sizes: What :func:`category_sizes` returned.

    Returns:
        ``(B, features)`` float32.
    """
    flat = values if values.dim() == 2 else values.reshape(len(values), -1)
    if sizes:
        parts = [functional.one_hot(flat[:, index].long(), size) for index, size in enumerate(sizes)]
        return torch.cat(parts, dim=1).float()
    return as_numbers(flat)


def as_numbers(values: torch.Tensor) -> torch.Tensor:
    """Return values as float32 of the same shape, bytes scaled to 0 … 1."""
    return values.float() / 255.0 if values.dtype == torch.uint8 else values.float()
