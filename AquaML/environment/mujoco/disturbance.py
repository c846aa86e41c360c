"""What stands between a robot and its policy: noise, and time that passes on the way."""

from typing import Any, Callable, Dict, Mapping, Sequence, Tuple, Union

import numpy as np

from AquaML.errors import EnvironmentContractError, did_you_mean

NoiseFunction = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Noise = Union[float, Sequence[float], np.ndarray, NoiseFunction]
Delay = Union[int, Tuple[int, int]]


def per_key(value: Any, keys: Sequence[str], argument: str) -> Dict[str, Any]:
    """Return an argument by key of the observation; a bare value is meant for the only key.

    Raises:
        EnvironmentContractError: A key is unknown, or a bare value is given where there are several keys.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        for key in value:
            if key not in keys:
                raise EnvironmentContractError(
                    "{} names '{}', which observation() does not return.{}".format(
                        argument, key, did_you_mean(key, keys)
                    )
                )
        return dict(value)
    if len(keys) > 1:
        raise EnvironmentContractError(
            "{0} is {1!r}, but observation() returns {2}; say which is meant: {0}={{'{3}': {1!r}}}.".format(
                argument, value, ", ".join("'{}'".format(key) for key in keys), keys[0]
            )
        )
    return {keys[0]: value}


class Disturbance:
    """Noise and delay on one array of all environments.

    Noise is added when a value arises, the delay comes after it: a value keeps its noise on the way.

    Args:
        noise: Standard deviation of normal noise, a number or one for each entry, or a function that gets values
            ``(R, *shape)`` and a generator and returns them with noise; None: none.
        delay: Steps that a value takes, or the lowest and highest number of steps, drawn for each environment at the
            begin of each episode.
        shape: ``(num_envs, *shape)``.
        name: What it is, for messages.

    Attributes:
        delays: Steps that values take at present, ``(num_envs,)``.

    Raises:
        EnvironmentContractError: Noise or delay make no sense.
    """

    def __init__(self, noise: Union[None, Noise], delay: Delay, shape: Tuple[int, ...], name: str) -> None:
        self._name = name
        self._noise = _checked_noise(noise, shape, name)
        self._lowest, self._highest = _checked_delay(delay, name)
        self.delays = np.full(shape[0], self._lowest, np.int64)
        self._rows = np.arange(shape[0])
        self._past = np.zeros((self._highest + 1,) + shape)
        self._newest = 0

    def begin(self, rows: np.ndarray, generator: np.random.Generator) -> None:
        """Draw the delays of some environments ``(R,)`` anew."""
        if self._highest > self._lowest:
            self.delays[rows] = generator.integers(self._lowest, self._highest, len(rows), endpoint=True)

    def first(self, values: np.ndarray, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Take the first values of some environments; until a later one arrives, they are what arrives.

        Args:
            values: ``(num_envs, *shape)``, of which only the rows are read.
            rows: Indices ``(R,)``.
            generator: Source of the noise.

        Returns:
            ``(num_envs, *shape)``, of which only the rows are meant.
        """
        result = np.array(values, np.float64)
        result[rows] = self._noisy(result[rows], generator)
        self.fill(result, rows)
        return result

    def fill(self, values: np.ndarray, rows: np.ndarray) -> None:
        """Let values ``(num_envs, *shape)`` arrive in some environments until a later one does, without any noise."""
        self._past[:, rows] = values[rows]

    def pass_on(self, values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Take the values ``(num_envs, *shape)`` of a step, and return those that arrive in it."""
        values = self._noisy(values, generator)
        if not self._highest:
            return values
        self._newest = (self._newest + 1) % len(self._past)
        self._past[self._newest] = values
        return self._past[(self._newest - self.delays) % len(self._past), self._rows]

    def _noisy(self, values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if self._noise is None:
            return values
        if not callable(self._noise):
            return values + self._noise * generator.standard_normal(values.shape)
        noisy = np.asarray(self._noise(np.array(values), generator))
        if noisy.shape != values.shape:
            raise EnvironmentContractError(
                "The noise function of {} returned shape {}; expected {}.".format(self._name, noisy.shape, values.shape)
            )
        return noisy

    def get_state(self) -> Dict[str, Any]:
        """Return delays and what is on the way."""
        return {"delays": self.delays.copy(), "past": self._past.copy(), "newest": self._newest}

    def set_state(self, state: Dict[str, Any]) -> None:
        """Take over what :meth:`get_state` returned.

        Raises:
            EnvironmentContractError: It is that of other delays.
        """
        if np.shape(state["past"]) != self._past.shape:
            raise EnvironmentContractError(
                "The saved delay of {} reaches back {} steps, this one {}.".format(
                    self._name, len(state["past"]) - 1, self._highest
                )
            )
        self.delays[...] = state["delays"]
        self._past[...] = state["past"]
        self._newest = int(state["newest"])


def _checked_noise(noise: Any, shape: Tuple[int, ...], name: str) -> Any:
    if noise is None or callable(noise):
        return noise
    values = np.asarray(noise, np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()) or values.shape not in ((), shape[1:]):
        raise EnvironmentContractError(
            "The noise of {} is {!r}; expected a standard deviation of at least 0, one number or an array of shape {}, "
            "or a function.".format(name, noise, shape[1:])
        )
    return values if values.any() else None


def _checked_delay(delay: Any, name: str) -> Tuple[int, int]:
    pair = tuple(delay) if isinstance(delay, (tuple, list)) else (delay, delay)
    whole = all(isinstance(steps, (int, np.integer)) and not isinstance(steps, bool) for steps in pair)
    if len(pair) != 2 or not whole or not 0 <= pair[0] <= pair[1]:
        raise EnvironmentContractError(
            "The delay of {} is {!r}; expected a number of steps of at least 0, or the lowest and the highest "
            "number.".format(name, delay)
        )
    return int(pair[0]), int(pair[1])
