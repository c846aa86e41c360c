"""Spaces as a file tells of them, checked before anything is made by them."""

from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from AquaML.environment.spaces import (
    BOX,
    DISCRETE,
    KEPT_TYPES,
    MULTI_BINARY,
    MULTI_DISCRETE,
    SpaceLayout,
    Structure,
    TensorSpec,
    leaf_names,
)
from AquaML.errors import SpaceError

_KINDS = (BOX, DISCRETE, MULTI_DISCRETE, MULTI_BINARY)
_TEXTS = ("name", "kind", "dtype", "native_dtype")
_COUNTS = ("shape", "sizes", "start", "native_shape")
_FIELDS = _TEXTS + _COUNTS + ("low", "high")
_MOST_ENTRIES = {True: 2**21, False: 2**28}
"""Entries of a leaf of real numbers (statistics are kept of each) and of another one, whatever the file holds."""
_BYTES_PER_ENTRY = 16
"""What a file holds for each entry of a normalised leaf."""


def read_layout(values: Any, stored_bytes: int) -> SpaceLayout:
    """Rebuild a layout from what :meth:`SpaceLayout.to_dict` gave and a file held.

    Args:
        values: The description, of any form.
        stored_bytes: Number of bytes of all tensors in that file; a space that is much larger is refused.

    Raises:
        SpaceError: The description is none.
    """
    try:
        if set(values) != {"specs", "structure"}:
            raise ValueError("a space described by {}".format(sorted(values, key=str)))
        specs = [_read_spec(item, stored_bytes) for item in values["specs"]]
        layout = SpaceLayout({spec.name: spec for spec in specs}, values["structure"])
        _require_structure(layout.structure)
        if not specs or leaf_names(layout.structure) != [spec.name for spec in specs]:
            raise ValueError("leaves and nesting name other observations or actions")
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise SpaceError("no description of a space ({}: {})".format(type(error).__name__, str(error)[:200])) from error
    return layout


def _read_spec(values: Mapping[str, Any], stored_bytes: int) -> TensorSpec:
    if set(values) != set(_FIELDS):
        raise ValueError("a leaf described by {}".format(sorted(values, key=str)))
    if not all(isinstance(values[name], str) and values[name] for name in _TEXTS):
        raise ValueError("a name, kind or type that is no text")
    if not all(type(number) is int for name in _COUNTS for number in values[name]):
        raise ValueError("a shape or number of categories that is no integer")
    if values["kind"] not in _KINDS or values["dtype"] not in KEPT_TYPES:
        raise ValueError("kind {!r} of type {!r}".format(values["kind"], values["dtype"]))
    entries = _entries(values["shape"])
    most = max(_MOST_ENTRIES[values["dtype"].startswith("float")], stored_bytes // _BYTES_PER_ENTRY)
    if not values["shape"] or not 0 < entries <= most:
        raise ValueError("shape {} in a file of {} bytes".format(values["shape"], stored_bytes))
    _require_categories(values, entries)
    for name in ("low", "high"):
        bound = np.asarray(values[name], np.float64)
        if bound.ndim > 1 or (bound.ndim == 1 and bound.size != entries):
            raise ValueError("{} has other than {} entries".format(name, entries))
    return TensorSpec.from_dict(values)


def _require_categories(values: Mapping[str, Any], entries: int) -> None:
    expected = 0 if values["kind"] == BOX else entries
    if len(values["sizes"]) != expected or len(values["start"]) != expected or any(n < 1 for n in values["sizes"]):
        raise ValueError("{} numbers of categories for {} entries".format(len(values["sizes"]), expected))
    if _entries(values["native_shape"]) != entries:
        raise ValueError("a shape of {} entries for {}".format(_entries(values["native_shape"]), entries))


def _entries(shape: List[int]) -> int:
    """Return the number of entries, 0 where there is none or the shape is none."""
    count = 1
    for length in shape[:33]:
        count *= length if 0 < length < 2**48 else 0
    return count if len(shape) <= 32 else 0


def _require_structure(structure: Structure) -> None:
    if isinstance(structure, str):
        return
    if set(structure) != {"kind", "items"} or structure["kind"] not in ("Dict", "Tuple"):
        raise ValueError("a nesting of another kind")
    for key, part in structure["items"].items():
        if not isinstance(key, str):
            raise ValueError("a key that is no text")
        _require_structure(part)
    if structure["kind"] == "Tuple" and list(structure["items"]) != [str(i) for i in range(len(structure["items"]))]:
        raise ValueError("parts of a tuple that are not counted")


def read_spaces(values: Any, stored_bytes: int) -> Tuple[SpaceLayout, SpaceLayout, str]:
    """Return observations, actions and the treatment of action bounds from the entry ``spaces`` of a file's metadata.

    Raises:
        SpaceError: The entry is none.
    """
    if not isinstance(values, Dict) or set(values) != {"observations", "actions", "action_bounds"}:
        raise SpaceError("no description of spaces")
    if values["action_bounds"] not in ("none", "clip", "rescale"):
        raise SpaceError("unknown action_bounds")
    observations = read_layout(values["observations"], stored_bytes)
    return observations, read_layout(values["actions"], stored_bytes), values["action_bounds"]
