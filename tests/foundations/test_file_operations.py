"""How one file is written, and which operations that takes."""

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO, List

import pytest

from AquaML.coordinator.checkpoint_format import Checkpoint, write_checkpoint
from AquaML.coordinator.file_operations import (
    FileOperations,
    make_folders,
    readable_size,
    replace_file,
    replace_text,
    sweep_leftovers,
)
from AquaML.errors import CheckpointWriteError
from benchmarks.reliability.simulated_disk import RecordingOperations


def kinds(operations: RecordingOperations) -> List[str]:
    return [record.kind for record in operations.records]


def test_the_order_of_operations() -> None:
    operations = RecordingOperations()
    Path("file").write_text("old", encoding="utf-8")
    replace_text(Path("file"), "neü", operations)
    assert kinds(operations) == ["create", "write", "sync", "replace", "sync_folder"]
    assert Path("file").read_bytes() == "neü".encode("utf-8") and os.listdir(".") == ["file"]
    temporary = operations.records[0].path
    assert temporary.parent == Path(".") and temporary.name[0] == "." and len(temporary.name) == 1 + 32 + 4
    assert operations.records[3].path == temporary and operations.records[3].target == Path("file")


def test_small_pieces_are_joined_and_large_ones_are_not_copied() -> None:
    operations = RecordingOperations()
    large = bytes(2**18)
    replace_file(Path("file"), lambda write: [write(piece) for piece in [b"ab"] * 1000 + [large, b"end"]], operations)
    assert kinds(operations).count("write") == 3
    assert [len(record.data) for record in operations.records if record.kind == "write"] == [2000, 2**18, 3]
    assert Path("file").read_bytes() == b"ab" * 1000 + large + b"end"
    replace_file(Path("many"), lambda write: [write(bytes(1000)) for _ in range(1000)], operations)
    assert Path("many").read_bytes() == bytes(10**6)


def test_a_write_that_takes_one_byte_at_a_time_is_gone_on_with() -> None:
    class OneByte(RecordingOperations):
        def write_piece(self, file: BinaryIO, data: memoryview) -> int:
            return super().write_piece(file, data[:1])

    operations = OneByte()
    replace_text(Path("file"), "abc", operations)
    assert Path("file").read_bytes() == b"abc" and kinds(operations).count("write") == 3


@pytest.mark.parametrize("failing", ["create", "write_piece", "sync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(failing: str) -> None:
    class Failing(FileOperations):
        pass

    def fail(self: Any, *arguments: Any) -> None:
        raise OSError(errno.EIO, "broken")

    setattr(Failing, failing, fail)
    Path("file").write_bytes(b"old")
    with pytest.raises(OSError, match="broken"):
        replace_text(Path("file"), "new", Failing())
    assert Path("file").read_bytes() == b"old" and os.listdir(".") == ["file"]


def test_missing_folders_are_made_and_each_entry_is_brought_to_the_disk() -> None:
    operations = RecordingOperations()
    make_folders(Path("a/b/c"), operations)
    assert [(record.kind, str(record.path)) for record in operations.records] == [
        ("make_folder", "a"),
        ("sync_folder", "."),
        ("make_folder", os.path.join("a", "b")),
        ("sync_folder", "a"),
        ("make_folder", os.path.join("a", "b", "c")),
        ("sync_folder", os.path.join("a", "b")),
    ]
    make_folders(Path("a/b/c"), operations)
    assert len(operations.records) == 6
    with pytest.raises(FileExistsError):
        make_folders(Path("a/b"), operations, exist_ok=False)
    Path("file").write_text("x", encoding="utf-8")
    for path in ("file", "file/below"):
        with pytest.raises(OSError):
            make_folders(Path(path), operations)


def test_a_folder_that_another_process_makes_at_the_same_time() -> None:
    class Late(FileOperations):
        def make_folder(self, folder: Path) -> None:
            folder.mkdir()
            super().make_folder(folder)

    make_folders(Path("a/b"), Late())
    assert Path("a/b").is_dir()
    with pytest.raises(FileExistsError):
        make_folders(Path("a/c"), Late(), exist_ok=False)


@pytest.mark.skipif(os.name == "nt", reason="Windows brings folders to the disk by itself")
@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_file_systems_that_cannot_sync_folders(number: int, passes: bool, monkeypatch: Any) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    if passes:
        FileOperations().sync_folder(Path("."))
    else:
        with pytest.raises(OSError):
            FileOperations().sync_folder(Path("."))


def test_only_own_temporary_files_are_swept() -> None:
    names = [".{}.tmp".format("0123456789abcdef" * 2), ".mine.tmp", "x.tmp", ".{}.tmp.bak".format("0" * 32), "data"]
    for name in names:
        Path(name).write_bytes(b"")
    sweep_leftovers(Path("."), FileOperations())
    assert sorted(os.listdir(".")) == sorted(names[1:])
    sweep_leftovers(Path("absent"), FileOperations())


def test_a_disk_without_room_is_told_with_need_and_room() -> None:
    class Full(FileOperations):
        def write_piece(self, file: BinaryIO, data: memoryview) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        CheckpointWriteError, match=r"Cannot save 'x': .*\([0-9]+ bytes are needed, .* are free on that"
    ):
        write_checkpoint("x", Checkpoint({}, {}), Full())
    assert os.listdir(".") == []


def test_sizes_as_people_read_them() -> None:
    assert [readable_size(count) for count in (0, 999, 1000, 42_900, 1_500_000, 2 * 10**9)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "42.9 kB",
        "1.5 MB",
        "2.0 GB",
    ]
