"""Stored transitions as learning takes them, over one or several steps."""

import dataclasses
from typing import Dict, List, Optional

import torch

from AquaML.environment.base import TensorDict
from AquaML.learning.memory.replay import ReplayMemory

STATE, ACTION, NEXT = "state:", "action:", "next:"
"""What the memory's keys of observations, actions and true successors begin with."""
REWARDS, TERMINATED, ENDED, VALID = "rewards", "terminated", "ended", "valid"


@dataclasses.dataclass
class Transitions:
    """Transitions to learn from; every tensor has the same first axis.

    Attributes:
        states: Observations by name, as the models see them.
        actions: Actions by name.
        rewards: Discounted sum of rewards up to the successor, ``(B, 1)``.
        next_states: The true successors after one or several steps, as the models see them.
        discounts: What the successor's value counts: ``gamma ** steps``, 0 after a termination, ``(B, 1)``.
        weights: Weight of each row in a loss, ``(B, 1)``, with a mean of about 1; None: all alike.
        places: Where the rows lie in the memory, ``(B,)``.
    """

    states: TensorDict
    actions: TensorDict
    rewards: torch.Tensor
    next_states: TensorDict
    discounts: torch.Tensor
    weights: Optional[torch.Tensor]
    places: torch.Tensor

    def mean(self, losses: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean of losses, shape ``()``.

        Args:
            losses: ``(B, losses per row)``.
        """
        return losses.mean() if self.weights is None else (losses * self.weights).mean()


def gather_transitions(memory: ReplayMemory, places: torch.Tensor, n_steps: int, discount_factor: float) -> Transitions:
    """Read transitions of up to ``n_steps`` steps; a sum of rewards ends with its episode, and at the newest row.

    With ``m`` the steps that there are and ``d`` whether the last of them terminated::

        rewards   = sum_{k<m} gamma^k r_{t+k}
        discounts = gamma^m (1 - d)

    A time limit ends the sum as well, but its true successor's value counts. ``terminated`` has no say before it.

    Args:
        memory: Keys ``"state:…"``, ``"action:…"``, ``"next:…"``, ``"rewards"``, ``"terminated"``, ``"ended"`` and,
            where rows can be no transitions, ``"valid"``.
        places: Where the transitions begin, ``(B,)``.
        n_steps: The most steps.
        discount_factor: gamma.
    """
    row = memory.read_all(places)
    rewards, terminated, last = row[REWARDS], row[TERMINATED], row
    steps_discount = discount_factor
    if n_steps > 1:
        rewards, ends, taken = _summed(memory, places, n_steps, discount_factor)
        last = memory.read_all(ends)
        terminated = last[TERMINATED]
        steps_discount = torch.pow(discount_factor, taken)  # type: ignore[assignment]
    return Transitions(
        states=_below(STATE, row),
        actions=_below(ACTION, row),
        rewards=rewards,
        next_states=_below(NEXT, last),
        discounts=(1.0 - terminated) * steps_discount,
        weights=row.get(VALID),
        places=places,
    )


def _summed(memory: ReplayMemory, places: torch.Tensor, n_steps: int, discount_factor: float) -> List[torch.Tensor]:
    """Return the sums of rewards, the places of their last steps, and the numbers of steps as floats ``(B, 1)``."""
    offsets = torch.arange(n_steps, device=places.device)
    window = torch.stack([memory.following(places, step) for step in range(n_steps)])
    stored = offsets.unsqueeze(1) <= memory.remaining(places).unsqueeze(0)
    # A step counts while none before it ended the episode.
    goes_on = memory.read(ENDED, window)[..., 0] == 0.0
    counts = stored.clone()
    counts[1:] &= goes_on[:-1].cumprod(0).bool()
    powers = torch.pow(discount_factor, offsets.float()).unsqueeze(1)
    zero = torch.zeros((), device=places.device)
    rewards = torch.where(counts, powers * memory.read(REWARDS, window)[..., 0], zero).sum(0).unsqueeze(1)
    taken = counts.sum(0)
    ends = window.gather(0, (taken - 1).unsqueeze(0)).squeeze(0)
    return [rewards, ends, taken.unsqueeze(1).float()]


def _below(prefix: str, row: Dict[str, torch.Tensor]) -> TensorDict:
    return {name[len(prefix) :]: value for name, value in row.items() if name.startswith(prefix)}
