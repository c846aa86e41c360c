"""The one exception tree of AquaML.

Every error that AquaML raises on purpose derives from :class:`AquaMLError` and from the builtin exception that a
reader would expect, so that both ``except AquaMLError`` and ``except ValueError`` work.
"""

import difflib
from typing import Iterable


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
    """NaN or infinity appeared in observations, rewards, actions, values, losses or gradients."""


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or the list of known names when none is near."""
    names = sorted(str(item) for item in known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return " Did you mean '{}'?".format(near[0])
    return " Known: {}.".format(", ".join(names)) if names else ""
