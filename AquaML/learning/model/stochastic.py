"""What all distributions share: acting, evaluating, and pure functions of their parameters."""

import abc
from typing import Any, Dict, Tuple

import torch

from AquaML.environment.spaces import TensorSpec
from AquaML.learning.model.base import Model, ModelInput, ModelOutput, rows_of

Parameters = Dict[str, torch.Tensor]


class StochasticModel(Model, abc.ABC):
    """A policy that is a distribution over actions.

    A subclass says which parameters ``compute`` yields and gives the closed forms. All of them are pure functions of
    the parameters: nothing is remembered between calls.
    """

    names_actions = False
    """Whether actions are a dictionary by name rather than one tensor."""

    is_reparameterized = False
    """Whether gradients flow through :meth:`sample` to the parameters (Kingma and Welling, 2014)."""

    @abc.abstractmethod
    def parameters_of(self, outputs: ModelOutput, rows: int) -> Parameters:
        """Check ``compute``'s outputs and return the distribution's parameters, each ``(B, ...)`` float32."""

    @abc.abstractmethod
    def sample(self, parameters: Parameters) -> Any:
        """Draw actions."""

    def sample_with_log_prob(self, parameters: Parameters) -> Tuple[Any, torch.Tensor]:
        """Draw actions and return their log-density ``(B, 1)`` too, with gradients where samples have them."""
        actions = self.sample(parameters)
        return actions, self.log_prob(parameters, actions)

    @abc.abstractmethod
    def mode(self, parameters: Parameters) -> Any:
        """Return the most likely actions."""

    @abc.abstractmethod
    def log_prob(self, parameters: Parameters, actions: Any) -> torch.Tensor:
        """Return the log-density of actions, summed over their dimensions, ``(B, 1)``."""

    @abc.abstractmethod
    def entropy(self, parameters: Parameters) -> torch.Tensor:
        """Return the entropy, summed over dimensions, ``(B, 1)``."""

    @abc.abstractmethod
    def kl(self, old: Parameters, new: Parameters) -> torch.Tensor:
        """Return the Kullback-Leibler divergence from ``old`` to ``new``, summed over dimensions, ``(B, 1)``."""

    @abc.abstractmethod
    def bind_actions(self, specs: Dict[str, TensorSpec]) -> None:
        """Tell the policy the action space.

        Raises:
            ModelError: The distribution does not suit it.
        """

    def act(self, data_dict: ModelInput) -> ModelOutput:
        """Draw actions.

        Returns:
            ``"actions"``, ``"log_prob"`` ``(B, 1)``, the distribution's parameters, and whatever else ``compute``
            returned.
        """
        outputs, parameters = self._run(data_dict)
        actions = self.sample(parameters)
        return dict(outputs, actions=actions, log_prob=self.log_prob(parameters, actions), **parameters)

    def act_deterministic(self, data_dict: ModelInput) -> ModelOutput:
        """Return the most likely actions, in the form of :meth:`act`."""
        outputs, parameters = self._run(data_dict)
        actions = self.mode(parameters)
        return dict(outputs, actions=actions, log_prob=self.log_prob(parameters, actions), **parameters)

    def evaluate(self, data_dict: ModelInput, actions: Any) -> ModelOutput:
        """Judge given actions without drawing any.

        Args:
            data_dict: Observations.
            actions: What :meth:`act` returned as ``"actions"`` for as many rows.

        Returns:
            ``"log_prob"`` ``(B, 1)``, ``"entropy"`` ``(B, 1)``, the distribution's parameters, and whatever else
            ``compute`` returned.
        """
        outputs, parameters = self._run(data_dict)
        return dict(
            outputs,
            log_prob=self.log_prob(parameters, actions),
            entropy=self.entropy(parameters),
            **parameters,
        )

    def _run(self, data_dict: ModelInput) -> Tuple[ModelOutput, Parameters]:
        inputs = self.select_inputs(data_dict)
        outputs = self.outputs(inputs)
        return outputs, self.parameters_of(outputs, rows_of(inputs))


def sum_dimensions(values: torch.Tensor) -> torch.Tensor:
    """Sum all axes but the first and return ``(B, 1)``."""
    rows = values if values.dim() == 2 else values.reshape(len(values), -1)
    return rows.sum(dim=1, keepdim=True)
