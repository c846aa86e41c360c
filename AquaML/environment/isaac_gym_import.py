"""Importing Isaac Gym in the only order that it allows; this file loads neither torch nor Isaac Gym by itself."""

import importlib
import sys
from types import ModuleType

from AquaML.errors import EnvironmentContractError, MissingDependencyError

_ORDER = (
    "Isaac Gym must be imported before torch. Put these two lines before every other import of the script:\n"
    "    from AquaML.environment.isaac_gym_import import import_isaac_gym\n"
    "    import_isaac_gym()"
)
_INSTALL = (
    "It is on no package index: download 'Isaac Gym Preview 4' from NVIDIA, and run 'pip install -e .' in its folder "
    "'python', on Linux with Python 3.6 to 3.8 (the newest torch there is 2.4.1, and numpy must be older than 1.24)."
)
_NUMPY = "numpy is too new: pip install 'numpy<1.24'."
_LIBRARY = "Add that library's folder to LD_LIBRARY_PATH, for example 'export LD_LIBRARY_PATH=$CONDA_PREFIX/lib'."
_HINTS = (
    ("libpython", _LIBRARY),
    ("has no attribute", _NUMPY),
    ("imported before isaacgym", _ORDER),
)


def import_isaac_gym(package: str = "isaacgym") -> ModuleType:
    """Import Isaac Gym, or a package built on it, and say what to do where that fails.

    Args:
        package: ``"isaacgym"``, or for example ``"isaacgymenvs"``, before which it is imported.

    Returns:
        The package.

    Raises:
        EnvironmentContractError: torch was imported first.
        MissingDependencyError: The package is not installed, or cannot be loaded.
    """
    if "isaacgym" not in sys.modules and "torch" in sys.modules:
        raise EnvironmentContractError("torch is imported already. " + _ORDER)
    _import("isaacgym")
    return _import(package)


def _import(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        message = "'{}' is not installed. {}".format(package, _INSTALL) if missing else _explained(package, error)
        raise MissingDependencyError(message) from error
    except AttributeError as error:
        raise MissingDependencyError(_explained(package, error)) from error


def _explained(package: str, error: Exception) -> str:
    hints = [hint for sign, hint in _HINTS if sign in str(error)]
    return "'{}' cannot be imported: {}{}".format(package, error, " " + hints[0] if hints else "")
