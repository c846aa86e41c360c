"""Memory for the networks of ``default_models``: a recurrent layer between features and hidden layers."""

from typing import Any, Dict, List, Tuple

import torch
from torch import nn

from AquaML.learning.model.base import ModelOutput
from AquaML.learning.model.encoders import FeatureExtractor
from AquaML.learning.model.recurrent import RecurrentEncoder
from AquaML.learning.model.sequences import FEATURES, RESETS


class RecurrentExtractor(nn.Module):
    """Features of all that was seen in an episode: those of each step go through a recurrent layer.

    Args:
        extractor: Makes the features of a step.
        cell: ``"gru"`` or ``"lstm"``.
        size: Number of features of the state.
    """

    def __init__(self, extractor: FeatureExtractor, cell: str, size: int) -> None:
        super().__init__()
        self.extractor = extractor
        self.encoder = RecurrentEncoder(extractor.size, size, cell)
        self.size = size

    @property
    def names(self) -> List[str]:
        """Observations that are read."""
        return self.extractor.names

    @property
    def is_flat(self) -> bool:
        """Whether every observation is passed through to the recurrent layer."""
        return self.extractor.is_flat

    def remember(self, sequences: Dict[str, torch.Tensor]) -> Tuple[torch.Tensor, Dict[str, torch.Tensor]]:
        """Return the features of every step.

        Args:
            sequences: What a recurrent model's ``compute`` sees.

        Returns:
            Features ``(B * L, size)``, and the states after the last step.
        """
        resets = sequences[RESETS]
        if FEATURES in sequences:
            features = self.extractor(sequences[FEATURES].flatten(0, 1))
        else:
            features = self.extractor({name: sequences[name].flatten(0, 1) for name in self.names})
        features = features.reshape(tuple(resets.shape[:2]) + (-1,))
        remembered, states = self.encoder(features, sequences, resets)
        return remembered.flatten(0, 1), states

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return what :meth:`remember` gave; what stands behind an extractor reads rows through it."""
        return features


class RecurrentHeads(nn.Module):
    """Heads behind a :class:`RecurrentExtractor`, for sequences.

    Args:
        heads: What reads rows of features: a module whose ``extractor`` is a :class:`RecurrentExtractor`, and that
            returns outputs by name.
    """

    def __init__(self, heads: Any) -> None:
        super().__init__()
        self.heads = heads
        self.recurrent_state = heads.extractor.encoder.recurrent_state

    def forward(self, sequences: Dict[str, torch.Tensor], *arguments: Any) -> ModelOutput:
        """Return the outputs of every step ``(B, L, ...)``, and the states after the last step."""
        features, states = self.heads.extractor.remember(sequences)
        shape = tuple(sequences[RESETS].shape[:2])
        outputs = self.heads(features, *arguments)
        return dict(states, **{name: value.reshape(shape + tuple(value.shape[1:])) for name, value in outputs.items()})
