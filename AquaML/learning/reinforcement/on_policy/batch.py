"""Rows of a rollout as learning takes them."""

import dataclasses
from typing import Any, Optional

import torch

from AquaML.environment.base import TensorDict
from AquaML.learning.memory.block_states import StatesByRole
from AquaML.learning.model.sequences import RESETS


@dataclasses.dataclass
class Batch:
    """Rows to learn from; every tensor has the same first axis, but for those of blocks.

    Recurrent models learn from blocks of consecutive steps. In a minibatch their rows lie one block after the other,
    rows that only reset among them; those are in :attr:`valid` and in no loss.

    Attributes:
        states: Normalised observations by name.
        actions: Actions by name.
        parameters: The acting distribution's parameters.
        log_prob: Log-probability of the actions when they were drawn, ``(B, 1)``.
        values: Value estimates of the acting networks, in normalised units, ``(B, 1)``.
        returns: Targets of the value function, in normalised units, ``(B, 1)``.
        advantages: ``(B, 1)``.
        resets: Where an episode begins, ``(B, 1)`` bool; None without a recurrent model.
        valid: Which rows are transitions, ``(B, 1)`` bool; None: all that are here.
        recurrent: Role of each recurrent model to its states before the first step of each block, ``(blocks, *shape)``.
        block_rows: Rows of each block, ``(blocks, length)``; None without a recurrent model, and in a minibatch.
    """

    states: TensorDict
    actions: TensorDict
    parameters: TensorDict
    log_prob: torch.Tensor
    values: torch.Tensor
    returns: torch.Tensor
    advantages: torch.Tensor
    resets: Optional[torch.Tensor] = None
    valid: Optional[torch.Tensor] = None
    recurrent: StatesByRole = dataclasses.field(default_factory=dict)
    block_rows: Optional[torch.Tensor] = None

    def inputs(self, role: str) -> TensorDict:
        """Return what the model of a role is given: observations, and what a recurrent one needs beside them."""
        if role not in self.recurrent:
            return self.states
        return dict(self.states, **self.recurrent[role], **{RESETS: self.resets})

    def select(self, rows: torch.Tensor) -> "Batch":
        """Return copies of some rows, without what belongs to blocks."""
        return Batch(**{name: _pick(getattr(self, name), rows) for name in _OF_ROWS})

    def select_blocks(self, blocks: torch.Tensor) -> "Batch":
        """Return copies of the rows of some blocks, one block after the other."""
        assert self.block_rows is not None
        picked = self.select(self.block_rows.index_select(0, blocks).reshape(-1))
        picked.recurrent = {role: _pick(states, blocks) for role, states in self.recurrent.items()}
        return picked

    def blocks(self) -> torch.Tensor:
        """Return the blocks that hold a transition."""
        assert self.block_rows is not None
        every = torch.arange(len(self.block_rows), device=self.block_rows.device)
        return every if self.valid is None else every[self.valid[self.block_rows, 0].any(dim=1)]

    def transitions(self) -> Optional[torch.Tensor]:
        """Return the rows that are transitions; None: all."""
        return None if self.valid is None else self.valid[:, 0].nonzero()[:, 0]


_OF_ROWS = [name for name in Batch.__dataclass_fields__ if name not in ("recurrent", "block_rows")]


def _pick(value: Any, rows: torch.Tensor) -> Any:
    if isinstance(value, dict):
        return {name: item.index_select(0, rows) for name, item in value.items()}
    return None if value is None else value.index_select(0, rows)
