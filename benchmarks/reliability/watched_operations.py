"""File operations that all go through one method, so that a campaign can count, record, fail or crash them."""

from pathlib import Path
from typing import Any, BinaryIO, Callable, Union

from AquaML.coordinator.file_operations import FileOperations


class WatchedOperations(FileOperations):
    """Every operation is handed to :meth:`around`, which performs it."""

    def around(
        self, kind: str, path: Path, perform: Callable[..., Any], argument: Union[Path, memoryview, None]
    ) -> Any:
        """Perform an operation.

        Args:
            kind: ``"create"``, ``"write"``, ``"sync"``, ``"replace"``, ``"sync_folder"``, ``"make_folder"`` or
                ``"remove"``.
            path: The file or folder.
            perform: Performs it, with ``argument`` if that is not None.
            argument: The target of a replacement, or what is written.
        """
        return perform() if argument is None else perform(argument)

    def create(self, path: Path) -> BinaryIO:
        """Open a new file."""
        return self.around("create", path, lambda: FileOperations.create(self, path), None)

    def write_piece(self, file: BinaryIO, data: memoryview) -> int:
        """Write some bytes."""
        return self.around("write", Path(file.name), lambda some: FileOperations.write_piece(self, file, some), data)

    def sync(self, file: BinaryIO) -> None:
        """Bring a file to the disk."""
        self.around("sync", Path(file.name), lambda: FileOperations.sync(self, file), None)

    def replace(self, source: Path, target: Path) -> None:
        """Rename."""
        self.around("replace", source, lambda name: FileOperations.replace(self, source, name), target)

    def sync_folder(self, folder: Path) -> None:
        """Bring a folder to the disk."""
        self.around("sync_folder", folder, lambda: FileOperations.sync_folder(self, folder), None)

    def make_folder(self, folder: Path) -> None:
        """Make a folder."""
        self.around("make_folder", folder, lambda: FileOperations.make_folder(self, folder), None)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        self.around("remove", path, lambda: FileOperations.remove(self, path), None)
