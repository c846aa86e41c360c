"""Building blocks for ready-made networks."""

import functools
import math
from typing import Callable, Dict, List, NamedTuple, Sequence

from torch import nn

from AquaML.errors import ModelError, did_you_mean

ACTIVATIONS: Dict[str, Callable[[], nn.Module]] = {
    # In place where the derivative follows from the result: saves memory, and ELU's backward pass its exponential.
    "elu": functools.partial(nn.ELU, inplace=True),
    "relu": functools.partial(nn.ReLU, inplace=True),
    "leaky_relu": functools.partial(nn.LeakyReLU, inplace=True),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation_layer(name: str) -> nn.Module:
    """Return an activation by name.

    Raises:
        ModelError: The name is unknown.
    """
    if name not in ACTIVATIONS:
        raise ModelError("activation is {!r}.{}".format(name, did_you_mean(name, ACTIVATIONS)))
    return ACTIVATIONS[name]()


def initialized_linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    """Return a linear layer with orthogonal weights scaled by ``gain`` and zero bias (Saxe et al., 2014)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def multilayer_perceptron(inputs: int, hidden_sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Return hidden layers with an activation after each, orthogonally initialised with gain sqrt(2).

    Args:
        inputs: Number of input features.
        hidden_sizes: Width of each layer; the last one is the number of output features.
        activation: A name from :data:`ACTIVATIONS`.
    """
    layers: List[nn.Module] = []
    for width in hidden_sizes:
        layers += [initialized_linear(inputs, width, math.sqrt(2.0)), activation_layer(activation)]
        inputs = width
    return nn.Sequential(*layers)


class Layers(NamedTuple):
    """Hidden layers.

    Attributes:
        sizes: Width of each.
        activation: Name of what comes after each.
        layer_norm: Whether each is normalised before its activation.
    """

    sizes: Sequence[int]
    activation: str
    layer_norm: bool = False


def perceptron(inputs: int, layers: Layers, outputs: int) -> nn.Sequential:
    """Return hidden layers and a linear output; drawn as PyTorch draws weights."""
    modules: List[nn.Module] = []
    for width in layers.sizes:
        modules.append(nn.Linear(inputs, width))
        if layers.layer_norm:
            modules.append(nn.LayerNorm(width))
        modules.append(activation_layer(layers.activation))
        inputs = width
    return nn.Sequential(*modules, nn.Linear(inputs, outputs))
