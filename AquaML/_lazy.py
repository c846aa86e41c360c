"""Lazy attributes for package ``__init__`` files (PEP 562), so that importing AquaML loads neither torch nor gymnasium.

Isaac Gym must be imported before torch; a package that loads torch on import would make that impossible.
"""

import importlib
import sys
from typing import Any, Callable, Dict, List, Tuple

from AquaML.errors import did_you_mean


def lazy_attributes(package: str, origins: Dict[str, str]) -> Tuple[Callable[[str], Any], Callable[[], List[str]]]:
    """Build ``__getattr__`` and ``__dir__`` for a package.

    Args:
        package: The package's ``__name__``.
        origins: Public name to the module that defines it.

    Returns:
        The two functions, in that order.
    """

    def getattr_(name: str) -> Any:
        if name not in origins:
            raise AttributeError(
                "module '{}' has no attribute '{}'.{}".format(package, name, did_you_mean(name, origins))
            )
        value = getattr(importlib.import_module(origins[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def dir_() -> List[str]:
        return sorted(set(vars(sys.modules[package])) | set(origins))

    return getattr_, dir_
