"""The policies of :func:`~AquaML.learning.model.ready_made.default_models`: one trunk, one output, any distribution."""

from typing import Any, Dict, Sequence

import torch
from torch import nn

from AquaML.environment.spaces import BOX, DISCRETE, TensorSpec
from AquaML.learning.model.base import ModelInput, ModelOutput
from AquaML.learning.model.beta import BetaModel
from AquaML.learning.model.categorical import CategoricalModel, MultiCategoricalModel
from AquaML.learning.model.encoders import FeatureExtractor
from AquaML.learning.model.gaussian import GaussianModel
from AquaML.learning.model.networks import initialized_linear, multilayer_perceptron
from AquaML.learning.model.squashed_gaussian import SquashedGaussianModel

POLICY_GAIN = 0.01
"""Gain of a policy's output layer: first actions hardly depend on the observation."""


class Heads(nn.Module):
    """A trunk with an output of any shape and, if wanted, values from the same features.

    Args:
        extractor: Makes the features that the trunk reads.
        shape: Shape of the output, without the batch axis.
        hidden_sizes: Width of each hidden layer.
        activation: A name from :data:`~AquaML.learning.model.networks.ACTIVATIONS`.
        with_values: Whether ``"values"`` are computed, too.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        shape: Sequence[int],
        hidden_sizes: Sequence[int],
        activation: str,
        with_values: bool,
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.trunk = multilayer_perceptron(extractor.size, hidden_sizes, activation)
        features = hidden_sizes[-1] if hidden_sizes else extractor.size
        self.shape = tuple(shape)
        self.output = initialized_linear(features, int(torch.Size(self.shape).numel()), POLICY_GAIN)
        self.values = initialized_linear(features, 1, 1.0) if with_values else None

    def forward(self, inputs: ModelInput, name: str) -> ModelOutput:
        """Return the output for observations under its name, ``(B, *shape)``, and ``"values"`` ``(B, 1)``."""
        features = self.trunk(self.extractor(inputs))
        outputs = {name: self.output(features).reshape((len(features),) + self.shape)}
        if self.values is not None:
            outputs["values"] = self.values(features)
        return outputs


class _GaussianPolicy(GaussianModel):
    heads: Heads

    def compute(self, data_dict: ModelInput) -> ModelOutput:
        return self.heads(data_dict, "mean_actions")


class _SquashedPolicy(SquashedGaussianModel):
    heads: Heads

    def compute(self, data_dict: ModelInput) -> ModelOutput:
        return self.heads(data_dict, "mean_actions")


class _BetaPolicy(BetaModel):
    heads: Heads

    def compute(self, data_dict: ModelInput) -> ModelOutput:
        outputs = self.heads(data_dict, "both")
        alpha, beta = outputs.pop("both").unbind(-1)
        return dict(outputs, alpha=alpha, beta=beta)


class _CategoricalPolicy(CategoricalModel):
    heads: Heads

    def compute(self, data_dict: ModelInput) -> ModelOutput:
        return self.heads(data_dict, "logits")


class _MultiPolicy(MultiCategoricalModel):
    heads: Heads

    def compute(self, data_dict: ModelInput) -> ModelOutput:
        return self.heads(data_dict, "logits")


BOX_POLICIES: Dict[str, Any] = {"gaussian": _GaussianPolicy, "squashed": _SquashedPolicy, "beta": _BetaPolicy}


def policy_class(action: TensorSpec, distribution: str) -> Any:
    """Return the class of the policy for one action.

    Args:
        action: The action's leaf.
        distribution: A name from :data:`BOX_POLICIES`, for Box actions.
    """
    if action.kind == BOX:
        return BOX_POLICIES[distribution]
    return _CategoricalPolicy if action.kind == DISCRETE else _MultiPolicy
