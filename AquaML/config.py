"""Typed, validated configuration: the base class of every ``*Cfg`` and ``*Config``.

A configuration is a dataclass. Its attributes may be set freely until an agent, model or trainer takes it; from then
on it is frozen. Unknown names are errors at construction, at assignment and when read from a file, and each error
names the nearest real field.
"""

import collections.abc
import dataclasses
import json
import math
import re
import typing
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple, Type, TypeVar, Union

from AquaML.errors import ConfigError, FrozenConfigError, MissingDependencyError, did_you_mean

ConfigType = TypeVar("ConfigType", bound="Config")


def option(
    default: Any = dataclasses.MISSING,
    *,
    factory: Any = dataclasses.MISSING,
    above: Optional[float] = None,
    at_least: Optional[float] = None,
    at_most: Optional[float] = None,
    below: Optional[float] = None,
    choices: Optional[Sequence[Any]] = None,
) -> Any:
    """Declare a configuration field together with its range.

    Args:
        default: The default value.
        factory: A callable that makes the default, for mutable values.
        above: Exclusive lower bound.
        at_least: Inclusive lower bound.
        at_most: Inclusive upper bound.
        below: Exclusive upper bound.
        choices: The allowed values. Bounds and choices apply only to values that are not None.

    Returns:
        A dataclass field.
    """
    limits = {"above": above, "at_least": at_least, "at_most": at_most, "below": below, "choices": choices}
    metadata = {name: limit for name, limit in limits.items() if limit is not None}
    if factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Config:
    """Base of all configurations; subclasses are dataclasses whose fields are made with :func:`option`."""

    _frozen_by: Optional[str] = None

    def __new__(cls: Type[ConfigType], *args: Any, **kwargs: Any) -> ConfigType:
        """Refuse unknown names before the dataclass does, with a suggestion."""
        for name in kwargs:
            cls._require_known(name)
        return super().__new__(cls)

    @classmethod
    def field_names(cls) -> Tuple[str, ...]:
        """Return the names of all fields, in order of declaration."""
        return tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]

    @classmethod
    def _require_known(cls, name: str) -> None:
        names = cls.field_names()
        if name not in names:
            raise ConfigError("{} has no field '{}'.{}".format(cls.__name__, name, did_you_mean(name, names)))

    def __setattr__(self, name: str, value: Any) -> None:
        self._require_known(name)
        if self._frozen_by is not None:
            raise FrozenConfigError(
                "{}.{} cannot be set to {!r}: {} has taken this configuration. Set it before, or make a copy with "
                "'copy()' for another one.".format(type(self).__name__, name, value, self._frozen_by)
            )
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise ConfigError("{}.{} cannot be deleted; set it instead.".format(type(self).__name__, name))

    def take(self: ConfigType, owner: str) -> ConfigType:
        """Validate and freeze this configuration on behalf of ``owner``; taking it twice is allowed.

        Args:
            owner: Who takes it, for the error message of a later assignment.

        Returns:
            This object.

        Raises:
            ConfigError: A field is of the wrong type or out of range.
        """
        self.validate()
        if self._frozen_by is None:
            object.__setattr__(self, "_frozen_by", owner)
        for name in self.field_names():
            for _, nested in _nested_configs(name, getattr(self, name)):
                nested.take(owner)
        return self

    def copy(self: ConfigType, **changes: Any) -> ConfigType:
        """Return an unfrozen copy with some fields changed."""
        values = {name: _copy_value(getattr(self, name)) for name in self.field_names()}
        values.update(changes)
        return type(self)(**values)

    def validate(self) -> None:
        """Check every field's type and range, then the relations between fields.

        Subclasses override :meth:`check_relations` for rules that involve several fields.

        Raises:
            ConfigError: Names the field, its value and what was expected.
        """
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if not matches_type(value, hints[field.name]):
                wanted, found = describe_type(hints[field.name]), type(value).__name__
                self.fail(field.name, "a value of type {}, not {}".format(wanted, found))
            if isinstance(value, float) and not math.isfinite(value):
                self.fail(field.name, "a finite number")
            if value is not None and not isinstance(value, str):
                self._check_range(field.name, value, field.metadata)
            if value is not None and "choices" in field.metadata and value not in field.metadata["choices"]:
                nearest = did_you_mean(value, field.metadata["choices"]) if isinstance(value, str) else ""
                self.fail(field.name, "one of {}".format(list(field.metadata["choices"])), nearest)
            for place, nested in _nested_configs(field.name, value):
                try:
                    nested.validate()
                except ConfigError as error:
                    raise ConfigError("{}.{}: {}".format(type(self).__name__, place, error)) from error
        self.check_relations()

    def check_relations(self) -> None:
        """Check rules between fields; the base class has none."""

    def _check_range(self, name: str, value: Any, limits: Any) -> None:
        for key, holds, words in (
            ("above", lambda a, b: a > b, "greater than"),
            ("at_least", lambda a, b: a >= b, "at least"),
            ("at_most", lambda a, b: a <= b, "at most"),
            ("below", lambda a, b: a < b, "less than"),
        ):
            if key in limits and not isinstance(value, bool) and not holds(value, limits[key]):
                self.fail(name, "a value {} {}".format(words, limits[key]))

    def fail(self, name: str, expected: str, advice: str = "") -> None:
        """Raise the one form of configuration error: field, value, expectation, advice."""
        raise ConfigError(
            "{}.{} is {!r}; expected {}.{}".format(type(self).__name__, name, getattr(self, name), expected, advice)
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return the fields as plain JSON values; callables and classes appear by name."""
        return {name: _plain(getattr(self, name)) for name in self.field_names()}

    @classmethod
    def from_dict(cls: Type[ConfigType], values: Dict[str, Any]) -> ConfigType:
        """Build a configuration from a dictionary, for example one read from JSON.

        Args:
            values: Field names and values. The dictionary is not changed.

        Returns:
            A new configuration.

        Raises:
            ConfigError: A name is unknown, or a value was recorded only by name (a callable) and must be given anew.
        """
        if not isinstance(values, dict):
            raise ConfigError("{} expects a dictionary, got {!r}.".format(cls.__name__, values))
        for name in values:
            cls._require_known(name)
        hints = typing.get_type_hints(cls)
        return cls(
            **{name: _restore(value, hints[name], "{}.{}".format(cls.__name__, name)) for name, value in values.items()}
        )

    def save(self, path: Union[str, Path]) -> None:
        """Write the configuration as JSON, or as YAML when the suffix is ``.yaml`` or ``.yml``.

        Args:
            path: The file; missing parent folders are made.

        Raises:
            MissingDependencyError: YAML was asked for and PyYAML is not installed.
        """
        target = Path(path)
        if target.suffix in _YAML_SUFFIXES:
            text = _yaml().safe_dump(self.to_dict(), sort_keys=False)
        else:
            text = json.dumps(self.to_dict(), indent=2) + "\n"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls: Type[ConfigType], path: Union[str, Path]) -> ConfigType:
        """Read a configuration written by :meth:`save` or by hand.

        Raises:
            ConfigError: The file cannot be read, is not valid JSON or YAML, or a field is unknown.
            MissingDependencyError: The file is YAML and PyYAML is not installed.
        """
        source = Path(path)
        try:
            text = source.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("{} cannot be read from '{}': {}".format(cls.__name__, source, error)) from error
        values = _parse_yaml(text, source) if source.suffix in _YAML_SUFFIXES else _parse_json(text, source)
        return cls.from_dict(values)


_YAML_SUFFIXES = (".yaml", ".yml")


def _parse_json(text: str, source: Path) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        raise ConfigError("'{}' is not valid JSON: {}".format(source, error)) from error


def _parse_yaml(text: str, source: Path) -> Any:
    yaml = _yaml()

    class Loader(yaml.SafeLoader):  # type: ignore[name-defined]
        """PyYAML follows YAML 1.1, where ``3e-4`` is a string; people write it as a number."""

    number = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    try:
        return yaml.load(text, Loader=Loader)
    except (RecursionError, ValueError, yaml.YAMLError) as error:
        raise ConfigError("'{}' is not valid YAML: {}".format(source, error)) from error


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError("YAML configuration needs PyYAML: pip install pyyaml") from error
    return yaml


def _nested_configs(place: str, value: Any) -> Iterator[Tuple[str, Config]]:
    """Yield the configurations in a field's value, with where they stand."""
    if isinstance(value, Config):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _nested_configs("{}[{!r}]".format(place, key), item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _nested_configs("{}[{}]".format(place, index), item)


def _copy_value(value: Any) -> Any:
    if isinstance(value, Config):
        return value.copy()
    if isinstance(value, dict):
        return {key: _copy_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy_value(item) for item in value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return {"callable": "{}.{}".format(getattr(value, "__module__", type(value).__module__), name)}


def _restore(value: Any, hint: Any, place: str) -> Any:
    """Turn plain JSON values back into what a field's annotation asks for."""
    if isinstance(value, dict) and set(value) == {"callable"}:
        raise ConfigError(
            "{} was recorded by name only ({}): code is never imported from a file. Leave it out and set it in "
            "your script.".format(place, value["callable"])
        )
    for choice in _alternatives(hint):
        if isinstance(choice, type) and issubclass(choice, Config) and isinstance(value, dict):
            return choice.from_dict(value)
        if _origin(choice) is tuple and isinstance(value, list):
            return tuple(_restore(item, Any, "{}[{}]".format(place, i)) for i, item in enumerate(value))
    arguments = [_arguments(choice) for choice in _alternatives(hint) if _origin(choice) is type(value)]
    inner = arguments[0][-1] if arguments and arguments[0] else Any
    if isinstance(value, dict):
        return {key: _restore(item, inner, "{}[{!r}]".format(place, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore(item, inner, "{}[{}]".format(place, index)) for index, item in enumerate(value)]
    return value


def _origin(hint: Any) -> Any:
    # ``int | None`` of Python 3.10 to 3.13 has no __origin__; its class exists only there.
    return getattr(hint, "__origin__", None) or (Union if type(hint).__name__ == "UnionType" else None)


def _arguments(hint: Any) -> Tuple[Any, ...]:
    return getattr(hint, "__args__", None) or ()


def _alternatives(hint: Any) -> Tuple[Any, ...]:
    return _arguments(hint) if _origin(hint) is Union else (hint,)


def matches_type(value: Any, hint: Any) -> bool:
    """Return whether ``value`` fits a ``typing`` annotation of the kinds used in configurations.

    An int is accepted for float, a bool is not accepted for a number, and containers are checked item by item.
    """
    if hint is Any:
        return True
    if hint is None or hint is type(None):
        return value is None
    origin, arguments = _origin(hint), _arguments(hint)
    if origin is Union:
        return any(matches_type(value, argument) for argument in arguments)
    if origin is list:
        return isinstance(value, list) and all(matches_type(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            matches_type(key, arguments[0]) and matches_type(item, arguments[1]) for key, item in value.items()
        )
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        wanted = arguments[:1] * len(value) if arguments[1:] == (Ellipsis,) else arguments
        return len(value) == len(wanted) and all(map(matches_type, value, wanted))
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is type:
        return isinstance(value, type)
    if origin is not None and origin is getattr(typing, "Literal", None):
        return any(value == item and type(value) is type(item) for item in arguments)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)


def describe_type(hint: Any) -> str:
    """Return a readable name of a ``typing`` annotation."""
    if _origin(hint) is Union:
        return " or ".join(describe_type(argument) for argument in _arguments(hint))
    if hint is type(None):
        return "None"
    if isinstance(hint, type) and not _arguments(hint):
        return hint.__name__
    return str(hint).replace("typing.", "")
