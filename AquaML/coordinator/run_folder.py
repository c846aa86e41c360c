"""The folder of a run: a unique safe name, and what is needed to repeat it."""

import datetime
import importlib
import json
import math
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

from AquaML.coordinator.file_operations import (
    FileOperations,
    make_folders,
    replace_file,
    replace_text,
    sweep_leftovers,
)
from AquaML.coordinator.run_lock import RunLock
from AquaML.errors import TrainerError

_PACKAGES = ("torch", "numpy", "gymnasium", "loguru", "tqdm", "matplotlib")
_RESERVED_ON_WINDOWS = {"con", "prn", "aux", "nul"} | {name + str(i) for name in ("com", "lpt") for i in range(1, 10)}
_LONGEST_NAME = 120

CONFIGURATION_FILE = "config.json"
VERSIONS_FILE = "versions.json"
DIFFERENCE_FILE = "git.diff"
CHECKPOINT_FOLDER = "checkpoints"


def safe_name(text: str) -> str:
    """Return a name that is a valid file name on Linux, Windows and macOS: letters, digits, ``.``, ``_`` and ``-``."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:_LONGEST_NAME].strip(".-") or "run"
    # Windows reserves "con.txt" as it does "con".
    return "_" + name if name.split(".")[0].lower() in _RESERVED_ON_WINDOWS else name


class RunFolder:
    """``<root>/<time>_<agent>_<environment>/``; nothing is written before :meth:`create`.

    Args:
        root: Where runs are collected.
        name: Name of the run, made safe.
        operations: How files are touched; None: as usual.
    """

    def __init__(self, root: Union[str, Path], name: str, operations: Optional[FileOperations] = None) -> None:
        self._operations = operations or FileOperations()
        self._root = Path(root)
        self._name = safe_name(name)
        self.path: Optional[Path] = None
        self._lock: Optional[RunLock] = None

    @staticmethod
    def default_name(agent: str, environment: str) -> str:
        """Return ``<time>_<agent>_<environment>``."""
        return "{:%Y-%m-%d_%H-%M-%S}_{}_{}".format(datetime.datetime.now(), agent, environment)

    @classmethod
    def existing(cls, path: Union[str, Path], operations: Optional[FileOperations] = None) -> "RunFolder":
        """Take up the folder of an earlier run.

        Raises:
            TrainerError: There is no such folder.
        """
        place = Path(path)
        if not place.is_dir():
            raise TrainerError("There is no run folder '{}' to resume.".format(place))
        folder = cls(place.parent, place.name, operations)
        folder.path = place
        return folder

    def create(self) -> Path:
        """Make the folder; a number is added to its name if that is taken.

        Raises:
            TrainerError: The folder cannot be made.
        """
        if self.path is not None:
            return self.path
        for attempt in range(1, 10000):
            candidate = self._root / (self._name if attempt == 1 else "{}_{}".format(self._name, attempt))
            try:
                make_folders(candidate, self._operations, exist_ok=False)
            except FileExistsError:
                if not self._root.is_dir():
                    raise TrainerError("'{}' is no folder; choose another run_directory.".format(self._root)) from None
                continue
            except (OSError, ValueError) as error:
                raise TrainerError(
                    "Cannot make the run folder '{}': {}; choose another run_directory.".format(candidate, error)
                ) from error
            self.path = candidate
            return candidate
        raise TrainerError("There are too many runs called '{}' in '{}'.".format(self._name, self._root))

    def claim(self) -> Path:
        """Make the folder if need be, and keep every other run out of it until :meth:`release`; again is no error.

        Raises:
            RunFolderInUseError: Another run is writing in it.
            TrainerError: The folder cannot be made.
        """
        path = self.create()
        if self._lock is None:
            lock = RunLock(path)
            lock.acquire()
            self._lock = lock
            sweep_leftovers(path, self._operations)
        return path

    def release(self) -> None:
        """Let other runs into the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def describe(self, configuration: Dict[str, Any]) -> None:
        """Write the configuration, versions, and the git commit with uncommitted changes.

        Raises:
            TrainerError: The folder does not take them.
        """
        path = self.create()
        state = git_state(Path.cwd())
        found = dict(versions(), git_commit=state.commit, git_untracked=state.untracked)
        try:
            if state.difference:
                replace_file(path / DIFFERENCE_FILE, lambda write: write(state.difference), self._operations)
            replace_text(path / VERSIONS_FILE, json_text(found), self._operations)
            replace_text(path / CONFIGURATION_FILE, json_text(configuration), self._operations)
        except OSError as error:
            raise TrainerError(
                "Cannot write in the run folder '{}': {}; make room or choose another run_directory.".format(
                    path, error
                )
            ) from error


def json_text(values: Dict[str, Any]) -> str:
    """Return plain values as indented JSON; infinite numbers, which JSON does not know, become strings."""
    return json.dumps(_strict(values), indent=2, default=str, allow_nan=False, ensure_ascii=False) + "\n"


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def versions() -> Dict[str, Any]:
    """Return the versions of Python, the platform and the packages in use."""
    import AquaML

    found: Dict[str, Any] = {
        "AquaML": AquaML.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "command": list(sys.argv),
    }
    for name in _PACKAGES:
        module = sys.modules.get(name) or importlib.import_module(name)
        found[name] = str(getattr(module, "__version__", "unknown"))
    torch = sys.modules["torch"]
    if torch.cuda.is_available():
        found["cuda_devices"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


class GitState(NamedTuple):
    """What a git repository holds beside its last commit.

    Attributes:
        commit: Hash of the commit, or None outside a repository.
        difference: Changes of tracked files since, as ``git apply`` takes them.
        untracked: Files and folders that git neither tracks nor ignores; their content is not recorded.
    """

    commit: Optional[str] = None
    difference: bytes = b""
    untracked: Tuple[str, ...] = ()


def git_state(place: Path) -> GitState:
    """Return the state of the git repository around a folder."""
    commit = _git(["rev-parse", "HEAD"], place)
    if commit is None:
        return GitState()
    difference = _git(["diff", "HEAD", "--binary", "--no-color", "--no-ext-diff"], place) or b""
    untracked = _git(["ls-files", "--others", "--exclude-standard", "--directory", "--full-name", "-z"], place) or b""
    names = tuple(name for name in untracked.decode("utf-8", "replace").split("\0") if name)
    return GitState(commit.decode("ascii").strip(), difference, names)


def _git(arguments: List[str], place: Path) -> Optional[bytes]:
    try:
        result = subprocess.run(
            ["git"] + arguments,
            check=False,
            cwd=str(place),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None
