"""The face of a run: its device, seed, folder, checkpoints and components."""

from pathlib import Path
from typing import Any, Dict, List, Optional, Union

import torch
from loguru import logger

from AquaML.coordinator.checkpoint_format import Checkpoint
from AquaML.coordinator.checkpoint_match import Differences
from AquaML.coordinator.checkpoint_store import CheckpointStore, read_with_beside
from AquaML.coordinator.device import AUTO, resolve_device
from AquaML.coordinator.file_operations import FileOperations
from AquaML.coordinator.random_state import RandomState, seed_everything
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER, RunFolder
from AquaML.errors import AquaMLError, CheckpointMismatchError, DeviceError, StateError
from AquaML.stateful import RUN, Part, apply_states, collect_states, find_misfits


class Coordinator:
    """Knows the components of a run by name, and saves, restores, seeds and closes them.

    Args:
        device: ``"auto"`` follows the agent; a name fixes the device of the run.
        operations: How the run's files are touched; None: as usual.

    Raises:
        DeviceError: The device is unknown or missing.
    """

    def __init__(self, device: str = AUTO, operations: Optional[FileOperations] = None) -> None:
        self.device_name = device
        self.device: torch.device = resolve_device(device)
        self.operations = operations or FileOperations()
        self.components: Dict[str, Any] = {}
        self.folder: Optional[RunFolder] = None
        self.store: Optional[CheckpointStore] = None

    def register(self, name: str, component: Any) -> None:
        """Name a component of the run; another one of that name is replaced."""
        self.components[name] = component

    def require_device(self, device: torch.device, owner: str) -> None:
        """Check that a component lives on the device that was asked for.

        Raises:
            DeviceError: It does not.
        """
        if self.device_name != AUTO and device != self.device:
            raise DeviceError(
                "The coordinator's device is '{}', but {} lives on '{}'. Name that device in its configuration, or "
                "call set_default_coordinator() before models and agents are made.".format(self.device, owner, device)
            )

    def seed(self, seed: int) -> None:
        """Seed Python, numpy and torch."""
        seed_everything(seed)

    def open_folder(self, folder: RunFolder, keep_checkpoints: int) -> Path:
        """Make the run's folder, or take up an existing one, keep other runs out of it, and open its checkpoints.

        Raises:
            RunFolderInUseError: Another run is writing in it.
            TrainerError: The folder cannot be made.
        """
        path = folder.claim()
        self.folder = folder
        self.store = CheckpointStore(path / CHECKPOINT_FOLDER, keep_checkpoints, self.operations)
        self.store.open()
        return path

    def parts(self) -> List[Part]:
        """Return the parts of all components, each under ``<component>/<part>``, and the random states."""
        found = []
        for name, component in self.components.items():
            own = getattr(component, "parts", None)
            if own is None:
                found.append(Part(name, RUN, component))
            else:
                found += [Part("{}/{}".format(name, part.name), part.role, part.target) for part in own]
        return found + [Part("random_state", RUN, RandomState())]

    def checkpoint(self, metadata: Dict[str, Any]) -> Checkpoint:
        """Collect the state of all components; that of large parts is left to who writes their file."""
        parts = self.parts()
        small = [part for part in parts if not part.stateful.own_file]
        return Checkpoint(metadata, collect_states(small), [part for part in parts if part.stateful.own_file])

    def restore(self, path: Union[str, Path]) -> Dict[str, Any]:
        """Restore all components from the checkpoint of a run.

        Returns:
            The checkpoint's metadata.

        Raises:
            CheckpointError: The file is missing, damaged, or of another run; nothing has changed.
        """
        checkpoint = read_with_beside(path)
        if checkpoint.metadata.get("kind") != "run":
            raise CheckpointMismatchError(
                "'{}' is no checkpoint of a run; weights alone are read by agent.load().".format(path)
            )
        opening = "'{}' does not fit this run; nothing was restored".format(path)
        advice = "Make environment, agent and trainer as they were; weights alone are read by agent.load()."
        found = Differences()
        for name, component in self.components.items():
            compare = getattr(component, "compare_metadata", None)
            if compare is not None:
                own = compare(checkpoint.metadata.get(name), "'{}'".format(path))
                found.algorithm += own.algorithm
                found.spaces += own.spaces
        parts = self.parts()
        absent = [part for part in parts if part.stateful.own_file and part.name not in checkpoint.parts]
        present = [part for part in parts if part not in absent]
        try:
            found.misfits = find_misfits(present, checkpoint.parts)
            found.require_none(opening, advice)
            apply_states(present, checkpoint.parts)
        except StateError as error:
            raise CheckpointMismatchError("{}: {}. {}".format(opening, str(error).rstrip("."), advice)) from error
        for part in absent:
            logger.warning(
                "'{}' was saved without '{}', which begins empty: the resumed run is an approximation of the "
                "uninterrupted one.",
                path,
                part.name,
            )
            part.target.clear()
        return checkpoint.metadata

    def close(self) -> None:
        """Close every component that can be closed; an error is raised after all have had their turn."""
        failed: Optional[Exception] = None
        for component in self.components.values():
            close = getattr(component, "close", None)
            if callable(close):
                try:
                    close()
                except Exception as error:
                    failed = failed or error
        if failed is not None:
            raise failed


_default: Optional[Coordinator] = None


def default_coordinator() -> Coordinator:
    """Return the coordinator that is used where none is given; it is made on first use."""
    global _default
    if _default is None:
        _default = Coordinator()
    return _default


def set_default_coordinator(coordinator: Optional[Coordinator]) -> None:
    """Replace the default coordinator; None forgets it.

    Raises:
        AquaMLError: The argument is no coordinator.
    """
    global _default
    if coordinator is not None and not isinstance(coordinator, Coordinator):
        raise AquaMLError("Expected a Coordinator or None, got {!r}.".format(coordinator))
    _default = coordinator
