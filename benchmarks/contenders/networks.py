"""The layers of contenders whose users write their own networks."""

from typing import List

from torch import nn

from benchmarks.specification import Specification

ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}


def layers(specification: Specification, inputs: int, outputs: int) -> nn.Sequential:
    """Return a multilayer perceptron with the specification's hidden layers."""
    modules: List[nn.Module] = []
    for size in specification.hidden_sizes:
        modules += [nn.Linear(inputs, size), ACTIVATIONS[specification.activation]()]
        inputs = size
    return nn.Sequential(*modules, nn.Linear(inputs, outputs))
