"""The one running normaliser: float64 moments, integer count, exact merging."""

from typing import Any, Dict, Optional, Tuple, Union

import torch

from AquaML.environment.rows import like_rows
from AquaML.errors import StateError
from AquaML.learning.model.normalizer_cfg import NormalizerCfg
from AquaML.stateful import Stateful, require_keys, tensor_differences


class RunningNormalizer(Stateful):
    """Shifts and scales a quantity to zero mean and unit variance by statistics of all samples merged so far.

    Moments are merged by the formula of Chan, Golub and LeVeque (1979), which is exact for batches of any size,
    one row included. They are kept in float64, on the CPU where the device has no float64, and the number of samples
    is an integer, so that nothing saturates in a long run.

    Args:
        shape: Shape of one sample.
        cfg: Clipping, freezing and the variance's floor.
        device: Where samples live.
    """

    ROWS_PER_PASS = 65536
    """Rows converted to float64 at once; bounds the memory of an update."""

    def __init__(self, shape: Tuple[int, ...], cfg: NormalizerCfg, device: torch.device) -> None:
        self.cfg = cfg.take(type(self).__name__)
        self.device = device
        self._moments_device = torch.device("cpu") if device.type == "mps" else device
        self.mean = torch.zeros(shape, dtype=torch.float64, device=self._moments_device)
        self.variance = torch.ones(shape, dtype=torch.float64, device=self._moments_device)
        self.count = torch.zeros((), dtype=torch.int64, device=self._moments_device)
        self._shift = torch.zeros(shape, device=device)
        self._scale = torch.ones(shape, device=device)
        self._refresh()

    def _refresh(self) -> None:
        self._shift.copy_(self.mean)
        self._scale.copy_(torch.rsqrt(self.variance + self.cfg.epsilon))

    def normalize(self, values: torch.Tensor, out: Optional[torch.Tensor] = None) -> torch.Tensor:
        """Return ``(values - mean) / std``, clipped if so configured; ``values`` is not changed.

        Args:
            values: ``(B, *shape)``, any floating type.
            out: Where to write, optional.
        """
        result = torch.sub(values, self._shift, out=out) if out is not None else values - self._shift
        result.mul_(self._scale)
        return result if self.cfg.clip is None else result.clamp_(-self.cfg.clip, self.cfg.clip)

    def denormalize(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values * std + mean``; nothing is clipped."""
        return values / self._scale + self._shift

    def update(self, values: torch.Tensor, valid: Optional[torch.Tensor] = None) -> None:
        """Merge the statistics of a batch, unless frozen.

        Args:
            values: ``(B, *shape)``; an empty batch changes nothing.
            valid: ``(B, 1)`` bool; rows that are False have no influence, whatever they hold. None: all count.
        """
        if self.cfg.frozen:
            return
        for start in range(0, len(values), self.ROWS_PER_PASS):
            rows = slice(start, start + self.ROWS_PER_PASS)
            self._merge_rows(values[rows], None if valid is None else valid[rows])

    def _merge_rows(self, values: torch.Tensor, valid: Optional[torch.Tensor]) -> None:
        rows = values.to(self._moments_device).double()
        if valid is None:
            count: Union[int, torch.Tensor] = len(rows)
            # One row is its own mean, as with a single environment at every step.
            mean = rows.mean(dim=0) if len(rows) > 1 else rows[0]
            variance = (rows - mean).square_().mean(dim=0) if len(rows) > 1 else torch.zeros_like(mean)
        else:
            mask = like_rows(valid.to(self._moments_device), rows)
            nothing = torch.zeros((), dtype=rows.dtype, device=rows.device)
            count = mask.sum()
            number = count.clamp(min=1)
            mean = torch.where(mask, rows, nothing).sum(dim=0) / number
            variance = torch.where(mask, (rows - mean).square(), nothing).sum(dim=0) / number
        self.merge(mean, variance, count)

    def merge(self, mean: torch.Tensor, variance: torch.Tensor, count: Union[int, torch.Tensor]) -> None:
        """Merge the moments of another set of samples, frozen or not.

        Args:
            mean: Its mean, shaped like one sample, float64.
            variance: Its biased variance, likewise.
            count: Its number of members; a tensor has shape ``()`` and is int64.
        """
        total = self.count + count
        # The share of an empty set is 0, also where there was nothing before.
        share = count / total.clamp(min=1).double()
        delta = mean - self.mean
        spread = torch.lerp(self.variance, variance, share)
        self.variance = torch.addcmul(spread, delta.square(), share * (1.0 - share))
        self.mean = torch.addcmul(self.mean, delta, share)
        self.count = total
        self._refresh()

    def to(self, device: torch.device) -> None:
        """Move to another device."""
        self.device = device
        self._moments_device = torch.device("cpu") if device.type == "mps" else device
        for name in ("mean", "variance", "count"):
            setattr(self, name, getattr(self, name).to(self._moments_device))
        self._shift, self._scale = self._shift.to(device), self._scale.to(device)

    def state_dict(self) -> Dict[str, Any]:
        """Return mean, variance and count."""
        return {"mean": self.mean.clone(), "variance": self.variance.clone(), "count": self.count.clone()}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare shapes and types."""
        require_keys(state, ("mean", "variance", "count"), "normaliser")
        lines = tensor_differences(self.state_dict(), state)
        if lines:
            raise StateError("normaliser: {}".format("; ".join(lines)))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over statistics."""
        for name in ("mean", "variance", "count"):
            setattr(self, name, state[name].to(self._moments_device).clone())
        self._refresh()
