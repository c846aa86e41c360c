"""The scale of rewards by which returns fill a fixed range, whatever the task pays."""

from typing import Any, Dict, Optional

import torch

from AquaML.errors import StateError
from AquaML.learning.model.normalizer import RunningNormalizer
from AquaML.learning.model.normalizer_cfg import NormalizerCfg
from AquaML.stateful import Stateful, require_keys


class ReturnScale(Stateful):
    """Follows the discounted sum of rewards in every environment (Lee et al., 2025, "Hyperspherical normalization").

    The factor is the smaller one of two: that which gives those sums unit variance, and that which keeps the largest of
    them within the limit. A sum goes on across a time limit, as the value does that it stands for.

    Args:
        discount_factor: gamma.
        limit: What no return shall exceed.
        num_envs: Number of environments.
        device: Where everything lives.
    """

    def __init__(self, discount_factor: float, limit: float, num_envs: int, device: torch.device) -> None:
        self._discount_factor, self._limit = discount_factor, limit
        self._sums = torch.zeros((num_envs, 1), device=device)
        self._statistics = RunningNormalizer((1,), NormalizerCfg(), device)
        self._largest = torch.zeros((), device=device)

    def expect(self, num_envs: int) -> None:
        """Prepare for a number of environments; sums of another number begin anew."""
        if len(self._sums) != num_envs:
            self._sums = torch.zeros((num_envs, 1), device=self._sums.device)

    def follow(self, rewards: torch.Tensor, terminated: torch.Tensor, valid: Optional[torch.Tensor] = None) -> None:
        """Take notice of one vector step.

        Args:
            rewards: ``(num_envs, 1)``.
            terminated: ``(num_envs, 1)`` bool, where an episode terminated with this step.
            valid: ``(num_envs, 1)`` bool, rows that are transitions; None: all.
        """
        sums = self._discount_factor * self._sums + rewards
        self._sums = sums if valid is None else torch.where(valid, sums, self._sums)
        self._statistics.update(self._sums, valid)
        self._largest = torch.maximum(self._largest, self._sums.abs().max())
        self._sums = torch.where(terminated, torch.zeros_like(self._sums), self._sums)

    def factor(self) -> torch.Tensor:
        """Return what rewards are multiplied by, shape ``()``; 1 as long as nothing is known."""
        deviation = torch.sqrt(self._statistics.variance.float().to(self._sums.device)[0] + 1e-8)
        return 1.0 / torch.maximum(deviation, self._largest / self._limit)

    def state_dict(self) -> Dict[str, Any]:
        """Return sums, statistics and the largest sum."""
        return {
            "sums": self._sums.clone(),
            "statistics": self._statistics.state_dict(),
            "largest": self._largest.clone(),
        }

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare shapes; the number of environments may differ."""
        require_keys(state, ("sums", "statistics", "largest"), "return scale")
        self._statistics.validate_state(state["statistics"])
        if state["sums"].dim() != 2 or state["largest"].dim() != 0:
            raise StateError("return scale: sums or the largest sum have another shape")

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over everything; sums of another number of environments begin anew."""
        sums = state["sums"].to(self._sums.device)
        self._sums = sums.clone() if sums.shape == self._sums.shape else torch.zeros_like(self._sums)
        self._statistics.load_state_dict(state["statistics"])
        self._largest = state["largest"].to(self._sums.device).clone()

    def interrupt(self) -> None:
        """Begin all sums anew: the episodes were cut off."""
        self._sums = torch.zeros_like(self._sums)
