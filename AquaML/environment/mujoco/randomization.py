"""Parameters of the physics that differ from robot to robot and from episode to episode."""

import abc
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

import numpy as np

from AquaML.environment.mujoco.robot_model import index_of
from AquaML.environment.mujoco.simulation import import_mujoco
from AquaML.errors import EnvironmentContractError, did_you_mean

Fields = Union[str, Tuple[str, ...]]

_MODES = ("scale", "add", "set")
_KINDS = {"body": "body", "jnt": "joint", "geom": "geom", "site": "site", "actuator": "actuator", "tendon": "tendon"}
_OPTION = "opt."
_VALUES = (np.ndarray, int, float)
_NOT_SAVED = ("mesh_", "tex_", "skin_", "text_", "names", "bvh_", "oct_")
"""Arrays that are large, and that nobody changes at run time."""


class Distribution(abc.ABC):
    """How one parameter of the model differs.

    Each row of the parameter (each body, geom, actuator …) gets a draw of its own, which all its columns share.

    Args:
        mode: ``"scale"`` multiplies the model's own value, ``"add"`` adds to it, ``"set"`` replaces it.
        of: Names of the parts meant (bodies, geoms, joints, actuators …, whatever the field is of); None: all.
        columns: Which columns of the field are meant; None: all. Column 0 of ``geom_friction`` is sliding friction.
        together: Whether all rows share one draw.
    """

    def __init__(
        self,
        mode: str = "scale",
        of: Union[None, str, Sequence[str]] = None,
        columns: Union[None, int, Sequence[int]] = None,
        together: bool = False,
    ) -> None:
        if mode not in _MODES:
            raise EnvironmentContractError(
                "The mode of {} is {!r}; expected one of {}.".format(type(self).__name__, mode, list(_MODES))
            )
        self.mode = mode
        self.of = (of,) if isinstance(of, str) else None if of is None else tuple(of)
        self.columns = [columns] if isinstance(columns, int) else None if columns is None else list(columns)
        self.together = together

    @abc.abstractmethod
    def draw(self, generator: np.random.Generator, shape: Tuple[int, ...]) -> np.ndarray:
        """Return an array of independent draws."""


class Uniform(Distribution):
    """Uniform between ``low`` and ``high``; the other arguments are those of :class:`Distribution`."""

    def __init__(self, low: float, high: float, mode: str = "scale", **where: Any) -> None:
        super().__init__(mode, **where)
        if not low <= high:
            raise EnvironmentContractError("Uniform({}, {}): the lower bound is above the upper one.".format(low, high))
        self.low, self.high = float(low), float(high)

    def draw(self, generator: np.random.Generator, shape: Tuple[int, ...]) -> np.ndarray:
        """Return an array of independent draws."""
        return generator.uniform(self.low, self.high, shape)


class LogUniform(Uniform):
    """Uniform in the logarithm, so that half and double are equally likely."""

    def __init__(self, low: float, high: float, mode: str = "scale", **where: Any) -> None:
        super().__init__(low, high, mode, **where)
        if not low > 0:
            raise EnvironmentContractError("LogUniform({}, {}): both must be above 0.".format(low, high))

    def draw(self, generator: np.random.Generator, shape: Tuple[int, ...]) -> np.ndarray:
        """Return an array of independent draws."""
        return np.exp(generator.uniform(np.log(self.low), np.log(self.high), shape))


class Normal(Distribution):
    """Normal with a mean and a standard deviation; the other arguments are those of :class:`Distribution`."""

    def __init__(self, mean: float, std: float, mode: str = "add", **where: Any) -> None:
        super().__init__(mode, **where)
        if not std >= 0:
            raise EnvironmentContractError("Normal({}, {}): the standard deviation is below 0.".format(mean, std))
        self.mean, self.std = float(mean), float(std)

    def draw(self, generator: np.random.Generator, shape: Tuple[int, ...]) -> np.ndarray:
        """Return an array of independent draws."""
        return generator.normal(self.mean, self.std, shape)


class _Change:
    """One declared change, resolved against a model."""

    def __init__(self, model: Any, fields: Fields, distribution: Any) -> None:
        self.fields = (fields,) if isinstance(fields, str) else tuple(fields)
        if not isinstance(distribution, Distribution):
            raise EnvironmentContractError(
                "randomization['{}'] is {!r}; expected Uniform(...), LogUniform(...) or Normal(...).".format(
                    fields, distribution
                )
            )
        self.distribution = distribution
        self._nominal = {name: np.array(parameter(model, name), np.float64) for name in self.fields}
        lengths = {name: len(values) for name, values in self._nominal.items()}
        if len(set(lengths.values())) != 1:
            raise EnvironmentContractError(
                "The fields {} share their draws, but have {} rows.".format(list(lengths), list(lengths.values()))
            )
        self._rows = self._rows_of(model)

    def _rows_of(self, model: Any) -> np.ndarray:
        name, wanted = self.fields[0], self.distribution.of
        if wanted is None:
            return np.arange(len(self._nominal[name]))
        kind = _KINDS.get(name.split("_")[0])
        if kind is None:
            raise EnvironmentContractError(
                "randomization['{}']: its rows have no names, so leave out of={!r}.".format(name, wanted)
            )
        return np.array([index_of(model, kind, part) for part in wanted], np.int64)

    def draw(self, generator: np.random.Generator, count: int) -> Dict[str, np.ndarray]:
        """Return new values for some environments: field to ``(count, *shape)``."""
        width = 1 if self.distribution.together else len(self._rows)
        drawn = np.broadcast_to(self.distribution.draw(generator, (count, width)), (count, len(self._rows)))
        return {name: self._applied(values, drawn) for name, values in self._nominal.items()}

    def _applied(self, nominal: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        values = np.broadcast_to(nominal, (len(drawn),) + nominal.shape).copy()
        chosen = values[:, self._rows]
        columns = slice(None) if self.distribution.columns is None or nominal.ndim == 1 else self.distribution.columns
        part = chosen if nominal.ndim == 1 else chosen[:, :, columns]
        factors = drawn if nominal.ndim == 1 else drawn[:, :, None]
        if self.distribution.mode == "scale":
            part = part * factors
        elif self.distribution.mode == "add":
            part = part + factors
        else:
            part = np.broadcast_to(factors, part.shape)
        if nominal.ndim == 1:
            chosen = part
        else:
            chosen[:, :, columns] = part
        values[:, self._rows] = chosen
        return values


class Randomization:
    """All declared changes of a model.

    Args:
        model: The model as it was written.
        changes: Field of ``MjModel`` (``"opt.gravity"`` for one of its options), or a tuple of fields that share
            their draws, to a :class:`Distribution`.

    Raises:
        EnvironmentContractError: A field or part does not exist.
    """

    def __init__(self, model: Any, changes: Mapping[Fields, Distribution]) -> None:
        self._changes = [_Change(model, fields, distribution) for fields, distribution in changes.items()]
        used = [name for change in self._changes for name in change.fields]
        twice = sorted({name for name in used if used.count(name) > 1})
        if twice:
            raise EnvironmentContractError("randomization changes {} more than once.".format(", ".join(twice)))

    def apply(self, models: Sequence[Any], generator: np.random.Generator) -> None:
        """Draw anew for some environments' models, from the values of the model as it was written."""
        for change in self._changes:
            for name, values in change.draw(generator, len(models)).items():
                for model, value in zip(models, values):
                    parameter(model, name)[...] = value


def parameter(model: Any, name: str) -> np.ndarray:
    """Return an array of a model, or of its options as ``"opt.gravity"``; changes to it change the model.

    Raises:
        EnvironmentContractError: There is no such array.
    """
    owner, _, field = name.rpartition(".")
    source = getattr(model, owner, None) if owner else model
    values = getattr(source, field, None) if owner in ("", "opt") else None
    if not isinstance(values, np.ndarray):
        known = _array_names(model) + ["opt." + field for field in _array_names(model.opt)]
        raise EnvironmentContractError("MjModel has no array '{}'.{}".format(name, _near(name, known)))
    return values


def _near(name: str, known: List[str]) -> str:
    # There are some hundreds of them: too many to list where none is near.
    hint = did_you_mean(name, known)
    return hint if hint.startswith(" Did") else " See MuJoCo's documentation of mjModel."


def _array_names(owner: Any) -> List[str]:
    names = [name for name in dir(owner) if not name.startswith("_")]
    return [name for name in names if isinstance(getattr(owner, name, None), np.ndarray)]


def set_constants(models: Sequence[Any], data: Sequence[Any]) -> None:
    """Recompute what MuJoCo derives from parameters, such as inverse inertias; the data are used as scratch space."""
    recompute = import_mujoco().mj_setConst
    for model, one in zip(models, data):
        recompute(model, one)


def differences(nominal: Any, models: Sequence[Any]) -> Dict[str, np.ndarray]:
    """Return all values in which any model differs from the nominal one, field to ``(num_envs, *shape)``."""
    found: Dict[str, np.ndarray] = {}
    for name in _saved_names(nominal):
        expected = _read(nominal, name)
        values = [_read(model, name) for model in models]
        if not all(_equal(value, expected) for value in values):
            found[name] = np.stack(values)
    return found


def restore(nominal: Any, models: Sequence[Any], changed: Mapping[str, np.ndarray]) -> None:
    """Give models the values that :func:`differences` returned, and the nominal model's everywhere else."""
    for name in _saved_names(nominal):
        expected = _read(nominal, name)
        for row, model in enumerate(models):
            value = changed[name][row] if name in changed else expected
            present = _read(model, name)
            if _equal(present, value):
                continue
            if isinstance(present, np.ndarray) and present.ndim:
                present[...] = value
            else:
                setattr(model.opt, name[len(_OPTION) :], value.item())


def _saved_names(model: Any) -> List[str]:
    names = [name for name in _array_names(model) if not name.startswith(_NOT_SAVED)]
    options = [name for name in dir(model.opt) if not name.startswith("_")]
    return names + [_OPTION + name for name in options if isinstance(getattr(model.opt, name), _VALUES)]


def _read(model: Any, name: str) -> np.ndarray:
    value = getattr(model.opt, name[len(_OPTION) :]) if name.startswith(_OPTION) else getattr(model, name)
    return np.asarray(value)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(((one == other) | ((one != one) & (other != other))).all())
