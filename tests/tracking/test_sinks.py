"""Sinks: the figures that were written are the figures that are read."""

import json
import math
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
import torch

from AquaML.errors import MissingDependencyError, StateError
from AquaML.stateful import RUN, Part, collect_states, restore_states
from AquaML.tracking.csv_sink import CsvSink, read_rows
from AquaML.tracking.sink import Sink
from AquaML.tracking.system_monitor import SystemMonitor
from AquaML.tracking.tensorboard_sink import TensorBoardSink
from AquaML.tracking.tracker import Tracker
from AquaML.tracking.wandb_sink import WandbSink

FOLDER = Path("run")


@pytest.fixture(autouse=True)
def run_folder() -> None:
    FOLDER.mkdir()


def row(step: int, **figures: float) -> Dict[str, float]:
    return dict({"environment_steps": float(step)}, **figures)


class Collector(Sink):
    def __init__(self, name: str = "collector", fails_at: int = -1) -> None:
        super().__init__()
        self.name = name
        self.fails_at = fails_at
        self.seen: List[Tuple[int, Dict[str, float]]] = []
        self.calls: List[str] = []

    def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
        self.calls.append("open {} {}".format(folder, configuration))
        if self.fails_at == 0:
            raise OSError("disk is full")

    def write(self, step: int, row: Dict[str, float]) -> None:
        if step == self.fails_at:
            raise OSError("disk is full")
        self.seen.append((step, row))
        self.rows += 1

    def close(self) -> None:
        self.calls.append("close")


# ---------------------------------------------------------------------------------------------------------------- CSV


def test_csv_takes_new_columns_later_and_keeps_every_number() -> None:
    sink = CsvSink()
    assert os.listdir(str(FOLDER)) == []
    sink.open(FOLDER, {})
    sink.write(8, row(8, loss=0.1))
    sink.write(16, row(16, **{"loss": 1e-300, "episode/return": -3.5}))
    sink.write(24, row(24, other=float("nan")))
    sink.write(32, row(32, loss=float("-inf")))
    sink.close()
    sink.close()
    rows = read_rows(FOLDER / "progress.csv")
    assert [list(item) for item in rows] == [["environment_steps", "loss", "episode/return", "other"]] * 4
    assert [item["loss"] for item in rows] == ["0.1", "1e-300", "", "-inf"]
    assert float(rows[1]["episode/return"]) == -3.5 and math.isnan(float(rows[2]["other"]))
    assert sink.rows == 4 and os.listdir(str(FOLDER)) == ["progress.csv"]


def test_csv_of_a_resumed_run_is_cut_to_its_checkpoint() -> None:
    first = CsvSink()
    first.open(FOLDER, {})
    first.write(8, row(8, loss=1.0))
    first.write(16, row(16, loss=2.0))
    saved = collect_states([Part("csv", RUN, first)])
    first.write(24, row(24, loss=99.0, late=1.0))
    second = CsvSink()
    restore_states([Part("csv", RUN, second)], saved)
    second.open(FOLDER, {})
    second.write(24, row(24, loss=3.0))
    rows = read_rows(FOLDER / "progress.csv")
    assert [item["loss"] for item in rows] == ["1.0", "2.0", "3.0"] and second.rows == 3


def test_csv_of_a_new_run_begins_anew_and_a_lost_file_is_no_error() -> None:
    (FOLDER / "progress.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    sink = CsvSink()
    sink.open(FOLDER, {})
    sink.write(8, row(8))
    assert read_rows(FOLDER / "progress.csv") == [{"environment_steps": "8.0"}]
    (FOLDER / "progress.csv").unlink()
    again = CsvSink()
    again.load_state_dict({"rows": 5})
    again.open(FOLDER, {})
    assert again.rows == 0 and read_rows(FOLDER / "progress.csv") == []


@pytest.mark.parametrize("state", [{}, {"rows": -1}, {"rows": 1.5}, {"rows": 1, "more": 2}, None])
def test_broken_position_is_refused(state: Any) -> None:
    with pytest.raises(StateError, match="sink 'csv'"):
        CsvSink().validate_state(state)


# -------------------------------------------------------------------------------------------------------- TensorBoard


def scalars(folder: Path) -> Dict[str, List[Tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    return {tag: [(item.step, item.value) for item in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_tensorboard_reads_back_numbers_and_steps() -> None:
    pytest.importorskip("tensorboard")
    sink = TensorBoardSink()
    sink.close()
    sink.open(FOLDER, {})
    sink.write(2048, {"loss/policy": 0.5, "episode/return_mean": -1250.25})
    sink.write(2**33, {"loss/policy": -0.25})
    assert scalars(FOLDER)["loss/policy"][0] == (2048, 0.5)  # visible while the run goes on
    sink.close()
    sink.close()
    assert scalars(FOLDER) == {
        "loss/policy": [(2048, 0.5), (2**33, -0.25)],
        "episode/return_mean": [(2048, -1250.25)],
    }
    assert sink.rows == 2


def test_tensorboard_of_a_resumed_run_forgets_what_came_after_the_checkpoint() -> None:
    pytest.importorskip("tensorboard")
    first = TensorBoardSink()
    first.open(FOLDER, {})
    for step in (10, 20, 25, 40):
        if step == 25:
            state = first.state_dict()
        first.write(step, {"loss": float(step)})
    first.close()
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which count seconds
    second = TensorBoardSink()
    second.load_state_dict(state)
    second.open(FOLDER, {})
    second.write(30, {"loss": 3.0})
    second.close()
    assert scalars(FOLDER) == {"loss": [(10, 10.0), (20, 20.0), (30, 3.0)]}


# -------------------------------------------------------------------------------------------------------------- wandb


def test_wandb_offline_records_the_run(monkeypatch: Any) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    sink = WandbSink("project")
    sink.close()
    assert sink.state_dict() == {"rows": 0, "run_id": None}
    sink.open(FOLDER, {"agent": {"rate": 0.125}})
    sink.write(2048, {"loss": 0.5})
    sink.write(4096, {"loss": 0.25})
    sink.close()
    sink.close()
    assert sink.rows == 2
    wandb.teardown()  # its service writes the file out when it ends
    records = wandb_records(FOLDER)
    assert records["history"] == [(2048, 0.5), (4096, 0.25)]
    assert records["run"] == ("project", "run", sink.run_id) and records["rate"] == 0.125

    resumed = WandbSink("project")
    restore_states([Part("wandb", RUN, resumed)], collect_states([Part("wandb", RUN, sink)]))
    assert resumed.run_id == sink.run_id and resumed.rows == 2
    with pytest.raises(StateError, match="run_id is 3"):
        resumed.validate_state({"rows": 1, "run_id": 3})


def log_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a LevelDB log, which is what wandb writes: blocks of 32 KiB, each record with 7 bytes."""
    place, record = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece of one
            yield record
            record = b""


def wandb_records(folder: Path) -> Dict[str, Any]:
    """Read the file that wandb keeps for a later upload."""
    from wandb.proto import wandb_internal_pb2

    found: Dict[str, Any] = {"history": []}
    for content in log_records(next(folder.glob("wandb/offline-run-*/run-*.wandb")).read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = (record.run.project, record.run.display_name, record.run.run_id)
            values = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            found["rate"] = values["agent"]["rate"]
        if kind == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            found["history"].append((items["_step"], items["loss"]))
    return found


@pytest.mark.parametrize(
    ("package", "sink", "words"),
    [
        ("wandb", "wandb_sink.WandbSink('p')", "TrainerConfig.wandb needs: pip install wandb"),
        (
            "tensorboard",
            "tensorboard_sink.TensorBoardSink()",
            "TrainerConfig.tensorboard needs: pip install tensorboard",
        ),
    ],
)
def test_a_sink_whose_package_is_missing_says_what_to_install(package: str, sink: str, words: str) -> None:
    code = (
        "import sys; sys.modules[{!r}] = None\n"
        "from pathlib import Path\n"
        "from AquaML.errors import MissingDependencyError\n"
        "from AquaML.tracking import csv_sink, tensorboard_sink, tracker, wandb_sink\n"
        "tracked = tracker.Tracker([csv_sink.CsvSink(), {}])\n"
        "try:\n"
        "    tracked.open(Path('run'), {{}})\n"
        "except MissingDependencyError as error:\n"
        "    assert isinstance(error, ImportError)\n"
        "    print(error)\n"
    ).format(package, sink)
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert (result.returncode, result.stdout.strip()) == (0, words)


# ------------------------------------------------------------------------------------------------------------ tracker


def test_a_sink_that_fails_is_reported_once_and_the_others_go_on(log_lines: List[str]) -> None:
    good, bad, dead = Collector("good"), Collector("bad", fails_at=2), Collector("dead", fails_at=0)
    tracker = Tracker([dead, bad, good])
    tracker.open(FOLDER, {"a": 1})
    for step in (1, 2, 3, 4):
        tracker.write(step, row(step))
    tracker.close()
    tracker.close()
    assert [step for step, _ in good.seen] == [1, 2, 3, 4] and [step for step, _ in bad.seen] == [1]
    assert good.calls == ["open run {'a': 1}", "close"]
    assert log_lines == [
        "WARNING The sink '{}' failed and is left out from now on; training goes on: OSError: disk is full".format(name)
        for name in ("dead", "bad")
    ]


def test_sinks_of_one_name_have_states_of_their_own() -> None:
    sinks = [Collector(), Collector("x"), Collector(), Collector()]
    for rows, sink in enumerate(sinks):
        sink.rows = rows
    tracker = Tracker(sinks)
    assert [part.name for part in tracker.parts] == ["collector", "x", "collector_2", "collector_3"]
    saved = collect_states(tracker.parts)
    other = Tracker([Collector(), Collector("x"), Collector(), Collector()])
    restore_states(other.parts, saved)
    assert [sink.rows for sink in other.sinks] == [0, 1, 2, 3]


def test_a_missing_package_closes_what_was_open() -> None:
    class Needy(Collector):
        def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
            raise MissingDependencyError("needs: pip install nothing")

    first = Collector("first")
    with pytest.raises(MissingDependencyError):
        Tracker([first, Needy()]).open(FOLDER, {})
    assert first.calls == ["open run {}", "close"]


# ----------------------------------------------------------------------------------------------------- system monitor


def test_system_figures_are_plausible() -> None:
    pytest.importorskip("resource")  # Windows has none, and no figure then
    monitor = SystemMonitor(torch.device("cpu"))
    before = monitor.sample()["system/peak_process_memory"]
    ballast = torch.ones(32 * 1024 * 1024)  # 128 MiB
    after = monitor.sample()["system/peak_process_memory"]
    monitor.close()
    monitor.close()
    assert 50.0 < before <= after < 64 * 1024.0 and ballast.numel() > 0
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        peak = [int(line.split()[1]) / 1024.0 for line in lines if line.startswith("VmHWM")]
        assert after == pytest.approx(peak[0], rel=0.05)
