"""What a measurement was made on and with; no path, no name of a host."""

import datetime
import os
import platform
import sys
from pathlib import Path
from typing import Any, Dict

PACKAGES = (
    "AquaML",
    "torch",
    "numpy",
    "gymnasium",
    "mujoco",
    "envpool",
    "skrl",
    "rsl-rl-lib",
    "stable-baselines3",
    "rl-games",
    "tensordict",
    "tensorboard",
)


def describe_machine() -> Dict[str, Any]:
    """Return date, versions, processor and thread settings."""
    versions = {"python": platform.python_version()}
    versions.update({package: version_of(package) for package in PACKAGES})
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")
    return {
        "date": datetime.date.today().isoformat(),
        "system": "{} {}".format(platform.system(), platform.machine()),
        "processor": _processor(),
        "logical_processors": os.cpu_count(),
        "thread_settings": {name: os.environ.get(name, "not set") for name in names},
        "versions": versions,
    }


def version_of(package: str) -> str:
    """Return the installed version of a package, or that it is not installed."""
    if sys.version_info < (3, 8):
        return "unknown on Python 3.7"
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
