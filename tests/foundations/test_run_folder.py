"""Run folders: names, uniqueness, what is recorded; and the checkpoints in them."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from AquaML.coordinator.checkpoint_format import Checkpoint, read_checkpoint
from AquaML.coordinator.checkpoint_store import CheckpointStore
from AquaML.coordinator.coordinator import Coordinator
from AquaML.coordinator.run_folder import RunFolder, git_state, safe_name
from AquaML.errors import CheckpointNotFoundError, TrainerError

RESERVED = ["con", "PRN", "aux.txt", "NUL.tar.gz", "com1", "LPT9.log"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2026-01-01_PPO_Pendulum-v1", "2026-01-01_PPO_Pendulum-v1"),
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("..\\..//etc/passwd", "etc-passwd"),
        ("a b:c*d?", "a-b-c-d"),
        ("ends. ", "ends"),
        ("", "run"),
        ("...", "run"),
        ("con", "_con"),
        ("NUL.tar.gz", "_NUL.tar.gz"),
        ("y" * 119 + "./" + "z" * 300, "y" * 119),
    ],
)
def test_safe_names(text: str, name: str) -> None:
    assert safe_name(text) == name


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=300) | st.sampled_from(RESERVED) | st.text(alphabet="a./\\: -", max_size=200))
def test_any_text_becomes_a_name_that_every_system_takes(text: str) -> None:
    name = safe_name(text)
    assert 1 <= len(name) <= 121 and set(name) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    )
    assert name[0] not in ".-" and name[-1] not in ". "
    assert name.split(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    assert safe_name(name) == name


def test_nothing_is_written_before_create() -> None:
    folder = RunFolder("runs", RunFolder.default_name("PPO", "ALE/Pong-v5"))
    assert folder.path is None and os.listdir(".") == []
    path = folder.create()
    assert path.is_dir() and path.name.endswith("_PPO_ALE-Pong-v5") and path.parent.name == "runs"
    assert folder.create() == path and len(os.listdir("runs")) == 1


def test_runs_of_one_name_made_at_once_are_all_different() -> None:
    found: List[Path] = []
    barrier = threading.Barrier(12)

    def make() -> None:
        folder = RunFolder("runs", "same")
        barrier.wait()
        found.append(folder.create())

    threads = [threading.Thread(target=make) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in found) == sorted(["same"] + ["same_{}".format(i) for i in range(2, 13)])


def test_places_where_no_folder_can_be() -> None:
    Path("file").write_text("x", encoding="utf-8")
    for root in ("file", "file/below"):
        with pytest.raises(TrainerError, match="file"):
            RunFolder(root, "a").create()
    with pytest.raises(TrainerError, match="no run folder 'absent' to resume"):
        RunFolder.existing("absent")
    made = RunFolder("runs", "a").create()
    assert RunFolder.existing(made).create() == made


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.check_output(command + list(arguments)).decode("utf-8")


def test_outside_a_repository() -> None:
    assert git_state(Path.cwd()) == (None, b"", ())
    path = RunFolder("runs", "a")
    path.describe({"agent": {"rate": 0.5}})
    folder = Path("runs/a")
    assert sorted(os.listdir(str(folder))) == ["config.json", "versions.json"]
    assert json.loads((folder / "config.json").read_text(encoding="utf-8")) == {"agent": {"rate": 0.5}}
    versions = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
    assert versions["git_commit"] is None and versions["git_untracked"] == []
    assert versions["python"] == "{}.{}.{}".format(*sys.version_info[:3])
    for name in ("AquaML", "torch", "numpy", "gymnasium", "loguru", "tqdm", "matplotlib"):
        assert versions[name][0].isdigit()


def test_inside_a_repository_the_changes_rebuild_the_files() -> None:
    git("init", "-q")
    assert git_state(Path.cwd()) == (None, b"", ())
    content = "f\u00fcr\nline\n".encode("utf-8") + b"\xff\xfe latin\n"
    Path("script.py").write_bytes(content)
    Path("data.bin").write_bytes(bytes(range(256)))
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD").strip()
    assert git_state(Path.cwd()) == (commit, b"", ())
    Path("script.py").write_bytes(content + b"more \xe4\n")
    Path("data.bin").write_bytes(bytes(range(255, -1, -1)))
    Path("new.py").write_text("x", encoding="utf-8")
    git("config", "color.ui", "always")
    RunFolder("runs", "a").describe({})
    versions = json.loads(Path("runs/a/versions.json").read_text(encoding="utf-8"))
    assert versions["git_commit"] == commit and versions["git_untracked"] == ["new.py", "runs/"]
    changed = [Path("script.py").read_bytes(), Path("data.bin").read_bytes()]
    git("checkout", "-q", ".")
    assert Path("script.py").read_bytes() == content
    git("apply", "runs/a/git.diff")
    assert [Path("script.py").read_bytes(), Path("data.bin").read_bytes()] == changed


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint({"step": step}, {})


def step_of(path: Path) -> Any:
    return read_checkpoint(path).metadata["step"]


def written_at(path: Path, time: int) -> Path:
    os.utime(str(path), (time, time))
    return path


def test_retention_keeps_the_newest_and_last_and_best() -> None:
    store = CheckpointStore("checkpoints", keep=3)
    assert store.periodic() == [] and store.best() is None and not Path("checkpoints").exists()
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint in 'checkpoints' to resume from"):
        store.latest()
    for time, step in enumerate((8, 9, 10, 100, 200)):
        written_at(store.save_periodic(step, checkpoint(step)), 1000 + time)
        if step == 9:
            store.save_best(checkpoint(step))
    assert [path.name for path in store.periodic()] == ["step_10.aqua", "step_100.aqua", "step_200.aqua"]
    assert step_of(store.latest()) == 200
    Path("checkpoints/step_x.aqua").write_text("a user's own file", encoding="utf-8")
    written_at(store.save_last(checkpoint(205)), 1004)
    assert step_of(store.latest()) == 205 and step_of(store.best()) == 9  # type: ignore[arg-type]
    assert sorted(os.listdir("checkpoints")) == [
        "best.aqua",
        "last.aqua",
        "step_10.aqua",
        "step_100.aqua",
        "step_200.aqua",
        "step_x.aqua",
    ]


def test_a_run_that_goes_on_from_an_earlier_checkpoint_keeps_its_own() -> None:
    store = CheckpointStore("checkpoints", keep=2)
    for time, step in enumerate((100, 200, 300)):
        written_at(store.save_periodic(step, checkpoint(step)), 1000 + time)
    written_at(store.save_last(checkpoint(300)), 1003)
    assert store.save_periodic(150, checkpoint(150)).is_file()
    assert step_of(store.latest()) == 150
    assert [path.name for path in store.periodic()] == ["step_300.aqua", "step_150.aqua"]


def test_coordinator_opens_a_folder_once() -> None:
    coordinator = Coordinator("cpu")
    path = coordinator.open_folder(RunFolder("runs", "a"), 2)
    assert os.listdir(str(path)) == ["run.lock"] and coordinator.store is not None
    assert coordinator.store.folder == path / "checkpoints" and coordinator.store.keep == 2
