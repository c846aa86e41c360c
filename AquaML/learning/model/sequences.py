"""Rows and sequences: outside of a recurrent model everything is rows, inside of it sequences.

Sequences of length ``L`` lie one after the other in the rows: row ``b * L + t`` is step ``t`` of sequence ``b``.
"""

from typing import Any, Dict, Mapping, Tuple

import torch

from AquaML.environment.rows import like_rows
from AquaML.errors import ModelError

RESETS = "resets"
"""Where an episode begins, ``(B * L, 1)`` bool."""
FEATURES = "features"
"""What ``concat_dict`` joins, in a recurrent model's dictionary."""
RESERVED = (RESETS, FEATURES, "actions", "log_prob", "entropy", "values")
"""Names that no recurrent state may have."""

Shapes = Mapping[str, Tuple[int, ...]]


def cleared(state: torch.Tensor, begins: torch.Tensor) -> torch.Tensor:
    """Return a state that is zero where an episode begins; whatever was there, NaN too, is gone.

    Args:
        state: ``(B, *shape)``.
        begins: ``(B, 1)`` bool.
    """
    return torch.where(like_rows(begins, state), torch.zeros_like(state), state)


def as_sequences(inputs: Mapping[str, torch.Tensor], states: Shapes, owner: str) -> Dict[str, torch.Tensor]:
    """Return inputs as sequences.

    Args:
        inputs: Observations and resets ``(B * L, *shape)``, states ``(B, *shape)``.
        states: Shape of each recurrent state.
        owner: The model, for messages.

    Returns:
        Observations and resets ``(B, L, *shape)``, states as they were.

    Raises:
        ModelError: A state has another shape, or the rows are no whole number of sequences.
    """
    sequences, rows = len(inputs[next(iter(states))]), len(inputs[RESETS])
    for name, shape in states.items():
        if tuple(inputs[name].shape) != (sequences,) + tuple(shape):
            raise ModelError(
                "{} was given the recurrent state '{}' of shape {}; expected (B,{}).".format(
                    owner, name, tuple(inputs[name].shape), "".join(" {},".format(size) for size in shape)
                )
            )
    if sequences == 0 or rows % sequences:
        raise ModelError(
            "{} was given {} rows with recurrent states for {} sequences; expected equally long sequences.".format(
                owner, rows, sequences
            )
        )
    shape = (sequences, rows // sequences)
    return {
        name: value if name in states else value.reshape(shape + tuple(value.shape[1:]))
        for name, value in inputs.items()
    }


def as_rows(outputs: Any, states: Shapes, shape: Tuple[int, int], owner: str) -> Dict[str, Any]:
    """Return what a recurrent ``compute`` returned, as rows.

    Args:
        outputs: Outputs ``(B, L, ...)``, states after the last step ``(B, *shape)``; what is of neither shape, such as
            a parameter, is passed on.
        states: Shape of each recurrent state.
        shape: ``(B, L)``.
        owner: The model, for messages.

    Returns:
        Outputs ``(B * L, ...)``, states ``(B, *shape)`` float32.

    Raises:
        ModelError: A state is missing or has another shape.
    """
    rows: Dict[str, Any] = {}
    for name, size in states.items():
        state = outputs.get(name) if isinstance(outputs, Mapping) else None
        expected = (shape[0],) + tuple(size)
        if not isinstance(state, torch.Tensor) or tuple(state.shape) != expected:
            raise ModelError(
                "{}.compute must return the recurrent state '{}' as it is after the last step, of shape {}; it "
                "returned {}.".format(
                    owner,
                    name,
                    expected,
                    tuple(state.shape) if isinstance(state, torch.Tensor) else _kinds(outputs),
                )
            )
        rows[name] = state.float()
    for name, value in outputs.items():
        if name not in states:
            is_sequence = isinstance(value, torch.Tensor) and value.dim() > 1 and tuple(value.shape[:2]) == shape
            rows[name] = value.flatten(0, 1) if is_sequence else value
    return rows


def _kinds(outputs: Any) -> str:
    return "only {}".format(sorted(outputs)) if isinstance(outputs, Mapping) else "a " + type(outputs).__name__
