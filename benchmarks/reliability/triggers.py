"""Hooks that do something at a chosen moment of a run: between steps, within an update, within a save."""

import os
import signal
from pathlib import Path
from typing import Any, Callable, Union

from AquaML.coordinator.file_operations import Data
from AquaML.learning.trainers.hooks import Hook


def handle_signals_as_usual() -> None:
    """Undo what ``nohup`` or the background of a shell has done to the signals of this process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


class Stop:
    """Ends training as :meth:`~AquaML.learning.trainers.base.Trainer.stop` does."""

    def __call__(self, trainer: Any) -> None:
        """Stop."""
        trainer.stop("cut")


def send(number: int) -> Callable[[Any], None]:
    """Return what sends a signal to this process."""
    return lambda trainer: os.kill(os.getpid(), number)


class At(Hook):
    """Acts after a vector step.

    Args:
        timestep: Which one; 0: before the first.
        action: Gets the trainer.
    """

    def __init__(self, timestep: int, action: Callable[[Any], None]) -> None:
        self._timestep, self._action = timestep, action

    def on_train_start(self, trainer: Any) -> None:
        """Act before the first step."""
        if self._timestep == 0:
            self._action(trainer)

    def on_step(self, trainer: Any) -> None:
        """Act after a step."""
        if trainer.timestep == self._timestep:
            self._action(trainer)


class InUpdate(Hook):
    """Acts within the backward pass of an update.

    Args:
        number: Which backward pass, from 1.
        action: Gets the trainer.
    """

    def __init__(self, number: int, action: Callable[[Any], None]) -> None:
        self._left, self._action = number, action

    def on_train_start(self, trainer: Any) -> None:
        """Wait for gradients of the policy."""

        def count(gradient: Any) -> None:
            self._left -= 1
            if self._left == 0:
                self._action(trainer)

        next(trainer.agent.models["policy"].parameters()).register_hook(count)


class InSave(Hook):
    """Acts when a checkpoint is half written.

    Args:
        timestep: The first checkpoint at this vector step or later.
        action: Gets the trainer.
    """

    def __init__(self, timestep: int, action: Callable[[Any], None]) -> None:
        self._timestep, self._action = timestep, action

    def on_train_start(self, trainer: Any) -> None:
        """Watch the writes."""
        operations, write = trainer.coordinator.operations, trainer.coordinator.operations.write
        done = []

        def watched(file: Any, data: Data) -> None:
            write(file, data)
            name: Union[str, Path] = getattr(file, "name", "")
            if trainer.timestep >= self._timestep and not done and Path(str(name)).parent.name == "checkpoints":
                done.append(True)
                self._action(trainer)

        operations.write = watched
