"""Turning a policy's actions into the environment's own."""

import dataclasses
from typing import Any, Dict, Mapping, Tuple

import numpy as np

from AquaML.environment.spaces import BOX, DISCRETE, SpaceLayout, TensorSpec, compress, first_row
from AquaML.errors import EnvironmentContractError, EnvironmentNonFiniteError, SpaceError


class ActionTransform:
    """Turns a policy's actions into the environment's own: bounds, category offsets, types, nesting.

    Args:
        layout: The action space.
        bounds: ``"clip"`` cuts real-valued actions to the space's bounds; ``"rescale"`` maps -1 … 1 to them and cuts;
            ``"none"`` passes them on.

    Raises:
        SpaceError: ``"rescale"`` was asked for a space with infinite bounds.
    """

    MODES = ("clip", "rescale", "none")

    def __init__(self, layout: SpaceLayout, bounds: str = "clip") -> None:
        if bounds not in self.MODES:
            raise SpaceError("action_bounds is {!r}; expected one of {}.".format(bounds, list(self.MODES)))
        self.layout = layout
        self.bounds = bounds
        self._specs = list(layout.specs.items())
        self._types = {spec.name: np.dtype(spec.native_dtype) for spec in layout.specs.values()}
        self._bounds = {spec.name: _exact_bounds(spec) for spec in layout.specs.values()}
        for spec in layout.specs.values():
            if bounds == "rescale" and spec.kind == BOX and not np.isfinite([spec.low, spec.high]).all():
                raise SpaceError(
                    "action_bounds='rescale' needs finite bounds, but action '{}' has low {} and high {}; use 'clip' "
                    "or 'none'.".format(spec.name, compress(spec.low), compress(spec.high))
                )

    def __call__(self, leaves: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """Convert a batch.

        Args:
            leaves: Action name to ``(N,) + shape`` arrays; they are not changed.

        Returns:
            Action name to ``(N,) + native_shape`` arrays of the native types.

        Raises:
            EnvironmentContractError: A value is NaN, or a category is out of range.
        """
        return {name: self._convert(spec, leaves[name]) for name, spec in self._specs}

    def _convert(self, spec: TensorSpec, values: np.ndarray) -> np.ndarray:
        shape = (len(values),) + spec.native_shape
        if values.dtype.kind == "f":
            _require_no_nan(spec, values)
        if spec.kind == BOX:
            if self.bounds == "rescale":
                values = spec.low + (np.clip(values, -1.0, 1.0) + 1.0) * 0.5 * (spec.high - spec.low)
            if self.bounds != "none":
                low, high = self._bounds[spec.name].get(values.dtype, (spec.low, spec.high))
                values = np.minimum(np.maximum(values, low), high)
            if not spec.is_floating and values.dtype.kind == "f":
                # The nearest whole number; a bare cast would favour zero.
                values = np.rint(values)
            # Where nothing was computed, the agent's own array must be left behind.
            kept = self.bounds == "none"
            return values.astype(self._types[spec.name], copy=kept).reshape(shape)
        whole = values.astype(np.int64)
        outside = (whole < 0) | (whole > spec.high)
        if np.count_nonzero(outside):
            row = first_row(outside)
            raise EnvironmentContractError(
                "Action '{}' is {} for environment {}; expected categories from 0 to {} (where the space starts "
                "elsewhere, the wrapper adds its start).".format(
                    spec.name, whole[row].tolist(), row, spec.high.astype(int).tolist()
                )
            )
        offset = np.asarray(spec.start, np.int64).reshape(spec.shape)
        return (whole + offset).astype(self._types[spec.name], copy=False).reshape(shape)

    def row(self, native: Mapping[str, np.ndarray], index: int) -> Any:
        """Return a copy of one environment's action in the space's own nesting."""
        leaves: Dict[str, Any] = {}
        for name, spec in self.layout.specs.items():
            values = native[name]
            # A Discrete action is a numpy integer, which unlike an array can index and be hashed.
            leaves[name] = values[index] if spec.kind == DISCRETE else np.array(values[index])
        return self.layout.unflatten(leaves)


def policy_specs(specs: Mapping[str, TensorSpec], bounds: str) -> Dict[str, TensorSpec]:
    """Return the action space as a policy has to fill it: -1 … 1 where the wrapper rescales.

    Args:
        specs: The environment's action space.
        bounds: ``"clip"``, ``"rescale"`` or ``"none"``.
    """
    if bounds != "rescale":
        return dict(specs)
    ones = {name: np.ones(spec.shape) for name, spec in specs.items()}
    return {
        name: dataclasses.replace(spec, low=-ones[name], high=ones[name]) if spec.kind == BOX else spec
        for name, spec in specs.items()
    }


def _exact_bounds(spec: TensorSpec) -> Dict[np.dtype, Tuple[np.ndarray, np.ndarray]]:
    """Return the bounds in the types that hold them exactly, so that clipping need not go through float64."""
    bounds = {}
    for kind in ("float32", "float64"):
        low, high = spec.low.astype(kind), spec.high.astype(kind)
        if np.array_equal(low, spec.low) and np.array_equal(high, spec.high):
            bounds[np.dtype(kind)] = (low, high)
    return bounds


def _require_no_nan(spec: TensorSpec, values: np.ndarray) -> None:
    total = np.add.reduce(values, axis=None)
    # A sum is NaN if an entry is; it may also be where infinities meet, so a suspicion is looked into.
    if total != total and np.isnan(values).any():
        row = first_row(np.isnan(values))
        raise EnvironmentNonFiniteError(
            "Action '{}' holds NaN for environment {}; the policy's output is not usable.".format(spec.name, row),
            "action",
            spec.name,
            (row,),
        )
