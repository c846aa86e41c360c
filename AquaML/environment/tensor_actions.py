"""Turning a policy's actions into those of a simulator that takes tensors."""

import dataclasses
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np
import torch

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.spaces import BOX, SpaceLayout, TensorSpec
from AquaML.errors import EnvironmentContractError

Conversion = Callable[[torch.Tensor], torch.Tensor]


class TensorActions:
    """What :class:`~AquaML.environment.action_transform.ActionTransform` does, for tensors on any device.

    The result never shares memory with the agent's tensors, and nothing is read back from the device: categories out of
    range are therefore not looked for.

    Args:
        layout: The action space.
        bounds: ``"clip"``, ``"rescale"`` or ``"none"``.
        device: Where the simulator wants them.

    Raises:
        SpaceError: The mode is unknown, or ``"rescale"`` was asked for a space with infinite bounds.
    """

    def __init__(self, layout: SpaceLayout, bounds: str, device: torch.device) -> None:
        # For its checks: the same arguments are refused, in the same words.
        ActionTransform(layout, bounds)
        self._layout = layout
        self._device = device
        self._conversions: List[Tuple[str, Conversion]] = [
            (name, _conversion(spec, bounds, device)) for name, spec in layout.specs.items()
        ]

    def __call__(self, leaves: Mapping[str, torch.Tensor]) -> Any:
        """Convert a batch and put it into the simulator's own nesting."""
        converted: Dict[str, Any] = {}
        for name, convert in self._conversions:
            values = leaves[name]
            if not isinstance(values, torch.Tensor):
                values = torch.as_tensor(values)
            converted[name] = convert(values.detach().to(self._device))
        return self._layout.unflatten(converted)


def limit_actions(layout: SpaceLayout, limit: Optional[float]) -> SpaceLayout:
    """Give real-valued actions the bounds ``±limit``, where a simulator declares none; None leaves them as they are.

    Raises:
        EnvironmentContractError: The limit is not above 0.
    """
    if limit is None:
        return layout
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit > 0.0:
        raise EnvironmentContractError("clip_actions is {!r}; expected None or a number above 0.".format(limit))
    specs = {}
    for name, spec in layout.specs.items():
        bound = np.full(spec.shape, float(limit))
        specs[name] = dataclasses.replace(spec, low=-bound, high=bound) if spec.kind == BOX else spec
    return SpaceLayout(specs, layout.structure)


def _conversion(spec: TensorSpec, bounds: str, device: torch.device) -> Conversion:
    dtype = getattr(torch, spec.native_dtype)
    shape = (-1,) + spec.native_shape
    convert = _box(spec, bounds, device) if spec.kind == BOX else _categories(spec, device)
    if dtype == torch.float32 and spec.native_shape == spec.shape and spec.is_floating:
        return convert
    return lambda values: convert(values).to(dtype).reshape(shape)


def _box(spec: TensorSpec, bounds: str, device: torch.device) -> Conversion:
    low, high = _bound(spec.low, device), _bound(spec.high, device)
    unbounded = not np.isfinite([spec.low, spec.high]).any()
    if bounds == "none" or unbounded:
        return _copy if spec.is_floating else torch.round
    if bounds == "rescale":
        half = (high - low) * 0.5
        return lambda values: (torch.clamp(values, -1.0, 1.0) + 1.0) * half + low
    if spec.is_floating:
        return lambda values: torch.clamp(values, low, high)
    return lambda values: torch.round(torch.clamp(values, low, high))


def _categories(spec: TensorSpec, device: torch.device) -> Conversion:
    start = torch.tensor(spec.start, dtype=torch.int64, device=device).reshape(spec.shape)
    return lambda values: values.to(torch.int64) + start


def _bound(bound: np.ndarray, device: torch.device) -> Any:
    """Return a number where all entries are equal, which is cheaper to compare with."""
    flat = bound.reshape(-1)
    if (flat == flat[0]).all():
        return float(flat[0])
    return torch.as_tensor(bound, dtype=torch.float32, device=device)


def _copy(values: torch.Tensor) -> torch.Tensor:
    return values.clone()
