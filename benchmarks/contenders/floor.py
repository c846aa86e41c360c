"""The bare matrix products of an iteration: eager linear layers, forward and backward, and nothing else."""

import time
from typing import List

import torch
from torch.nn.functional import linear

from benchmarks.gate import Gate
from benchmarks.specification import Specification


class Layers:
    """Weights and biases of one network."""

    def __init__(self, specification: Specification, outputs: int) -> None:
        sizes = (specification.observation_size,) + tuple(specification.hidden_sizes) + (outputs,)
        self.weights = [torch.randn(o, i).mul_(i**-0.5).requires_grad_() for i, o in zip(sizes, sizes[1:])]
        self.biases = [torch.zeros(o, requires_grad=True) for o in sizes[1:]]

    def parameters(self) -> List[torch.Tensor]:
        """Return all weights and biases."""
        return self.weights + self.biases

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Apply all layers."""
        for weight, bias in zip(self.weights, self.biases):
            rows = linear(rows, weight, bias)
        return rows


def run(specification: Specification, gate: Gate) -> None:
    """Multiply in units: a forward pass of both networks per vector step, then all passes of an update."""
    torch.manual_seed(specification.seed)
    networks = [Layers(specification, outputs) for outputs in (specification.action_size, 1)]
    rows = torch.randn(specification.num_envs, specification.observation_size)
    minibatch = torch.randn(specification.minibatch_size, specification.observation_size)
    gradients = [torch.randn(len(minibatch), outputs) for outputs in (specification.action_size, 1)]
    steps = 0

    def work() -> None:
        nonlocal steps
        with torch.no_grad():
            for network in networks:
                network.forward(rows)
        steps += 1
        if steps % specification.rollout == 0:
            begun = time.perf_counter()
            for _ in range(specification.epochs * specification.mini_batches):
                for network, gradient in zip(networks, gradients):
                    for parameter in network.parameters():
                        parameter.grad = None
                    network.forward(minibatch).backward(gradient)
            gate.add("products", time.perf_counter() - begun)

    gate.introduction = {"settings": {"layers": "linear, with biases, no activation"}}
    gate.introduction["torch_threads"] = torch.get_num_threads()
    gate.loop(work)
