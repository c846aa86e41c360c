"""The range of a bounded action, for policies whose density lives on it."""

from typing import Dict

import torch
from torch import nn

from AquaML.environment.spaces import BOX, TensorSpec, compress
from AquaML.errors import ModelError


class ActionRange(nn.Module):
    """Lowest and highest actions; they follow the policy from device to device and are in no checkpoint.

    Before :meth:`bind` the range is -1 … 1. A density on the range is one on 0 … 1 less ``log_width``.
    """

    low: torch.Tensor
    high: torch.Tensor
    width: torch.Tensor
    half_width: torch.Tensor
    log_width: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("low", "high", "width", "half_width", "log_width"):
            self.register_buffer(name, torch.zeros(1), persistent=False)
        self._set(torch.full((1,), -1.0), torch.full((1,), 1.0))

    def _set(self, low: torch.Tensor, high: torch.Tensor) -> None:
        # All of them once, rather than at every action.
        self.low, self.high, self.width = low, high, high - low
        self.half_width, self.log_width = 0.5 * self.width, self.width.log()
        self.is_symmetric = bool((low == -1.0).all() and (high == 1.0).all())

    def bind(self, specs: Dict[str, TensorSpec], owner: str) -> TensorSpec:
        """Take the range of the one Box action.

        Args:
            specs: The action space's leaves.
            owner: Name of the policy's class, for messages.

        Raises:
            ModelError: There are several actions, another kind, or no bounds.
        """
        spec = next(iter(specs.values()))
        if len(specs) != 1 or spec.kind != BOX or not spec.is_floating:
            raise ModelError(
                "{} is a policy for one Box action of real numbers, but the actions are {}. Use CategoricalModel for "
                "Discrete, CompositeModel for several actions.".format(
                    owner, {name: item.kind for name, item in specs.items()}
                )
            )
        # Copied, since a bound that is one number for all entries is only shown as an array.
        low = torch.tensor(spec.low.tolist(), dtype=torch.float32, device=self.low.device)
        high = torch.tensor(spec.high.tolist(), dtype=torch.float32, device=self.low.device)
        if not bool(torch.isfinite(low).all() and torch.isfinite(high).all() and (low < high).all()):
            raise ModelError(
                "{} needs finite bounds, each low below its high, but action '{}' has low {} and high {}. Give the "
                "wrapper bounds (clip_actions), or use GaussianModel.".format(
                    owner, spec.name, compress(spec.low), compress(spec.high)
                )
            )
        self._set(low, high)
        return spec

    def to_unit(self, actions: torch.Tensor, margin: float) -> torch.Tensor:
        """Return where actions lie in their range, as numbers from ``margin`` to ``1 - margin``."""
        return ((actions - self.low) / self.width).clamp(margin, 1.0 - margin)

    def from_unit(self, places: torch.Tensor) -> torch.Tensor:
        """Return the actions at places from 0 to 1."""
        return torch.addcmul(self.low, self.width, places)

    def to_symmetric(self, actions: torch.Tensor) -> torch.Tensor:
        """Return where actions lie in their range, as numbers from -1 to 1."""
        return actions if self.is_symmetric else (actions - self.low) * (2.0 / self.width) - 1.0

    def from_symmetric(self, places: torch.Tensor) -> torch.Tensor:
        """Return the actions at places from -1 to 1."""
        return places if self.is_symmetric else torch.addcmul(self.low, self.half_width, places + 1.0)

    def moved(self, actions: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        """Return actions moved by some half widths, but not out of their range."""
        return torch.minimum(torch.maximum(torch.addcmul(actions, by, self.half_width), self.low), self.high)
