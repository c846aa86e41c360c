"""Priorities of stored transitions, and drawing in proportion to them (Schaul et al., 2016)."""

from typing import Any, Dict, Tuple

import torch

from AquaML.errors import StateError
from AquaML.stateful import require_keys

_BLOCK = 1024


class Priorities:
    """Draws places with probability ``priority ** alpha``, and weighs what they teach accordingly.

    Powers of priorities are kept beside their sums over blocks. A draw searches the blocks first and one block then;
    a change sums its block anew, so that nothing drifts however long it goes on.

    Args:
        places: Number of places.
        alpha: 0 draws all alike, 1 in proportion to the priority.
        beta: Exponent of the weights at the beginning: 0 corrects nothing, 1 the whole bias of drawing.
        device: Where everything lives.
    """

    FLOOR = 1e-6
    """What is added to a temporal-difference error, so that nothing is forgotten for good."""

    def __init__(self, places: int, alpha: float, beta: float, device: torch.device) -> None:
        self.alpha, self.beta = alpha, beta
        blocks = -(-places // _BLOCK)
        # float64: the sum of a million float32 would favour the early ones.
        self._powers = torch.zeros((blocks, _BLOCK), dtype=torch.float64, device=device)
        self._sums = torch.zeros(blocks, dtype=torch.float64, device=device)
        self._largest = torch.ones((), dtype=torch.float64, device=device)

    def add(self, places: torch.Tensor) -> None:
        """Give new transitions the largest priority so far, so that each is learned from soon."""
        self._set(places, self._largest.expand(len(places)))

    def remove(self, places: torch.Tensor) -> None:
        """Keep places from being drawn."""
        self._set(places, torch.zeros_like(places, dtype=torch.float64))

    def clear(self) -> None:
        """Keep all places from being drawn."""
        self._powers.zero_()
        self._sums.zero_()

    def update(self, places: torch.Tensor, errors: torch.Tensor) -> None:
        """Set priorities by the size of temporal-difference errors.

        Args:
            places: ``(B,)``; where one comes up twice, either of its errors counts.
            errors: ``(B,)``.
        """
        powers = (errors.detach().abs().double() + self.FLOOR).pow(self.alpha)
        # What a guarded step left out must not become the priority of anything.
        powers = torch.where(torch.isfinite(powers), powers, self._largest)
        self._largest = torch.maximum(self._largest, powers.max())
        # A place that must not be drawn stays so, whatever it taught.
        drawable = self._powers.view(-1)[places] > 0
        self._set(places, torch.where(drawable, powers, torch.zeros_like(powers)))

    def _set(self, places: torch.Tensor, powers: torch.Tensor) -> None:
        self._powers.view(-1)[places] = powers
        blocks = torch.div(places, _BLOCK, rounding_mode="floor")
        self._sums[blocks] = self._powers[blocks].sum(dim=1)

    def draw(self, number: int, stored: int, progress: float) -> Tuple[torch.Tensor, torch.Tensor]:
        """Draw places in proportion to the powers of their priorities, one from each of ``number`` equal shares.

        Args:
            number: How many.
            stored: Number of places in use.
            progress: Share of the training that has passed, 0 … 1; the weights' exponent grows with it to 1.

        Returns:
            Places ``(number,)`` and weights ``(number, 1)``, of which the largest is 1.
        """
        ends = self._sums.cumsum(0)
        total = ends[-1]
        shares = torch.arange(number, dtype=torch.float64, device=ends.device)
        targets = (shares + torch.rand(number, dtype=torch.float64, device=ends.device)) * (total / number)
        blocks = torch.searchsorted(ends, targets, right=True).clamp_(max=len(ends) - 1)
        within = self._powers[blocks].cumsum(1)
        rest = (targets - (ends[blocks] - self._sums[blocks])).unsqueeze(1)
        # A target at the very end of a block may fall behind its last place by rounding.
        rest = torch.minimum(rest, within[:, -1:] * (1.0 - 1e-12))
        offsets = torch.searchsorted(within, rest, right=True).squeeze(1).clamp_(max=_BLOCK - 1)
        places = blocks * _BLOCK + offsets
        chances = self._powers.view(-1)[places] / total
        beta = self.beta + (1.0 - self.beta) * min(1.0, progress)
        weights = (stored * chances).clamp_(min=1e-300).pow(-beta)
        return places, (weights / weights.max()).float().unsqueeze(1)

    def state_dict(self, used: int) -> Dict[str, Any]:
        """Return the powers of the places in use and the largest one so far."""
        return {"powers": self._powers.view(-1)[:used].clone(), "largest": self._largest.clone()}

    def validate_state(self, state: Any, used: int) -> None:
        """Compare the number of places."""
        require_keys(state, ("powers", "largest"), "priorities")
        if tuple(state["powers"].shape) != (used,) or state["powers"].dtype != torch.float64:
            raise StateError("memory: priorities of {} places, expected {}".format(len(state["powers"]), used))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over priorities."""
        self.clear()
        self._powers.view(-1)[: len(state["powers"])].copy_(state["powers"])
        self._sums = self._powers.sum(dim=1)
        self._largest = state["largest"].to(self._powers.device).clone()
