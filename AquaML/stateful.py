"""One protocol for everything that a resumed run needs, and the list of parts that is saved and restored as a whole.

A value in a state is a tensor, a numpy array, an int of up to 4096 hexadecimal digits, a float, a string, a bool, None,
or a list, tuple or dict of such values: nothing needs pickle.
"""

import abc
import copy
import dataclasses
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

import torch

from AquaML.errors import StateError, did_you_mean

WEIGHTS = "weights"
"""Role of models and normalisers: what acting needs."""
TRAINING = "training"
"""Role of optimisers, schedulers, loss scalers and counters: what learning on needs besides."""
RUN = "run"
"""Role of memories, random states, environments and the trainer: what an exact resume needs besides."""
ROLES = (WEIGHTS, TRAINING, RUN)


class Stateful(abc.ABC):
    """An object whose state can be saved, checked against and restored."""

    own_file = False
    """Whether a run keeps this state, which is large, in a file beside each checkpoint; such an object has ``clear()``,
    which makes it new, and may be absent from a checkpoint."""

    is_saved = True
    """Whether that file is written at all; only with ``own_file``."""

    @abc.abstractmethod
    def state_dict(self) -> Dict[str, Any]:
        """Return the state; the caller does not change it."""

    @abc.abstractmethod
    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check that :meth:`load_state_dict` would succeed, without changing anything.

        Raises:
            StateError: Says what differs.
        """

    @abc.abstractmethod
    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over a state that :meth:`validate_state` accepted."""


def require_keys(state: Any, expected: Iterable[str], owner: str) -> None:
    """Check that a state is a dictionary with exactly the expected keys.

    Raises:
        StateError: Keys are missing or unknown.
    """
    if not isinstance(state, dict):
        raise StateError("{}: expected a dictionary, got {}.".format(owner, type(state).__name__))
    wanted = set(expected)
    missing, unknown = sorted(wanted - set(state)), sorted(set(state) - wanted, key=str)
    if missing or unknown:
        raise StateError("{}: missing {}, unknown {}.".format(owner, missing or "nothing", unknown or "nothing"))


def tensor_differences(current: Dict[str, Any], saved: Dict[str, Any]) -> List[str]:
    """Compare two flat dictionaries of tensors by name, shape and type; return one line per difference."""
    lines = ["{} is missing".format(name) for name in current if name not in saved]
    lines += ["{} is unknown here".format(name) for name in saved if name not in current]
    for name, tensor in current.items():
        if name not in saved or not isinstance(tensor, torch.Tensor):
            continue
        other = saved[name]
        if not isinstance(other, torch.Tensor):
            lines.append("{} is no tensor".format(name))
        elif tuple(other.shape) != tuple(tensor.shape) or other.dtype != tensor.dtype:
            lines.append(
                "{} is {} {}, expected {} {}".format(
                    name, other.dtype, tuple(other.shape), tensor.dtype, tuple(tensor.shape)
                )
            )
    return lines


def kind_differences(current: Any, saved: Any, name: str) -> List[str]:
    """Compare plain values by their kind: number, string, list, dictionary, tensor; one line per difference.

    For the states of torch's own objects, whose values keep their kind; users' own may change it.

    Args:
        current: The present value; where it is None or of another kind, anything is right.
        saved: The saved value; None is always right.
        name: What the value is called.
    """
    if current is None or saved is None:
        return []
    if isinstance(current, dict) and isinstance(saved, dict):
        return [
            line for key in current if key in saved for line in kind_differences(current[key], saved[key], str(key))
        ]
    if isinstance(current, tuple) and isinstance(saved, tuple) and len(current) == len(saved):
        pairs = enumerate(zip(current, saved))
        return [line for place, (a, b) in pairs for line in kind_differences(a, b, "{}[{}]".format(name, place))]
    for kind, words in _KINDS:
        if isinstance(current, kind):
            # True is an integer to Python, and no number to anybody else.
            fits = isinstance(saved, kind) and isinstance(saved, bool) == isinstance(current, bool)
            fits = fits and (kind is not tuple or len(current) == len(saved))
            return [] if fits else ["{} is a {}, expected {}".format(name, type(saved).__name__, words)]
    return []


def _mixed_moments(states: Dict[Any, Dict[str, Any]], parameters: Dict[Any, torch.Tensor]) -> List[str]:
    """Return one line per moment that is one number for one parameter and one for each entry for another."""
    kinds: Dict[str, Set[str]] = {"step": {"a number"}}
    for index, moments in states.items():
        for name, moment in moments.items():
            found = kinds.setdefault(name, set())
            if not isinstance(moment, torch.Tensor):
                found.add("nothing" if moment is None else "a number")
            elif parameters[index].numel() > 1:  # Of a parameter with one entry both look alike.
                found.add("a number" if moment.numel() == 1 else "a tensor")
    mixed = {name: sorted(found) for name, found in kinds.items() if len(found) > 1}
    return ["{} is {} for different parameters".format(name, " and ".join(mixed[name])) for name in mixed]


_KINDS: Tuple[Tuple[Any, str], ...] = (
    (bool, "True or False"),
    ((int, float), "a number"),
    (str, "a string"),
    (tuple, "a tuple of the same length"),
    (list, "a list"),
    (dict, "a dictionary"),
    (torch.Tensor, "a tensor"),
)


class ModuleState(Stateful):
    """A ``torch.nn.Module`` as a :class:`Stateful`."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.target = module

    def state_dict(self) -> Dict[str, Any]:
        """Return the module's parameters and buffers."""
        return dict(self.target.state_dict())

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare names, shapes and types of all parameters and buffers."""
        require_dictionary(state, type(self.target).__name__)
        lines = tensor_differences(dict(self.target.state_dict()), state)
        if lines:
            raise StateError("{}: {}".format(type(self.target).__name__, "; ".join(lines)))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Copy parameters and buffers in place."""
        self.target.load_state_dict(state)


_IMPLEMENTATION_FLAGS = ("fused", "foreach", "capturable", "differentiable")


class OptimizerState(Stateful):
    """A ``torch.optim.Optimizer`` as a :class:`Stateful`."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.target = optimizer

    def state_dict(self) -> Dict[str, Any]:
        """Return moments and parameter groups."""
        return dict(self.target.state_dict())

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare the groups with their numbers, and every moment's shape and type with its parameter's."""
        owner = type(self.target).__name__
        require_keys(state, ("state", "param_groups"), owner)
        ours, theirs = self.target.param_groups, state["param_groups"]
        sizes = [len(group["params"]) for group in ours], [len(group["params"]) for group in theirs]
        if sizes[0] != sizes[1]:
            raise StateError("{}: parameter groups of sizes {}, expected {}".format(owner, sizes[1], sizes[0]))
        lines = self._differing_hyperparameters(theirs)
        indices = [index for group in theirs for index in group["params"]]
        if len(set(indices)) != len(indices):
            raise StateError("{}: a parameter stands in its groups twice".format(owner))
        parameters = [parameter for group in ours for parameter in group["params"]]
        by_index = dict(zip(indices, parameters))
        for index, moments in state["state"].items():
            if index not in by_index:
                lines.append("moments of an unknown parameter {}".format(index))
            else:
                lines += self._differing_moments(index, by_index[index], moments)
        lines = lines or _mixed_moments(state["state"], by_index)
        if lines:
            raise StateError("{}: {}".format(owner, "; ".join(lines)))

    def _differing_moments(self, index: Any, parameter: torch.Tensor, moments: Dict[str, Any]) -> List[str]:
        present = self.target.state.get(parameter) or {}
        lines = ["{} of parameter {} is missing".format(name, index) for name in present if name not in moments]
        for name, moment in moments.items():
            place = "{} of parameter {}".format(name, index)
            if not isinstance(moment, torch.Tensor):
                lines += kind_differences(0, moment, place)
                continue
            found, shape = tuple(moment.shape), tuple(parameter.shape)
            if moment.dim() > 0 and found != shape:
                lines.append("{} has shape {}, expected {}".format(place, found, shape))
            # The count of steps is float32 whatever the parameter is.
            elif moment.dtype != parameter.dtype and (moment.dim() > 0 or moment.dtype != torch.float32):
                lines.append("{} is {}, expected {}".format(place, moment.dtype, parameter.dtype))
        return lines

    def _differing_hyperparameters(self, groups: List[Dict[str, Any]]) -> List[str]:
        defaults = self.target.defaults
        # Flags come and go between versions of torch, the numbers of an algorithm (its betas, its momentum) do not.
        numbers = [name for name, value in defaults.items() if type(value) in (int, float, tuple)]
        missing = sorted({name for group in groups for name in numbers if name not in group})
        lines = []
        if missing:
            lines.append("the saved groups lack {}, so another optimiser wrote them".format(", ".join(missing)))
        for group in groups:
            for name, value in defaults.items():
                other = group.get(name)
                if isinstance(other, torch.Tensor) and other.numel() == 1 and other.is_floating_point():
                    continue  # A rate may be a tensor.
                lines += kind_differences(value, other, name)
                # Flags such as amsgrad decide which moments there are.
                if type(value) is bool and type(other) is bool and name not in _IMPLEMENTATION_FLAGS and other != value:
                    lines.append("{} is {}, expected {}".format(name, other, value))
        return lines

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Replace moments and groups; how the step is computed stays what this device was given."""
        taken = copy.deepcopy(state)
        for ours, theirs in zip(self.target.param_groups, taken["param_groups"]):
            theirs.update({name: ours[name] for name in _IMPLEMENTATION_FLAGS if name in ours})
        self.target.load_state_dict(taken)


class PlainState(Stateful):
    """Any object with ``state_dict`` and ``load_state_dict``: torch's schedulers, loss scalers, and users' own."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def state_dict(self) -> Dict[str, Any]:
        """Return the object's own state."""
        return copy.deepcopy(self.target.state_dict())

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Let the object check itself if it can, else compare the keys of its state."""
        check = getattr(self.target, "validate_state", None)
        if check is not None:
            check(state)
        else:
            require_keys(state, self.target.state_dict().keys(), type(self.target).__name__)

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Hand the state to the object."""
        self.target.load_state_dict(copy.deepcopy(state))


def require_dictionary(state: Any, owner: str) -> None:
    """Check that a state is a dictionary.

    Raises:
        StateError: It is not.
    """
    if not isinstance(state, dict):
        raise StateError("{}: expected a dictionary, got {}.".format(owner, type(state).__name__))


def as_stateful(target: Any) -> Stateful:
    """Return ``target`` itself if it is a :class:`Stateful`, else the adapter for its kind.

    Raises:
        StateError: The object has no ``state_dict`` and ``load_state_dict``.
    """
    if isinstance(target, Stateful):
        return target
    if isinstance(target, torch.nn.Module):
        return ModuleState(target)
    if isinstance(target, torch.optim.Optimizer):
        return OptimizerState(target)
    if has_state(target) and callable(getattr(target, "load_state_dict", None)):
        return PlainState(target)
    raise StateError("{} has no state_dict and load_state_dict.".format(type(target).__name__))


def has_state(value: Any) -> bool:
    """Return whether a value carries a state of its own."""
    return not isinstance(value, type) and callable(getattr(value, "state_dict", None))


@dataclasses.dataclass
class Part:
    """One named piece of saved state."""

    name: str
    role: str
    target: Any

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise StateError("Part '{}' has role {!r}; expected one of {}.".format(self.name, self.role, ROLES))
        self.stateful = as_stateful(self.target)


def collect_states(parts: Sequence[Part], roles: Iterable[str] = ROLES) -> Dict[str, Dict[str, Any]]:
    """Return ``{name: {"role", "class", "state"}}`` of all parts in the given roles.

    Raises:
        StateError: Two parts have one name.
    """
    wanted = set(roles)
    _require_unique_names(parts)
    return {
        part.name: {"role": part.role, "class": type(part.target).__name__, "state": part.stateful.state_dict()}
        for part in parts
        if part.role in wanted
    }


def _require_unique_names(parts: Sequence[Part]) -> None:
    names = [part.name for part in parts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StateError("Two parts are called '{}'; one would overwrite the other's state.".format(twice[0]))


class Misfit(NamedTuple):
    """One way in which saved states differ from the parts that should take them."""

    role: str
    text: str


def find_misfits(
    parts: Sequence[Part],
    saved: Dict[str, Dict[str, Any]],
    roles: Iterable[str] = ROLES,
    only: Optional[Sequence[str]] = None,
) -> List[Misfit]:
    """Compare saved states with parts, without changing anything.

    Args:
        parts: The parts to restore.
        saved: What :func:`collect_states` returned.
        roles: The roles that must be present.
        only: Names to restrict the comparison to.

    Raises:
        StateError: ``only`` names a part that there is not.
    """
    _require_unique_names(parts)
    chosen = _choose(parts, roles, only)
    found = []
    for part in chosen:
        text = _misfit(part, saved)
        if text:
            found.append(Misfit(part.role, "'{}' {}".format(part.name, text)))
    if only is None:
        names, wanted = {part.name for part in chosen}, set(roles)
        for name, entry in saved.items():
            if entry["role"] in wanted and name not in names:
                found.append(Misfit(entry["role"], "'{}' is not part of this object".format(name)))
    return found


def _misfit(part: Part, saved: Dict[str, Dict[str, Any]]) -> str:
    if part.name not in saved:
        return "is missing"
    entry = saved[part.name]
    if entry["role"] != part.role:
        return "has the role {!r}, expected {!r}".format(entry["role"], part.role)
    try:
        part.stateful.validate_state(entry["state"])
    except StateError as error:
        return "does not fit: {}".format(error)
    except Exception as error:  # A state of a wrong structure trips over itself; it is a misfit like any other.
        return "does not fit: {}: {}".format(type(error).__name__, error)
    return ""


def restore_states(
    parts: Sequence[Part],
    saved: Dict[str, Dict[str, Any]],
    roles: Iterable[str] = ROLES,
    only: Optional[Sequence[str]] = None,
) -> None:
    """Restore all parts in the given roles; everything is validated before anything changes.

    Args:
        parts: The parts to restore.
        saved: What :func:`collect_states` returned.
        roles: The roles that must be present.
        only: Names to restrict the restoring to.

    Raises:
        StateError: Lists every difference; nothing has changed.
    """
    found = find_misfits(parts, saved, roles, only)
    if found:
        raise StateError("; ".join(misfit.text for misfit in found))
    apply_states(parts, saved, roles, only)


def apply_states(
    parts: Sequence[Part],
    saved: Dict[str, Dict[str, Any]],
    roles: Iterable[str] = ROLES,
    only: Optional[Sequence[str]] = None,
) -> None:
    """Restore states in which :func:`find_misfits` found none.

    Raises:
        StateError: A part failed all the same; every part is as it was.
    """
    _load_all_or_nothing([(part, saved[part.name]["state"]) for part in _choose(parts, roles, only)])


def _choose(parts: Sequence[Part], roles: Iterable[str], only: Optional[Sequence[str]]) -> List[Part]:
    if only is None:
        wanted = set(roles)
        return [part for part in parts if part.role in wanted]
    by_name = {part.name: part for part in parts}
    for name in only:
        if name not in by_name:
            raise StateError("There is no part '{}' to load.{}".format(name, did_you_mean(name, by_name)))
    return [by_name[name] for name in only]


def _load_all_or_nothing(pairs: List[Tuple[Part, Dict[str, Any]]]) -> None:
    before = [(part, copy.deepcopy(part.stateful.state_dict())) for part, _ in pairs]
    begun = 0
    try:
        for part, state in pairs:
            begun += 1
            part.stateful.load_state_dict(state)
    except BaseException as error:
        lost = _put_back(before[:begun])
        if not isinstance(error, Exception):
            raise
        text = "'{}' could not be loaded: {}: {}".format(part.name, type(error).__name__, error)
        raise StateError("; ".join([text] + lost)) from error


def _put_back(before: List[Tuple[Part, Dict[str, Any]]]) -> List[str]:
    """Undo loads, the last one first; return one line per part that cannot take its own former state either."""
    lost = []
    for part, state in reversed(before):
        try:
            part.stateful.load_state_dict(state)
        except Exception as error:
            lost.append(
                "'{}' could not be put back either ({}: {}), make a new one".format(
                    part.name, type(error).__name__, error
                )
            )
    return lost


def unregistered_states(owner: Any, parts: Sequence[Part]) -> List[str]:
    """Return the names of ``owner``'s attributes that carry state but belong to no part.

    Attributes are looked at directly and one level deep in lists, tuples and dicts. A module inside a registered
    module counts as registered, and so does what a registered adapter (:class:`ModuleState` …) wraps.
    """
    known = set()
    for part in parts:
        for target in (part.target, getattr(part.target, "target", part.target)):
            known.add(id(target))
            if isinstance(target, torch.nn.Module):
                known.update(id(module) for module in target.modules())
    missing = []
    for name, value in vars(owner).items():
        for label, item in _items_of(name, value):
            if has_state(item) and id(item) not in known:
                missing.append(label)
    return missing


def _items_of(name: str, value: Any) -> List[Tuple[str, Any]]:
    if isinstance(value, dict):
        return [("{}[{!r}]".format(name, key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [("{}[{}]".format(name, index), item) for index, item in enumerate(value)]
    return [(name, value)]
