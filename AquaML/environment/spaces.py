"""Translation between an environment's spaces and AquaML's flat, named leaves.

A space of any nesting becomes a :class:`SpaceLayout`: an ordered dictionary of named leaves plus the structure needed
to put them together again. Spaces are recognised by the names of their classes, else by their attributes, so old
``gym`` spaces and a simulator's own work as well as Gymnasium's, and no such package is imported here.
"""

import dataclasses
from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple, Union

import numpy as np

from AquaML.errors import EnvironmentContractError, SpaceError

OBSERVATION_NAME = "state"
"""Name of the only leaf of an observation space that is no Dict or Tuple."""
PRIVILEGED_NAME = "privileged"
"""Name of what only a critic sees."""
ACTION_NAME = "action"
"""Name of the only leaf of an action space that is no Dict or Tuple."""

BOX, DISCRETE, MULTI_DISCRETE, MULTI_BINARY = "box", "discrete", "multi_discrete", "multi_binary"

KEPT_TYPES = ("float32", "uint8", "int8", "int16", "int32", "int64", "bool")
"""Types in which leaves are stored."""
_STORED_TYPES = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}
"""Unsigned types that old versions of torch lack; every floating type is stored as float32."""

Structure = Union[str, Dict[str, Any]]
"""A leaf's name, or ``{"kind": "Dict" | "Tuple", "items": ...}``."""


@dataclasses.dataclass(eq=False)
class TensorSpec:
    """One leaf of a space, as AquaML stores it, for one environment.

    Attributes:
        name: The leaf's name; nested keys are joined by ``/``.
        kind: ``"box"``, ``"discrete"``, ``"multi_discrete"`` or ``"multi_binary"``.
        shape: Shape without the environment axis; at least one axis.
        dtype: Name of the stored type; float64 is stored as float32.
        low: Lowest values, shaped like the leaf; category indices start at 0.
        high: Highest values, shaped like the leaf.
        sizes: Number of categories of each entry; empty for ``"box"``.
        start: What the environment adds to each category index; empty for ``"box"``.
        native_shape: Shape in the environment's own space.
        native_dtype: Type in the environment's own space.
    """

    name: str
    kind: str
    shape: Tuple[int, ...]
    dtype: str
    low: np.ndarray
    high: np.ndarray
    sizes: Tuple[int, ...]
    start: Tuple[int, ...]
    native_shape: Tuple[int, ...]
    native_dtype: str

    def __getitem__(self, field: str) -> Any:
        """Return a field by name, so that a specification also reads as a mapping."""
        try:
            return getattr(self, field)
        except AttributeError:
            raise KeyError(field) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorSpec) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    @property
    def size(self) -> int:
        """Number of entries of one sample."""
        return int(np.prod(self.shape))

    @property
    def is_floating(self) -> bool:
        """Whether the leaf holds real numbers."""
        return self.dtype.startswith("float")

    @property
    def is_bounded(self) -> bool:
        """Whether every entry has finite bounds, the lower one below the upper one."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all() and (self.low < self.high).all())

    @property
    def one_hot_size(self) -> int:
        """Number of features when categories are one-hot and everything else is flattened."""
        return sum(self.sizes) if self.kind in (DISCRETE, MULTI_DISCRETE) else self.size

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON values; bounds that are equal everywhere become one number."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values.update({name: list(values[name]) for name in ("shape", "sizes", "start", "native_shape")})
        values.update(low=compress(self.low), high=compress(self.high))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TensorSpec":
        """Rebuild a specification from :meth:`to_dict`."""
        fields = dict(values)
        fields.update({name: tuple(fields[name]) for name in ("shape", "sizes", "start", "native_shape")})
        for name in ("low", "high"):
            bound = np.asarray(fields[name], dtype=np.float64)
            # One number for all is shown, not copied: a file may name a shape of any size.
            whole = np.broadcast_to(bound, fields["shape"]) if bound.ndim == 0 else bound.reshape(fields["shape"])
            fields[name] = whole
        return cls(**fields)


def is_privileged(name: str) -> bool:
    """Return whether an observation is for the critic alone: ``"privileged"`` and what is below it."""
    return name == PRIVILEGED_NAME or name.startswith(PRIVILEGED_NAME + "/")


def compress(bounds: np.ndarray) -> Union[float, List[float]]:
    """Return bounds as one number where all are equal, else as a list."""
    if not any(bounds.strides):
        return float(bounds[(0,) * bounds.ndim])
    flat = bounds.ravel()
    return float(flat[0]) if (flat == flat[0]).all() else [float(value) for value in flat]


@dataclasses.dataclass
class SpaceLayout:
    """The named leaves of a space, in a fixed order, and how they nest.

    Attributes:
        specs: Leaf name to :class:`TensorSpec`.
        structure: The nesting.
    """

    specs: Dict[str, TensorSpec]
    structure: Structure

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON values."""
        return {"specs": [spec.to_dict() for spec in self.specs.values()], "structure": self.structure}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SpaceLayout":
        """Rebuild a layout from :meth:`to_dict`."""
        specs = [TensorSpec.from_dict(item) for item in values["specs"]]
        return cls({spec.name: spec for spec in specs}, values["structure"])

    def differences(self, other: "SpaceLayout") -> List[str]:
        """Return one line per leaf in which another layout differs from this one."""
        lines = []
        if list(self.specs) != list(other.specs):
            lines.append("keys {} instead of {}".format(list(other.specs), list(self.specs)))
        for name in self.specs:
            if name in other.specs and self.specs[name] != other.specs[name]:
                ours, theirs = self.specs[name].to_dict(), other.specs[name].to_dict()
                for field in ours:
                    if ours[field] != theirs[field]:
                        lines.append("{}.{} is {} instead of {}".format(name, field, theirs[field], ours[field]))
        return lines

    def flatten(self, value: Any) -> Dict[str, np.ndarray]:
        """Take a nested value (one sample or a batch) apart into its leaves, without changing them.

        Raises:
            EnvironmentContractError: A key or part is missing.
        """
        leaves: Dict[str, np.ndarray] = {}
        _flatten(self.structure, value, leaves)
        return leaves

    def flatten_needed(self, value: Any, needed: Iterable[str]) -> Dict[str, np.ndarray]:
        """Take a nested value apart as :meth:`flatten` does; keys below which no needed leaf stands may be missing.

        Args:
            value: One sample, for example what a robot observes.
            needed: Names of the leaves that must be there.
        """
        if isinstance(self.structure, str) and isinstance(value, Mapping) and set(value) == {self.structure}:
            # The name is no part of the environment's nesting, but what the leaf is called everywhere else.
            value = value[self.structure]
        leaves: Dict[str, np.ndarray] = {}
        _flatten(_present(self.structure, value, set(needed)), value, leaves)
        return leaves

    def unflatten(self, leaves: Mapping[str, Any]) -> Any:
        """Put leaves together into the environment's own nesting."""
        return _unflatten(self.structure, leaves)


def layout_of(space: Any, root_name: str) -> SpaceLayout:
    """Describe a space by named leaves.

    Args:
        space: A Gymnasium (or old gym) Box, Discrete, MultiDiscrete, MultiBinary, Tuple or Dict, nested at will.
        root_name: The name of the only leaf when the space is neither Dict nor Tuple.

    Returns:
        The layout.

    Raises:
        SpaceError: A space is of another kind, empty, or its names clash.
    """
    specs: Dict[str, TensorSpec] = {}
    structure = _describe(space, "", root_name, specs)
    if not specs:
        raise SpaceError("{} holds nothing; expected at least one Box or discrete space in it.".format(space))
    return SpaceLayout(specs, structure)


def _kind_of(space: Any, name: str) -> str:
    names = [base.__name__ for base in type(space).__mro__]
    for kind in ("Dict", "Tuple", "Box", "MultiDiscrete", "MultiBinary", "Discrete"):
        if kind in names:
            return kind
    if isinstance(getattr(space, "spaces", None), Mapping):
        return "Dict"
    for attribute, kind in (("low", "Box"), ("nvec", "MultiDiscrete"), ("n", "Discrete")):
        if hasattr(space, attribute) and hasattr(space, "shape") and hasattr(space, "dtype"):
            return kind
    raise SpaceError(
        "'{}': space {} of type {} is not supported; AquaML takes Box, Discrete, MultiDiscrete, MultiBinary, Tuple "
        "and Dict. Wrap the environment to convert it.".format(name, space, type(space).__name__)
    )


def _describe(space: Any, prefix: str, root_name: str, specs: Dict[str, TensorSpec]) -> Structure:
    kind = _kind_of(space, prefix or root_name)
    if kind in ("Dict", "Tuple"):
        items = (
            list(space.spaces.items()) if kind == "Dict" else [(str(i), part) for i, part in enumerate(space.spaces)]
        )
        described = [(key, _describe(part, _join(prefix, key), root_name, specs)) for key, part in items]
        return {"kind": kind, "items": dict(described)}
    name = prefix or root_name
    if name in specs:
        raise SpaceError("Two parts of the space are called '{}'; rename one.".format(name))
    specs[name] = _leaf(space, kind, name)
    return name


def _join(prefix: str, key: Any) -> str:
    if not isinstance(key, str) or key == "":
        raise SpaceError("Space key {!r}{} is no name; use non-empty strings.".format(key, _inside(prefix)))
    if "/" in key:
        raise SpaceError(
            "Space key {!r}{} contains '/', which joins nested keys; rename it.".format(key, _inside(prefix))
        )
    return "{}/{}".format(prefix, key) if prefix else key


def _inside(prefix: str) -> str:
    return " inside '{}'".format(prefix) if prefix else ""


def _leaf(space: Any, kind: str, name: str) -> TensorSpec:
    sizes: Tuple[int, ...] = ()
    start: Tuple[int, ...] = ()
    native_shape = tuple(int(size) for size in space.shape or ())
    native_dtype = np.dtype(space.dtype).name
    is_float = np.dtype(space.dtype).kind == "f"
    dtype = "float32" if is_float else _STORED_TYPES.get(native_dtype, native_dtype)
    if dtype not in KEPT_TYPES:
        raise SpaceError("Space '{}' has type {}; expected real or whole numbers.".format(name, native_dtype))
    if kind == "Box":
        # Some simulators give one bound for all entries.
        low, high = (np.broadcast_to(np.asarray(bound, np.float64), native_shape) for bound in (space.low, space.high))
        code = BOX
    elif kind == "MultiBinary":
        low, high = np.zeros(native_shape), np.ones(native_shape)
        sizes, start = (2,) * int(np.prod(native_shape)), (0,) * int(np.prod(native_shape))
        code = MULTI_BINARY
    else:
        counts = np.asarray(space.n if kind == "Discrete" else space.nvec, np.int64)
        offset = np.broadcast_to(np.asarray(getattr(space, "start", 0), np.int64), counts.shape)
        sizes, start = tuple(int(n) for n in counts.ravel()), tuple(int(n) for n in offset.ravel())
        low, high = np.zeros(counts.shape), np.asarray(counts - 1, np.float64)
        dtype, code = "int64", DISCRETE if kind == "Discrete" else MULTI_DISCRETE
    shape = native_shape or (1,)
    if 0 in shape:
        raise SpaceError("Space '{}' has shape {}, which holds nothing; leave it out.".format(name, shape))
    return TensorSpec(
        name, code, shape, dtype, low.reshape(shape), high.reshape(shape), sizes, start, native_shape, native_dtype
    )


def unbounded_leaf(name: str, shape: Tuple[int, ...], dtype: str = "float32") -> TensorSpec:
    """Describe real or whole numbers without bounds, for simulators that declare no spaces.

    Args:
        name: The leaf's name.
        shape: Shape of one environment's values.
        dtype: Name of their type.

    Raises:
        SpaceError: The type is no number's, or the shape holds nothing.
    """
    kept = "float32" if dtype in ("float16", "bfloat16", "float64") else _STORED_TYPES.get(dtype, dtype)
    stored = tuple(int(size) for size in shape) or (1,)
    if kept not in KEPT_TYPES or 0 in stored:
        raise SpaceError(
            "'{}' has shape {} and type {}; expected at least one real or whole number.".format(name, shape, dtype)
        )
    bound = np.full(stored, np.inf)
    native = "float32" if dtype == "bfloat16" else dtype
    return TensorSpec(name, BOX, stored, kept, -bound, bound, (), (), tuple(int(size) for size in shape), native)


def _flatten(structure: Structure, value: Any, leaves: Dict[str, np.ndarray]) -> None:
    if isinstance(structure, str):
        leaves[structure] = value if isinstance(value, np.ndarray) else _as_array(structure, value)
        return
    items = structure["items"]
    if structure["kind"] == "Dict":
        if not isinstance(value, Mapping):
            raise EnvironmentContractError(
                "Expected a dict with the keys {}, got {}.".format(join_names(items), _short(value))
            )
        if set(value) != set(items):
            raise EnvironmentContractError(
                "Expected a dict with the keys {}, got the keys {}.".format(join_names(items), join_names(value))
            )
        for key, part in items.items():
            _flatten(part, value[key], leaves)
        return
    if not isinstance(value, (tuple, list)) or len(value) != len(items):
        raise EnvironmentContractError("Expected a tuple of {} parts, got {}.".format(len(items), _short(value)))
    for key, part in items.items():
        _flatten(part, value[int(key)], leaves)


def _short(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return "a {} of {}".format(type(value).__name__, len(value))
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else "{} of shape {}".format(type(value).__name__, tuple(shape))


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise EnvironmentContractError("'{}' is no regular array: {}".format(name, error)) from error


def _present(structure: Structure, value: Any, needed: Set[str]) -> Structure:
    """Return the structure without the keys that are missing in ``value`` and not needed."""
    if isinstance(structure, str) or structure["kind"] != "Dict" or not isinstance(value, Mapping):
        return structure
    items = {
        key: _present(part, value.get(key), needed)
        for key, part in structure["items"].items()
        if key in value or needed.intersection(leaf_names(part))
    }
    return {"kind": "Dict", "items": items}


def leaf_names(structure: Structure) -> List[str]:
    """Return the names of the leaves of a nesting, in their order."""
    if isinstance(structure, str):
        return [structure]
    return [name for part in structure["items"].values() for name in leaf_names(part)]


def _unflatten(structure: Structure, leaves: Mapping[str, Any]) -> Any:
    if isinstance(structure, str):
        return leaves[structure]
    if structure["kind"] == "Dict":
        return {key: _unflatten(part, leaves) for key, part in structure["items"].items()}
    return tuple(_unflatten(part, leaves) for part in structure["items"].values())


_ACCEPTED_KINDS = {"f": "fiub", "i": "iub", "u": "iub", "b": "b"}
"""Kinds of numpy types that may be written into a kind without a loss that an environment's author did not intend."""


def store_leaf(spec: TensorSpec, value: np.ndarray, out: np.ndarray) -> None:
    """Write one environment's leaf, or a batch of them, into stored form.

    Args:
        spec: The leaf.
        value: Native values, shape ``native_shape`` or ``(N,) + native_shape``.
        out: Where to write, shape ``shape`` or ``(N,) + shape``.

    Raises:
        EnvironmentContractError: The value has another shape than the space declares, or a type that would lose its
            value.
    """
    batch = out.shape[: out.ndim - len(spec.shape)]
    if value.shape != batch + spec.native_shape:
        raise EnvironmentContractError(
            "'{}' has shape {}, but its space declares {}.".format(spec.name, value.shape, batch + spec.native_shape)
        )
    if value.dtype.kind not in _ACCEPTED_KINDS[out.dtype.kind]:
        raise EnvironmentContractError(
            "'{}' has type {}, but its space declares {}.".format(spec.name, value.dtype, spec.native_dtype)
        )
    out[...] = value.reshape(out.shape)
    if any(spec.start):
        out -= np.asarray(spec.start, out.dtype).reshape(spec.shape)


def first_row(mask: np.ndarray) -> int:
    """Return the first row of a ``(N, ...)`` mask that holds True."""
    return int(np.argmax(mask.reshape(len(mask), -1).any(axis=1)))


def join_names(names: Iterable[Any]) -> str:
    """Return names as a readable list for messages."""
    return ", ".join("'{}'".format(name) for name in names)


def check_action_leaves(
    specs: Mapping[str, TensorSpec], actions: Any, num_envs: Optional[int], owner: str
) -> Dict[str, Any]:
    """Check actions by name and shape; a bare tensor is accepted where there is one action.

    Args:
        specs: The action space's leaves.
        actions: A dictionary of tensors or arrays, or one of them.
        num_envs: Expected number of rows; None accepts any.
        owner: Who produced them, for messages.

    Returns:
        The actions by name, in the order of the space.

    Raises:
        EnvironmentContractError: A name or shape is wrong.
    """
    if not isinstance(actions, Mapping):
        if len(specs) != 1 or not hasattr(actions, "shape"):
            raise EnvironmentContractError(
                "{} gave {}; expected a dict of tensors with the keys {}{}.".format(
                    owner, _short(actions), join_names(specs), ", or that tensor" if len(specs) == 1 else ""
                )
            )
        actions = {next(iter(specs)): actions}
    if set(actions) != set(specs):
        raise EnvironmentContractError(
            "{} gave actions {}; expected {}.".format(owner, join_names(actions), join_names(specs))
        )
    for name, spec in specs.items():
        if not hasattr(actions[name], "shape"):
            raise EnvironmentContractError(
                "{} gave {} as action '{}'; expected a tensor.".format(owner, _short(actions[name]), name)
            )
        shape = tuple(actions[name].shape)
        rows = num_envs if num_envs is not None else (shape[0] if shape else 0)
        if shape != (rows,) + spec.shape:
            raise EnvironmentContractError(
                "{} gave action '{}' of shape {}; expected {} (one row per environment).".format(
                    owner, name, shape, (rows,) + spec.shape
                )
            )
    return {name: actions[name] for name in specs}
