"""Signals, in this process and in real ones."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from loguru import logger
from pieces import agent_state, differences, make_trainer

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.learning.trainers.hooks import Hook
from AquaML.tracking.sink import Sink

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")

SCRIPT = """
import sys, time
sys.path.insert(0, {place!r})
from pieces import make_trainer
from AquaML.learning.trainers.hooks import Hook

class Signal(Hook):
    def on_step(self, trainer):
        if trainer.timestep == {ready}:
            print("ready", flush=True)
        if trainer.timestep >= {ready}:
            time.sleep({pause})

make_trainer(run_name="run", timesteps=100000, disable_progressbar={quiet}, hooks=[Signal()]).train()
print("never reached", flush=True)
"""
LAST = "runs/run/checkpoints/last.aqua"


def script(ready: int, pause: float, quiet: bool = True) -> str:
    return SCRIPT.format(place=str(Path(__file__).parent), ready=ready, pause=pause, quiet=quiet)


def start(ready: int, pause: float) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", script(ready, pause)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


def saved_timestep() -> int:
    timestep: int = read_checkpoint(LAST).metadata["counters"]["timestep"]
    return timestep


def test_the_first_interrupt_saves_and_ends_with_the_conventional_code() -> None:
    process = start(ready=40, pause=0.02)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == b"" and b"Traceback" not in errors
    assert b"SIGINT: finishing the step and saving. Press Ctrl-C again to end at once." in errors
    assert b"(interrupted by SIGINT)" in errors
    timestep = saved_timestep()
    assert 40 <= timestep < 1000
    resumed = make_trainer(resume="runs/run", timesteps=timestep + 16)
    resumed.train()
    whole = make_trainer(timesteps=timestep + 16)
    whole.train()
    assert differences(agent_state(whole.agent), agent_state(resumed.agent)) == []


@pytest.mark.parametrize("first, second", [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM")])
def test_the_second_signal_ends_at_once(first: str, second: str) -> None:
    process = start(ready=5, pause=30.0)
    process.send_signal(getattr(signal, first))
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(getattr(signal, second))
    process.communicate(timeout=60)
    assert time.monotonic() - begin < 15.0
    assert process.returncode == -getattr(signal, second)
    # What was published before is whole: the checkpoint of the begin.
    assert saved_timestep() == 0


def test_a_terminal_that_goes_away_ends_the_run_with_a_checkpoint() -> None:
    pty = pytest.importorskip("pty")
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", script(20, 0.02, quiet=False)])
    seen = b""
    # With its end of line, so that the script itself has nothing more to print when the terminal goes.
    while b"ready\r\n" not in seen:
        seen += os.read(terminal, 1000)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 129
    assert saved_timestep() >= 20


# ------------------------------------------------------------------------------------- within this process


class Act(Hook):
    """Does something after a vector step."""

    def __init__(self, timestep: int, action: Callable[[Any], Any]) -> None:
        self._timestep, self._action = timestep, action

    def on_step(self, trainer: Any) -> None:
        if trainer.timestep == self._timestep:
            self._action(trainer)


def send(*names: str) -> Callable[[Any], None]:
    return lambda trainer: [os.kill(os.getpid(), getattr(signal, name)) for name in names] and None


def handlers() -> Dict[str, Any]:
    return {name: signal.getsignal(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")}


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_each_signal_saves_its_step_and_puts_the_handlers_back(name: str, code: int) -> None:
    before = handlers()
    trainer = make_trainer(run_name="run", hooks=[Act(21, send(name))])
    with pytest.raises(SystemExit) as caught:
        trainer.train()
    assert caught.value.code == code
    assert saved_timestep() == trainer.timestep == 21
    status = trainer.get_status()
    assert (status["state"], status["stop_reason"]) == ("interrupted", "interrupted by " + name)
    assert handlers() == before


def test_the_handlers_are_put_back_after_training_and_after_an_error() -> None:
    before = handlers()
    seen: List[Dict[str, Any]] = []

    def fail(trainer: Any) -> None:
        seen.append(handlers())
        raise ValueError("broken hook")

    make_trainer(timesteps=4).train()
    with pytest.raises(ValueError, match="broken hook"):
        make_trainer(hooks=[Act(3, fail)]).train()
    assert handlers() == before and not set(seen[0].values()) & set(before.values())


def test_signals_that_come_together_are_one() -> None:
    trainer = make_trainer(run_name="run", hooks=[Act(9, send("SIGTERM", "SIGHUP", "SIGTERM"))])
    with pytest.raises(SystemExit) as caught:
        trainer.train()
    assert caught.value.code == 143 and saved_timestep() == 9


def test_a_user_signal_saves_and_training_goes_on() -> None:
    notes: List[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: notes.append(number))
    try:
        times: List[int] = []
        hooks = [Act(21, send("SIGUSR1")), Act(22, lambda trainer: times.append(saved_timestep()))]
        trainer = make_trainer(run_name="run", hooks=hooks)
        trainer.train()
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert times == [21] and trainer.timestep == 64 and saved_timestep() == 64
    # The program's own handler was called as well.
    assert notes == [signal.SIGUSR1]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        trainer = make_trainer(hooks=[Act(9, send("SIGHUP"))])
        trainer.train()
        assert trainer.timestep == 64 and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_handler_that_somebody_installs_meanwhile_is_theirs() -> None:
    def theirs(number: int, frame: Any) -> None:
        return None

    try:
        make_trainer(hooks=[Act(3, lambda trainer: signal.signal(signal.SIGTERM, theirs))], timesteps=4).train()
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_signal_that_comes_while_the_log_is_written_is_noted(capfd: Any) -> None:
    # The handler runs in the thread that holds the logger's lock.
    def emit(message: Any) -> None:
        if "mark" in message:
            send("SIGTERM")(None)
            time.sleep(0.01)

    number = logger.add(emit, level="INFO")
    try:
        with pytest.raises(SystemExit) as caught:
            make_trainer(run_name="run", hooks=[Act(9, lambda trainer: logger.info("mark"))]).train()
    finally:
        logger.remove(number)
    assert caught.value.code == 143 and saved_timestep() == 9
    errors = capfd.readouterr().err
    assert "SIGTERM: finishing the step and saving. Send it again to end at once." in errors
    assert "Logging error" not in errors


def test_a_signal_needs_no_console(monkeypatch: Any) -> None:
    trainer = make_trainer(run_name="run", hooks=[Act(9, send("SIGTERM"))])
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as caught:
        trainer.train()
    assert caught.value.code == 143 and saved_timestep() == 9


class Opening(Sink):
    """Sends a signal while the run is being set up."""

    name = "opening"

    def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
        send("SIGTERM")(None)

    def write(self, step: int, row: Dict[str, float]) -> None:
        self.rows += 1


def test_a_signal_before_the_first_step_leaves_a_run_to_resume() -> None:
    trainer = make_trainer(run_name="run")
    trainer.tracker.sinks.append(Opening())
    with pytest.raises(SystemExit) as caught:
        trainer.train()
    assert caught.value.code == 143 and saved_timestep() == 0
    assert [sink.rows for sink in trainer.tracker.sinks] == [0, 0]


def test_a_signal_after_the_last_step_is_not_forgotten() -> None:
    class AtTheEnd(Hook):
        def on_train_end(self, trainer: Any) -> None:
            send("SIGTERM")(trainer)

    trainer = make_trainer(run_name="run", hooks=[AtTheEnd()])
    with pytest.raises(SystemExit) as caught:
        trainer.train()
    assert caught.value.code == 143 and trainer.state == "finished" and saved_timestep() == 64


class Finish(Hook):
    """Sends a signal in the middle of an evaluation during training."""

    def on_evaluation(self, trainer: Any, summary: Any) -> None:
        send("SIGTERM")(trainer)


def test_a_signal_in_an_evaluation_keeps_its_row() -> None:
    settings: Dict[str, Any] = dict(evaluation_interval=24, evaluation_episodes=1)
    whole = make_trainer(run_name="whole", timesteps=48, **settings)
    whole.train()
    with pytest.raises(SystemExit):
        make_trainer(run_name="run", timesteps=48, hooks=[Finish()], **settings).train()
    assert saved_timestep() == 24
    resumed = make_trainer(resume="runs/run", timesteps=48, **settings)
    resumed.train()
    assert differences(whole.state_dict(), resumed.state_dict()) == []


def test_a_training_within_a_training_ends_both() -> None:
    inner: List[Any] = []

    def train_another(trainer: Any) -> None:
        inner.append(make_trainer(run_name="inner", hooks=[Act(5, send("SIGTERM"))]))
        inner[0].train()
        # The inner one is over, and what follows it in the step of the outer one still happens.
        inner.append(trainer.timestep)

    before = handlers()
    outer = make_trainer(run_name="run", hooks=[Act(10, train_another)])
    with pytest.raises(SystemExit) as caught:
        outer.train()
    assert caught.value.code == 143 and handlers() == before
    assert (inner[0].state, inner[0].timestep, inner[1]) == ("interrupted", 5, 10)
    assert outer.state == "interrupted" and saved_timestep() == 10


def test_in_a_thread_training_leaves_signals_alone_and_is_stopped_by_stop() -> None:
    before, seen = handlers(), []
    trainer = make_trainer(timesteps=10**9, hooks=[Act(5, lambda trainer: seen.append(handlers()))])
    thread = threading.Thread(target=trainer.train)
    thread.start()
    while not seen:
        time.sleep(0.01)
    trainer.stop("enough")
    thread.join(30.0)
    assert not thread.is_alive() and seen == [before]
    assert trainer.get_status()["state"] == "stopped"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_ends_by_the_signal_as_if_nobody_watched() -> None:
    ends: List[int] = []

    def fork(trainer: Any) -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            # Python forgets what comes before a new process has begun.
            os.write(writer, b"x")
            time.sleep(10.0)
            os._exit(0)
        os.read(reader, 1)
        os.kill(child, signal.SIGTERM)
        ends.append(os.waitpid(child, 0)[1])

    trainer = make_trainer(hooks=[Act(3, fork)], timesteps=8)
    trainer.train()
    assert os.WIFSIGNALED(ends[0]) and os.WTERMSIG(ends[0]) == signal.SIGTERM
    assert trainer.state == "finished"
