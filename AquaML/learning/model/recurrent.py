"""Recurrent layers over sequences in which episodes may begin."""

from typing import Dict, List, Mapping, Tuple

import torch
from torch import nn

from AquaML.compat import full_precision
from AquaML.errors import ModelError, did_you_mean
from AquaML.learning.model.sequences import cleared

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}
_STATES = {"gru": ("hidden",), "lstm": ("hidden", "cell")}


class RecurrentEncoder(nn.Module):
    """A GRU (Cho et al., 2014) or LSTM (Hochreiter and Schmidhuber, 1997) whose state goes in and comes out.

    Weights are orthogonal and biases zero. It computes in float32 under mixed precision too, since rounding errors
    would add up over the steps.

    Args:
        inputs: Number of features of a step.
        size: Number of features of the state, and of what comes out.
        cell: ``"gru"`` or ``"lstm"``.
        layers: Number of layers, one on top of the other.

    Raises:
        ModelError: The cell is unknown, or a number is less than 1.
    """

    def __init__(self, inputs: int, size: int, cell: str = "gru", layers: int = 1) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ModelError("RecurrentEncoder: cell is {!r}.{}".format(cell, did_you_mean(str(cell), CELLS)))
        for name, number in (("inputs", inputs), ("size", size), ("layers", layers)):
            if number < 1:
                raise ModelError("RecurrentEncoder: {} is {}; expected at least 1.".format(name, number))
        self.size = size
        self.states: Tuple[str, ...] = _STATES[cell]
        self.recurrent_state: Dict[str, Tuple[int, ...]] = dict.fromkeys(self.states, (layers, size))
        self.net = CELLS[cell](inputs, size, num_layers=layers, batch_first=True)
        for name, parameter in self.net.named_parameters():
            if name.startswith("weight"):
                nn.init.orthogonal_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(
        self, features: torch.Tensor, states: Mapping[str, torch.Tensor], resets: torch.Tensor
    ) -> Tuple[torch.Tensor, Dict[str, torch.Tensor]]:
        """Run over sequences.

        Args:
            features: ``(B, L, inputs)``.
            states: Those of :attr:`recurrent_state` as they were before the first step, ``(B, layers, size)``; other
                keys are left alone.
            resets: ``(B, L, 1)`` bool, True where an episode begins: the state before that step is zero.

        Returns:
            Features ``(B, L, size)``, and the states after the last step ``(B, layers, size)``.
        """
        present = {name: states[name] for name in self.states}
        pieces = []
        with full_precision(features.device):
            starts = _starts(resets)
            for start, end in zip(starts, starts[1:] + [features.shape[1]]):
                present = {name: cleared(state, resets[:, start]) for name, state in present.items()}
                piece, present = self._run(features[:, start:end].float(), present)
                pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1), present

    def _run(
        self, features: torch.Tensor, states: Dict[str, torch.Tensor]
    ) -> Tuple[torch.Tensor, Dict[str, torch.Tensor]]:
        """Run over steps at which no episode begins but the first."""
        # torch keeps states layer by layer, (layers, B, size).
        given = [states[name].float().transpose(0, 1).contiguous() for name in self.states]
        outputs, left = self.net(features, given[0] if len(given) == 1 else tuple(given))
        after = (left,) if len(given) == 1 else left
        return outputs, {name: state.transpose(0, 1) for name, state in zip(self.states, after)}


def _starts(resets: torch.Tensor) -> List[int]:
    """Return the steps at which the state must be looked at: the first one, and where any sequence is reset.

    On an accelerator that would mean waiting for the device, so that there it is every step.
    """
    length = resets.shape[1]
    if length == 1 or resets.device.type != "cpu":
        return list(range(length))
    inside = resets[:, 1:].reshape(len(resets), length - 1).any(dim=0)
    return [0] + [int(step) + 1 for step in inside.nonzero().flatten().tolist()]
