"""Policies over one or several groups of categories, in closed form."""

from typing import Dict, Optional, Sequence, Tuple

import torch

from AquaML.environment.spaces import DISCRETE, MULTI_BINARY, MULTI_DISCRETE, TensorSpec
from AquaML.errors import ModelError
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.model.stochastic import Parameters, StochasticModel


def sample_categories(logits: torch.Tensor) -> torch.Tensor:
    """Draw one category per row of ``(B, n)`` logits by the Gumbel trick; ``(B, 1)`` int64."""
    # The floor: some generators can draw 0, whose infinite noise would choose even a category of probability zero.
    noise = torch.empty_like(logits).exponential_().clamp_(min=torch.finfo(logits.dtype).tiny).log_()
    return (logits - noise).argmax(dim=1, keepdim=True)


class CategoricalModel(StochasticModel):
    """A policy for one Discrete action: ``compute`` returns ``"logits"`` ``(B, n)``, or that tensor alone.

    Actions are category indices from 0, ``(B, 1)`` int64; the wrapper adds the space's start.

    Beside the logits ``compute`` may return ``"action_mask"`` ``(B, n)``, 0 or False where a category must not be
    chosen: it then has probability zero in drawing, entropy and divergence, and no gradient. A row that allows nothing
    allows everything, since some simulators fill rows that are no data with zeros.
    """

    output_name = "logits"

    def __init__(self, model_cfg: ModelCfg) -> None:
        super().__init__(model_cfg)
        self._categories: Optional[int] = None

    def bind_actions(self, specs: Dict[str, TensorSpec]) -> None:
        """Accept one Discrete action."""
        spec = next(iter(specs.values()))
        if len(specs) != 1 or spec.kind != DISCRETE:
            raise ModelError(
                "{} is a policy for one Discrete action, but the actions are {}. Use GaussianModel for Box, "
                "MultiCategoricalModel for MultiDiscrete, CompositeModel for several actions.".format(
                    type(self).__name__, {name: spec.kind for name, spec in specs.items()}
                )
            )
        self._categories = spec.sizes[0]

    def parameters_of(self, outputs: ModelOutput, rows: int) -> Parameters:
        """Return normalised ``"logits"``, float32."""
        logits = self.require_output(outputs, "logits", (rows, self._categories)).float()
        return {"logits": torch.log_softmax(_masked(logits, _mask_of(self, outputs, logits)), dim=1)}

    def sample(self, parameters: Parameters) -> torch.Tensor:
        """Draw category indices, ``(B, 1)``."""
        return sample_categories(parameters["logits"])

    def mode(self, parameters: Parameters) -> torch.Tensor:
        """Return the likeliest category, ``(B, 1)``."""
        return parameters["logits"].argmax(dim=1, keepdim=True)

    def log_prob(self, parameters: Parameters, actions: torch.Tensor) -> torch.Tensor:
        """Return the log-probability, ``(B, 1)``."""
        return parameters["logits"].gather(1, actions)

    def entropy(self, parameters: Parameters) -> torch.Tensor:
        """Return the entropy, ``(B, 1)``."""
        return _entropy(parameters["logits"])

    def kl(self, old: Parameters, new: Parameters) -> torch.Tensor:
        """Return the divergence, ``(B, 1)``."""
        return _kl(old["logits"], new["logits"])


class MultiCategoricalModel(StochasticModel):
    """A policy for a MultiDiscrete or MultiBinary action: independent categories side by side.

    ``compute`` returns ``"logits"`` ``(B, sum of the groups' sizes)``, group after group (two per bit), or that
    tensor alone. Actions are indices from 0 of the action's shape. ``"action_mask"`` of the logits' shape works as in
    :class:`CategoricalModel`, group by group.

    Args:
        model_cfg: Inputs and device.
        sizes: Number of categories of each group; None: taken from the action space.
    """

    output_name = "logits"

    def __init__(self, model_cfg: ModelCfg, sizes: Optional[Sequence[int]] = None) -> None:
        super().__init__(model_cfg)
        self._sizes: Optional[Tuple[int, ...]] = None if sizes is None else tuple(int(size) for size in sizes)
        self._shape: Optional[Tuple[int, ...]] = None if sizes is None else (len(self._sizes or ()),)
        self._dtype = torch.int64

    def bind_actions(self, specs: Dict[str, TensorSpec]) -> None:
        """Accept one MultiDiscrete, MultiBinary or Discrete action."""
        spec = next(iter(specs.values()))
        if len(specs) != 1 or spec.kind not in (MULTI_DISCRETE, MULTI_BINARY, DISCRETE):
            raise ModelError(
                "{} is a policy for one MultiDiscrete or MultiBinary action, but the actions are {}.".format(
                    type(self).__name__, {name: spec.kind for name, spec in specs.items()}
                )
            )
        if self._sizes is not None and self._sizes != spec.sizes:
            raise ModelError(
                "{} was made for sizes {}, but action '{}' has {}.".format(
                    type(self).__name__, self._sizes, spec.name, spec.sizes
                )
            )
        self._sizes, self._shape, self._dtype = spec.sizes, spec.shape, getattr(torch, spec.dtype)

    def _groups(self, logits: torch.Tensor) -> Tuple[torch.Tensor, ...]:
        return torch.split(logits, list(self._sizes or ()), dim=1)

    def parameters_of(self, outputs: ModelOutput, rows: int) -> Parameters:
        """Return ``"logits"`` normalised within each group, float32."""
        if self._sizes is None:
            raise ModelError(
                "{} does not know its groups yet: pass sizes, or give it to an agent and set that up first.".format(
                    type(self).__name__
                )
            )
        logits = self.require_output(outputs, "logits", (rows, sum(self._sizes))).float()
        groups, mask = self._groups(logits), _mask_of(self, outputs, logits)
        if mask is not None:
            groups = tuple(_masked(group, allowed) for group, allowed in zip(groups, self._groups(mask)))
        return {"logits": torch.cat([torch.log_softmax(group, dim=1) for group in groups], dim=1)}

    def _shaped(self, indices: Sequence[torch.Tensor]) -> torch.Tensor:
        flat = torch.cat(list(indices), dim=1)
        return flat.reshape((len(flat),) + (self._shape or ())).to(self._dtype)

    def sample(self, parameters: Parameters) -> torch.Tensor:
        """Draw an index for each group."""
        return self._shaped([sample_categories(group) for group in self._groups(parameters["logits"])])

    def mode(self, parameters: Parameters) -> torch.Tensor:
        """Return the likeliest index of each group."""
        return self._shaped([group.argmax(dim=1, keepdim=True) for group in self._groups(parameters["logits"])])

    def log_prob(self, parameters: Parameters, actions: torch.Tensor) -> torch.Tensor:
        """Return the log-probability, summed over groups, ``(B, 1)``."""
        chosen = actions.reshape(len(actions), -1).long()
        groups = self._groups(parameters["logits"])
        picked = [group.gather(1, chosen[:, index : index + 1]) for index, group in enumerate(groups)]
        return torch.cat(picked, dim=1).sum(dim=1, keepdim=True)

    def entropy(self, parameters: Parameters) -> torch.Tensor:
        """Return the entropy, summed over groups, ``(B, 1)``."""
        return _entropy(parameters["logits"])

    def kl(self, old: Parameters, new: Parameters) -> torch.Tensor:
        """Return the divergence, summed over groups, ``(B, 1)``."""
        return _kl(old["logits"], new["logits"])


def _mask_of(model: StochasticModel, outputs: ModelOutput, logits: torch.Tensor) -> Optional[torch.Tensor]:
    """Return which categories a model allows, bool of the logits' shape; None: all.

    Raises:
        ModelError: The mask has another shape.
    """
    if "action_mask" not in outputs:
        return None
    mask = model.require_output(outputs, "action_mask", tuple(logits.shape))
    return mask if mask.dtype == torch.bool else mask != 0


def _masked(logits: torch.Tensor, allowed: Optional[torch.Tensor]) -> torch.Tensor:
    if allowed is None:
        return logits
    allowed = allowed | ~allowed.any(dim=1, keepdim=True)
    return torch.where(allowed, logits, torch.full_like(logits, -float("inf")))


def _entropy(log_probabilities: torch.Tensor) -> torch.Tensor:
    probabilities = log_probabilities.exp()
    return -(probabilities * _finite(log_probabilities)).sum(dim=1, keepdim=True)


def _kl(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    return (old.exp() * (_finite(old) - _finite(new))).sum(dim=1, keepdim=True)


def _finite(log_probabilities: torch.Tensor) -> torch.Tensor:
    # A category of probability zero has the logarithm -inf; 0 * -inf must count as 0.
    return log_probabilities.clamp(min=torch.finfo(log_probabilities.dtype).min)
