"""The policies of :func:`~AquaML.learning.model.ready_made.default_models`: one trunk, one output, any distribution."""

import math
from typing import Any, Dict, Optional, Sequence

import torch
from torch import nn

from AquaML.environment.spaces import BOX, DISCRETE, TensorSpec
from AquaML.errors import ModelError
from AquaML.learning.model.base import ModelInput, ModelOutput
from AquaML.learning.model.beta import BetaModel
from AquaML.learning.model.categorical import CategoricalModel, MultiCategoricalModel
from AquaML.learning.model.encoders import FeatureExtractor
from AquaML.learning.model.gaussian import GaussianModel, softly_bounded
from AquaML.learning.model.multivariate_gaussian import MultivariateGaussianModel
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
        self.spread: Optional[nn.Linear] = None

    def add_spread(self, size: int) -> None:
        """Let the trunk compute what the standard deviations are made of, too.

        Args:
            size: Number of outputs.
        """
        self.spread = initialized_linear(self.output.in_features, size, POLICY_GAIN)

    def forward(self, inputs: ModelInput, name: str) -> ModelOutput:
        """Return the output for observations under its name, ``(B, *shape)``, and what else there is.

        That is ``"values"`` ``(B, 1)`` and ``"spread"`` ``(B, size)``.
        """
        features = self.trunk(self.extractor(inputs))
        outputs = {name: self.output(features).reshape((len(features),) + self.shape)}
        if self.values is not None:
            outputs["values"] = self.values(features)
        if self.spread is not None:
            outputs["spread"] = self.spread(features)
        return outputs


class _GaussianPolicy(GaussianModel):
    heads: Heads
    initial_log_std: float

    def compute(self, data_dict: ModelInput) -> ModelOutput:
        return _with_log_std(self, self.heads(data_dict, "mean_actions"))


class _MultivariatePolicy(MultivariateGaussianModel):
    heads: Heads
    initial_log_std: float

    def compute(self, data_dict: ModelInput) -> ModelOutput:
        outputs = self.heads(data_dict, "mean_actions")
        if "spread" not in outputs:
            return outputs
        entries = outputs.pop("spread").float()
        return dict(outputs, cholesky=torch.where(_on_diagonal(entries), _bounded_softly(self, entries), entries))


class _SquashedPolicy(SquashedGaussianModel):
    heads: Heads
    initial_log_std: float

    def compute(self, data_dict: ModelInput) -> ModelOutput:
        return _with_log_std(self, self.heads(data_dict, "mean_actions"))


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


BOX_POLICIES: Dict[str, Any] = {
    "gaussian": _GaussianPolicy,
    "multivariate": _MultivariatePolicy,
    "squashed": _SquashedPolicy,
    "beta": _BetaPolicy,
}


def policy_class(action: TensorSpec, distribution: str) -> Any:
    """Return the class of the policy for one action.

    Args:
        action: The action's leaf.
        distribution: A name from :data:`BOX_POLICIES`, for Box actions.
    """
    if action.kind == BOX:
        return BOX_POLICIES[distribution]
    return _CategoricalPolicy if action.kind == DISCRETE else _MultiPolicy


def prepare_std(model: Any, action: TensorSpec, initial_log_std: float, state_dependent: bool) -> None:
    """Give a Gaussian policy its standard deviations: a free parameter, or an output of its trunk.

    Args:
        model: The policy, with its heads.
        action: The action's leaf.
        initial_log_std: Logarithm of the standard deviations before training.
        state_dependent: Whether the trunk computes them.

    Raises:
        ModelError: They do not begin between their bounds.
    """
    low, high = model.min_log_std, model.max_log_std
    if not (low < initial_log_std < high or (initial_log_std in (low, high) and not state_dependent)):
        raise ModelError(
            "default_models: initial_log_std is {}; expected a number between min_log_std = {} and max_log_std = {}"
            "{}.".format(initial_log_std, low, high, ", and neither of them" if state_dependent else "")
        )
    model.initial_log_std = float(initial_log_std)
    is_multivariate = isinstance(model, MultivariateGaussianModel)
    size = action.size * (action.size + 1) // 2 if is_multivariate else action.size
    if state_dependent:
        model.heads.add_spread(size)
    elif is_multivariate:
        entries = torch.zeros(size)
        entries[_on_diagonal(entries)] = model.initial_log_std
        model.cholesky_parameter = nn.Parameter(entries)
    else:
        model.log_std_parameter = nn.Parameter(torch.full(action.shape, model.initial_log_std))


def _with_log_std(model: Any, outputs: ModelOutput) -> ModelOutput:
    if "spread" not in outputs:
        return outputs
    log_std = _bounded_softly(model, outputs.pop("spread").float())
    return dict(outputs, log_std=log_std.reshape(outputs["mean_actions"].shape))


def _bounded_softly(model: Any, raw: torch.Tensor) -> torch.Tensor:
    return softly_bounded(raw, model.min_log_std, model.max_log_std, model.initial_log_std)


def _on_diagonal(entries: torch.Tensor) -> torch.Tensor:
    """Return which entries of a factor, ``(..., D * (D + 1) / 2)``, stand on its diagonal."""
    dimensions = int((math.sqrt(8 * entries.shape[-1] + 1) - 1) // 2)
    row, column = torch.tril_indices(dimensions, dimensions, device=entries.device)
    return row == column
