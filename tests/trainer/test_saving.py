"""When a trainer saves, whom it resumes, and what it refuses to save."""

import errno
import json
import os
from pathlib import Path
from typing import Any, BinaryIO, List

import pytest
import torch
from pieces import StopAt, make_trainer

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.coordinator.coordinator import Coordinator
from AquaML.coordinator.file_operations import FileOperations
from AquaML.coordinator.run_folder import RunFolder
from AquaML.errors import CheckpointWriteError, NonFiniteError, RunFolderInUseError
from AquaML.learning.finite_weights import not_finite_weights
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.tracking.csv_sink import CsvSink, read_rows
from benchmarks.reliability.tiny_run import digests

CHECKPOINTS = Path("runs/run/checkpoints")


class Full(FileOperations):
    """A disk that is full while it is told so."""

    full = False

    def create(self, path: Path) -> BinaryIO:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return super().create(path)


def on_disk(operations: FileOperations, hooks: Any = (), **settings: Any) -> SequentialTrainer:
    made = make_trainer(run_name="run", **settings)
    return SequentialTrainer(made.env, made.agent, made.cfg, Coordinator("cpu", operations), hooks)


class FullAt(Hook):
    def __init__(self, operations: Full, steps: List[int]) -> None:
        self.operations, self.steps = operations, steps

    def on_step(self, trainer: Any) -> None:
        self.operations.full = trainer.timestep in self.steps


def test_a_full_disk_costs_a_save_and_the_next_one_works(log_lines: list) -> None:
    operations = Full()
    trainer = on_disk(operations, [FullAt(operations, [16, 20])], timesteps=48, checkpoint_interval=16)
    trainer.train()
    assert trainer.state == "finished" and trainer.timestep == 48
    assert sorted(os.listdir(str(CHECKPOINTS))) == ["last.aqua", "step_32.aqua", "step_48.aqua"]
    (line,) = [line for line in log_lines if "Cannot save" in line]
    assert line.startswith("WARNING Cannot save '{}'".format(CHECKPOINTS / "step_16.aqua"))
    assert "are needed" in line and line.endswith("Training goes on; the checkpoints that are there stay whole.")


def test_a_full_disk_ends_training_where_that_is_asked_for() -> None:
    operations = Full()
    hooks = [FullAt(operations, [16])]
    trainer = on_disk(operations, hooks, checkpoint_interval=16, on_save_error="raise")
    with pytest.raises(CheckpointWriteError, match="step_16.aqua"):
        trainer.train()
    assert trainer.timestep == 16 and trainer.state == "failed"


def test_the_last_checkpoint_must_be_written() -> None:
    operations = Full()
    trainer = on_disk(operations, [FullAt(operations, [32])], timesteps=32)
    with pytest.raises(CheckpointWriteError, match="last.aqua"):
        trainer.train()
    before = digests(CHECKPOINTS)
    assert (
        list(before) == ["last.aqua"]
        and read_checkpoint(CHECKPOINTS / "last.aqua").metadata["counters"]["timestep"] == 0
    )
    assert trainer.state == "failed"


def test_the_first_checkpoint_is_written_before_the_first_step() -> None:
    seen = []

    class Watch(Hook):
        def on_step(self, trainer: Any) -> None:
            seen.append(read_checkpoint(CHECKPOINTS / "last.aqua").metadata["counters"]["timestep"])

    make_trainer(run_name="run", timesteps=2, hooks=[Watch()]).train()
    assert seen == [0, 0]


def test_a_best_that_could_not_be_saved_is_no_best() -> None:
    operations = Full()
    scores = []

    class Judge(Hook):
        def on_step(self, trainer: Any) -> None:
            operations.full = trainer.timestep == 2
            trainer.consider_best({1: 1.0, 2: 5.0, 3: 2.0}[trainer.timestep])
            operations.full = False
            scores.append(trainer.best_return)

    on_disk(operations, [Judge()], timesteps=3).train()
    assert scores == [1.0, 1.0, 2.0]
    assert read_checkpoint(CHECKPOINTS / "best.aqua").metadata["best"] == {"return": 2.0, "timestep": 3}


# ---------------------------------------------------------------------- weights that are not finite


class Poison(Hook):
    """Writes a value into one weight, without the agent's noticing."""

    def __init__(self, steps: List[int], value: float) -> None:
        self.steps, self.value = steps, value

    def on_step(self, trainer: Any) -> None:
        weight = next(trainer.agent.models["policy"].parameters())
        if trainer.timestep in self.steps:
            self.kept = weight.detach().clone()
            weight.data.view(-1)[0] = self.value
            trainer.save_last()
            trainer.save_periodic()
            trainer.consider_best(1.0)
            weight.data.copy_(self.kept)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_replace_nothing(value: float, log_lines: list) -> None:
    trainer = make_trainer(run_name="run", timesteps=8, hooks=[Poison([4], value)])
    trainer.train()
    assert sorted(os.listdir(str(CHECKPOINTS))) == ["last.aqua", "not_finite.aqua"]
    assert trainer.best_return is None
    assert read_checkpoint(CHECKPOINTS / "last.aqua").metadata["counters"]["timestep"] == 8
    assert read_checkpoint(CHECKPOINTS / "not_finite.aqua").metadata["counters"]["timestep"] == 4
    lines = [line for line in log_lines if "hold NaN or infinity" in line]
    assert len(lines) == 3 and "At vector step 4" in lines[0] and "policy." in lines[0]


def test_a_run_that_begins_or_ends_with_such_weights_is_an_error() -> None:
    trainer = make_trainer(run_name="run")
    next(trainer.agent.models["policy"].parameters()).data.view(-1)[0] = float("nan")
    with pytest.raises(NonFiniteError, match="not_finite.aqua"):
        trainer.train()
    assert not (CHECKPOINTS / "last.aqua").exists()


def test_infinity_in_a_buffer_is_no_fault_but_nan_is() -> None:
    trainer = make_trainer()
    model = trainer.agent.models["policy"]
    assert not_finite_weights(trainer.agent) == []
    model.register_buffer("bounds", torch.tensor([-float("inf"), float("inf")]))
    assert not_finite_weights(trainer.agent) == []
    model.bounds[0] = float("nan")
    assert not_finite_weights(trainer.agent) == ["policy.bounds"]


# ---------------------------------------------------------------------- whom to resume


def test_resume_true_waits_for_no_live_run_and_takes_no_other() -> None:
    make_trainer(run_name="old", timesteps=8).train()
    make_trainer(run_name="live", timesteps=8).train()
    live = RunFolder.existing("runs/live")
    live.claim()
    with pytest.raises(RunFolderInUseError, match="'runs.live' is in use by process {}".format(os.getpid())):
        make_trainer(resume=True, timesteps=16).train()
    live.release()
    resumed = make_trainer(resume=True, timesteps=16)
    resumed.train()
    assert resumed.run_folder == Path("runs/live")


def test_the_folder_is_free_after_training_and_after_a_failure() -> None:
    class Fails(Hook):
        def on_step(self, trainer: Any) -> None:
            with pytest.raises(RunFolderInUseError):
                RunFolder.existing(trainer.run_folder).claim()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make_trainer(run_name="run", hooks=[Fails()]).train()
    for _ in range(2):
        folder = RunFolder.existing("runs/run")
        folder.claim()
        folder.release()
        make_trainer(resume="runs/run", timesteps=4).train()


def test_runs_without_an_intact_checkpoint_are_passed_over_with_a_warning(log_lines: list) -> None:
    for name in ("first", "second", "third", "fourth"):
        make_trainer(run_name=name, timesteps=8).train()
    (Path("runs/fourth") / "config.json").write_text("{", encoding="utf-8")
    os.remove("runs/third/checkpoints/last.aqua")
    Path("runs/second/checkpoints/last.aqua").write_bytes(b"torn")
    resumed = make_trainer(resume=True, timesteps=16)
    resumed.train()
    assert resumed.run_folder == Path("runs/first") and resumed.timestep == 16
    for name, words in (("second", "no intact checkpoint"), ("third", "no checkpoint"), ("fourth", "tells of no run")):
        assert [line for line in log_lines if "passed over" in line and name in line and words in line]
    # What was passed over is left free.
    RunFolder.existing("runs/second").claim()


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before() -> None:
    make_trainer(run_name="run", timesteps=40, checkpoint_interval=16).train()
    path = CHECKPOINTS / "last.aqua"
    path.write_bytes(path.read_bytes()[:-1])
    resumed = make_trainer(resume=True, timesteps=48, hooks=[StopAt(33)])
    resumed.train()
    assert resumed.timestep == 33


def test_configuration_and_versions_are_whole_or_absent() -> None:
    class Dies(FileOperations):
        """Ends like a killed process while the configuration is written."""

        def write_piece(self, file: BinaryIO, data: memoryview) -> int:
            if b'"trainer"' in bytes(data):
                super().write_piece(file, data[:20])
                raise SystemExit(9)
            return super().write_piece(file, data)

    with pytest.raises(SystemExit):
        on_disk(Dies()).train()
    assert not Path("runs/run/config.json").exists()
    assert json.loads(Path("runs/run/versions.json").read_text(encoding="utf-8"))["AquaML"]


# ---------------------------------------------------------------------- rows of the log


def test_rows_behind_those_of_the_checkpoint_may_be_torn() -> None:
    make_trainer(run_name="run", timesteps=32).train()
    path = Path("runs/run/progress.csv")
    rows = read_rows(path)
    with open(str(path), "ab") as file:
        file.write(b"48.0,torn" + bytes(600))
    make_trainer(resume="runs/run", timesteps=48).train()
    again = read_rows(path)
    assert len(again) == len(rows) + 1 and again[: len(rows)] == rows


def test_rows_that_a_checkpoint_counts_are_on_the_disk() -> None:
    calls: List[str] = []

    class Watching(FileOperations):
        def sync(self, file: BinaryIO) -> None:
            calls.append("sync {} of {} rows".format(Path(file.name).name, len(read_rows(Path(file.name)))))
            super().sync(file)

    sink = CsvSink()
    sink._operations = Watching()
    assert sink.state_dict() == {"rows": 0} and calls == []
    sink.open(Path("."), {})
    sink.write(8, {"environment_steps": 8.0})
    calls.clear()
    assert sink.state_dict() == {"rows": 1} and calls == ["sync progress.csv of 1 rows"]
    os.remove("progress.csv")
    os.mkdir("progress.csv")
    assert sink.state_dict() == {"rows": 1}
