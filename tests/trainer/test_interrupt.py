"""Ctrl-C in a real process."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pieces import agent_state, differences, make_trainer

from AquaML.coordinator.checkpoint_format import read_checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for child processes")

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

make_trainer(run_name="run", timesteps=100000, hooks=[Signal()]).train()
print("never reached", flush=True)
"""


def start(ready: int, pause: float) -> subprocess.Popen:
    code = SCRIPT.format(place=str(Path(__file__).parent), ready=ready, pause=pause)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


def test_the_first_interrupt_saves_and_ends_with_the_conventional_code() -> None:
    process = start(ready=40, pause=0.02)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == b"" and b"Traceback" not in errors
    assert b"Interrupted: finishing the step and saving." in errors
    saved = read_checkpoint("runs/run/checkpoints/last.aqua")
    timestep = saved.metadata["counters"]["timestep"]
    assert 40 <= timestep < 1000
    resumed = make_trainer(resume="runs/run", timesteps=timestep + 16)
    resumed.train()
    whole = make_trainer(timesteps=timestep + 16)
    whole.train()
    assert differences(agent_state(whole.agent), agent_state(resumed.agent)) == []


def test_the_second_interrupt_ends_at_once() -> None:
    process = start(ready=5, pause=30.0)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert time.monotonic() - begin < 15.0
    assert process.returncode not in (0, 130)
    assert not Path("runs/run/checkpoints/last.aqua").exists()


def test_the_handler_is_put_back_after_training() -> None:
    before = signal.getsignal(signal.SIGINT)
    make_trainer(timesteps=4).train()
    assert signal.getsignal(signal.SIGINT) is before
