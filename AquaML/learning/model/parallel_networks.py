"""Several networks of one shape, computed side by side: one operation for all rather than one for each."""

import math
from typing import Any, List, Optional, Tuple

import torch
from torch import nn
from torch.nn import functional

from AquaML.learning.model.networks import Layers, activation_layer


class ParallelLinear(nn.Module):
    """A linear layer for each of several networks, drawn as PyTorch draws ``nn.Linear``.

    Args:
        number: How many networks.
        inputs: Features in.
        outputs: Features out.
    """

    def __init__(self, number: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(number, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(number, 1, outputs).uniform_(-bound, bound))

    def forward(self, features: torch.Tensor, only: Optional[int] = None) -> torch.Tensor:
        """Return ``(number, B, outputs)``, of one network alone ``(B, outputs)``.

        Args:
            features: ``(number, B, inputs)``, or ``(B, inputs)`` for all alike.
            only: Index of the one network; None: all.
        """
        weight, bias = _parameters(self, only)
        if weight.dim() == 2:
            return torch.addmm(bias, features, weight)
        if weight.shape[2] == 1:
            # As matrix products, those with a single column are slow, there and back.
            return (features * weight.transpose(1, 2)).sum(dim=2, keepdim=True) + bias
        if features.dim() == 2:
            features = features.unsqueeze(0).expand((len(weight),) + tuple(features.shape))
        return torch.baddbmm(bias, features, weight)


class ParallelLayerNorm(nn.Module):
    """Normalised features (Ba et al., 2016), scaled and shifted for each of several networks by itself.

    Args:
        number: How many networks.
        width: Number of features.
    """

    def __init__(self, number: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(number, 1, width))
        self.bias = nn.Parameter(torch.zeros(number, 1, width))

    def forward(self, features: torch.Tensor, only: Optional[int] = None) -> torch.Tensor:
        """Return the shape of ``features``.

        Args:
            features: ``(number, B, width)``, of one network alone ``(B, width)``.
            only: Index of the one network; None: all.
        """
        weight, bias = _parameters(self, only)
        return torch.addcmul(bias, functional.layer_norm(features, features.shape[-1:]), weight)


class ParallelPerceptrons(nn.Module):
    """Hidden layers and a linear output, for each of several networks with the same inputs.

    Args:
        number: How many networks.
        inputs: Features in.
        layers: Hidden layers.
        outputs: Features out.
    """

    def __init__(self, number: int, inputs: int, layers: Layers, outputs: int) -> None:
        super().__init__()
        modules: List[nn.Module] = []
        for width in layers.sizes:
            modules.append(ParallelLinear(number, inputs, width))
            if layers.layer_norm:
                modules.append(ParallelLayerNorm(number, width))
            modules.append(activation_layer(layers.activation))
            inputs = width
        self.layers = nn.ModuleList(modules + [ParallelLinear(number, inputs, outputs)])

    def forward(self, features: torch.Tensor, only: Optional[int] = None) -> torch.Tensor:
        """Return ``(number, B, outputs)``, of one network alone ``(B, outputs)``.

        Args:
            features: ``(B, inputs)``.
            only: Index of the one network; None: all.
        """
        for layer in self.layers:
            features = layer(features, only) if isinstance(layer, _PARALLEL) else layer(features)
        return features


_PARALLEL = (ParallelLinear, ParallelLayerNorm)


def _parameters(layer: Any, only: Optional[int]) -> Tuple[torch.Tensor, torch.Tensor]:
    return (layer.weight, layer.bias) if only is None else (layer.weight[only], layer.bias[only])
