"""Networks side by side against the same networks one by one."""

import math

import pytest
import torch
from torch import nn

from AquaML.learning.model.networks import Layers, activation_layer
from AquaML.learning.model.parallel_networks import ParallelLayerNorm, ParallelLinear, ParallelPerceptrons


def one_of(networks: ParallelPerceptrons, index: int) -> nn.Sequential:
    """Return one network as PyTorch's own layers."""
    modules = []
    for layer in networks.layers:
        if isinstance(layer, ParallelLinear):
            linear = nn.Linear(*layer.weight.shape[1:])
            linear.weight.data, linear.bias.data = layer.weight[index].t().clone(), layer.bias[index, 0].clone()
            modules.append(linear)
        elif isinstance(layer, ParallelLayerNorm):
            norm = nn.LayerNorm(layer.weight.shape[2])
            norm.weight.data, norm.bias.data = layer.weight[index, 0].clone(), layer.bias[index, 0].clone()
            modules.append(norm)
        else:
            modules.append(activation_layer("relu"))
    return nn.Sequential(*modules)


@pytest.mark.parametrize("outputs", [1, 5])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 1, 6)])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("number", [1, 3])
def test_values_and_gradients_are_those_of_single_networks(
    outputs: int, hidden: tuple, layer_norm: bool, number: int
) -> None:
    torch.manual_seed(0)
    networks = ParallelPerceptrons(number, 4, Layers(hidden, "relu", layer_norm), outputs).double()
    for parameter in networks.parameters():
        parameter.data.normal_()
    features = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    values = networks(features)
    assert values.shape == (number, 7, outputs)
    slopes = torch.randn(number, 7, outputs, dtype=torch.float64)
    (values * slopes).sum().backward()
    gradient, features.grad = features.grad, None
    for index in range(number):
        single = one_of(networks, index).double()
        expected = single(features)
        torch.testing.assert_close(values[index], expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(networks(features, only=index), expected, rtol=1e-9, atol=1e-9)
        (expected * slopes[index]).sum().backward()
        # Every other network has no part in it.
        own = [layer for layer in networks.layers if not isinstance(layer, nn.ReLU)]
        for layer, module in zip(own, [item for item in single if not isinstance(item, nn.ReLU)]):
            weight = module.weight.grad.t() if isinstance(layer, ParallelLinear) else module.weight.grad.unsqueeze(0)
            torch.testing.assert_close(layer.weight.grad[index], weight, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(layer.bias.grad[index, 0], module.bias.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, features.grad, rtol=1e-9, atol=1e-9)


def test_weights_are_drawn_as_pytorch_draws_them() -> None:
    torch.manual_seed(0)
    layer = ParallelLinear(4, 16, 500)
    bound = 1.0 / math.sqrt(16)
    for values in (layer.weight, layer.bias):
        assert float(values.detach().abs().max()) <= bound
        assert float(values.detach().std()) == pytest.approx(bound / math.sqrt(3.0), rel=0.05)
    reference = nn.Linear(16, 500)
    assert float(reference.weight.abs().max()) <= bound and float(reference.bias.abs().max()) <= bound
    # No two networks begin alike.
    assert not torch.equal(layer.weight[0], layer.weight[1])
