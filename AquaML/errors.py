"""The one exception tree of AquaML.

Every error that AquaML raises on purpose derives from :class:`AquaMLError` and from the builtin exception that a
reader would expect, so that both ``except AquaMLError`` and ``except ValueError`` work.
"""

import difflib
from typing import Iterable, Optional, Sequence


class AquaMLError(Exception):
    """Root of all errors raised by AquaML."""


class ConfigError(AquaMLError, ValueError):
    """A configuration field is unknown, of the wrong type, out of range, or contradicts another one."""


class FrozenConfigError(ConfigError, AttributeError):
    """A configuration was changed after an agent, model or trainer had taken it."""


class SpaceError(AquaMLError, ValueError):
    """A space is of a kind that AquaML does not support, or its names clash."""


class EnvironmentContractError(AquaMLError, ValueError):
    """An environment, or what was handed to it, breaks the step contract."""


class EnvironmentFailedError(AquaMLError, RuntimeError):
    """An environment raised an exception, or its process died or did not answer in time."""


EnvError = EnvironmentFailedError
"""Short name."""


class ModelError(AquaMLError, ValueError):
    """A model's inputs or outputs have wrong names, shapes or types."""


class AgentError(AquaMLError, ValueError):
    """An agent was built or used in a way that cannot work."""


class StorageError(AquaMLError, ValueError):
    """Data handed to a memory does not fit what it stores."""


class NonFiniteError(AquaMLError, ValueError):
    """NaN or infinity appeared in observations, rewards, actions, values, losses or gradients.

    A custom agent may raise it too; the trainer then does what ``AgentCfg.non_finite`` says.

    Args:
        message: What is wrong and what to do.
        site: Where: ``"observation"``, ``"final observation"``, ``"reward"``, ``"action"``, ``"log-probability"``,
            ``"value"``, ``"value target"``, ``"loss"`` or ``"gradient"``.
        key: Name of the observation, action, loss or parameter.
        environments: Indices of the environments.
        steps_ago: How many vector steps before it was noticed the number came up.

    Attributes:
        timestep: The vector step in which it came up, counted from 0; the trainer sets it.
    """

    timestep: Optional[int] = None

    def __init__(
        self, message: str, site: str = "", key: str = "", environments: Sequence[int] = (), steps_ago: int = 0
    ) -> None:
        super().__init__(message)
        self.site = site
        self.key = key
        self.environments = tuple(environments)
        self.steps_ago = steps_ago

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.timestep is None else "{} (vector step {})".format(message, self.timestep)


class EnvironmentNonFiniteError(NonFiniteError, EnvironmentContractError):
    """An environment gave NaN or infinity, or was to take it as an action."""


class TrainerError(AquaMLError, RuntimeError):
    """A trainer was asked for something that it cannot do."""


class RunFolderInUseError(TrainerError):
    """Another run is writing in the folder."""


class DeviceError(AquaMLError, RuntimeError):
    """A device is unknown, missing on this machine, or two parts disagree on it."""


class StateError(AquaMLError, ValueError):
    """A saved state does not fit the object that should take it."""


class CheckpointError(AquaMLError, RuntimeError):
    """A checkpoint cannot be written, read or applied."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint at the given place."""


class CheckpointWriteError(CheckpointError):
    """The file system did not take a checkpoint; the one before it is unchanged."""


class CheckpointCorruptError(CheckpointError):
    """The file is damaged, or no AquaML checkpoint."""


class CheckpointTruncatedError(CheckpointCorruptError):
    """The file has lost its end."""


class CheckpointVersionError(CheckpointError):
    """The file was written in a format that this AquaML does not read."""


class CheckpointMismatchError(CheckpointError):
    """The checkpoint is intact but does not belong to this object: another kind, environment or set of parts."""


class CheckpointAlgorithmError(CheckpointMismatchError):
    """The checkpoint was saved by another algorithm."""


class CheckpointArchitectureError(CheckpointMismatchError):
    """The checkpoint belongs to models of another architecture or to another environment's spaces."""


class MissingDependencyError(AquaMLError, ImportError):
    """An optional package is needed and not installed."""


_SUBJECTS = {"observation": "Observation", "final observation": "The last observation"}
_MODEL_ADVICE = "lower the learning rate, clip observations, or look for a division, logarithm or root in the model."
_CORRECT_ENVIRONMENT = (
    "One such number spoils normalisers and networks for good, so correct the environment, or replace the value there."
)
_ADVICE = {
    "observation": _CORRECT_ENVIRONMENT,
    "final observation": _CORRECT_ENVIRONMENT,
    "reward": _CORRECT_ENVIRONMENT,
    "value": "The value function gave it: " + _MODEL_ADVICE,
    "value target": "Rewards and values add up to it: scale rewards down (reward_scale), or look into reward_shaper.",
}


def non_finite_numbers(
    site: str, key: str, environments: Sequence[int], value: float, steps_ago: int = 0
) -> NonFiniteError:
    """Return the error for a row of numbers, one of which is not finite.

    Args:
        site: As in :class:`NonFiniteError`.
        key: Name of the observation, action or other tensor.
        environments: The environments in whose rows there is one.
        value: The first one.
        steps_ago: How many vector steps before it was noticed it came up.
    """
    others = [str(index) for index in environments[1:]]
    shown = ", ".join(others[:4]) + " and {} more".format(len(others) - 4) * (len(others) > 4)
    message = "{} of environment {} holds {} ('{}'){}{}. {}".format(
        _SUBJECTS.get(site, "The " + site),
        environments[0],
        value,
        key,
        ", whose square overflows float32" if value - value == 0.0 else "",
        (", as does that of environment {}" if len(others) == 1 else ", as do those of environments {}").format(shown)
        if others
        else "",
        _ADVICE.get(site, "The policy gave it: " + _MODEL_ADVICE),
    )
    kind = EnvironmentNonFiniteError if _ADVICE.get(site) == _CORRECT_ENVIRONMENT else NonFiniteError
    return kind(message, site, key, environments, steps_ago)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or the list of known names when none is near."""
    names = sorted(str(item) for item in known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return " Did you mean '{}'?".format(near[0])
    return " Known: {}.".format(", ".join(names)) if names else ""
