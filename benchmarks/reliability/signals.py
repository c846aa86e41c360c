"""Sends signals to training processes at random times, also into updates and saves, and looks at what is left."""

import contextlib
import functools
import mmap
import os
import random
import signal
import struct
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.coordinator.checkpoint_store import CheckpointStore, is_intact
from AquaML.coordinator.coordinator import Coordinator
from AquaML.coordinator.file_operations import Data, FileOperations
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from AquaML.stateful import collect_states
from benchmarks.reliability.children import Child, answer_of, fork, tell
from benchmarks.reliability.digest import digest_of
from benchmarks.reliability.triggers import handle_signals_as_usual

LATEST = 1.5
"""Seconds after which a signal is sent at the latest."""
MORE = 16
"""Vector steps that the resumed run is compared over."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCHED = _ENDING + (signal.SIGUSR1,)
_RUN = "run"
_PHASES = ("step", "update", "save")
_STATE = struct.Struct("<qq")
_HANDLERS_LOST = 99


class Board:
    """What a training process is doing, for another process to see."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _STATE.size)

    def write(self, timestep: int, phase: str) -> None:
        """Say where training stands."""
        self._memory[: _STATE.size] = _STATE.pack(timestep, _PHASES.index(phase))

    def read(self) -> Tuple[int, str]:
        """Return the number of vector steps done, and the phase."""
        timestep, phase = _STATE.unpack(self._memory[: _STATE.size])
        return timestep, _PHASES[phase]


class Announcing(FileOperations):
    """File operations that say when they write.

    Args:
        board: Where to.
        pause: Seconds that every write takes longer.
    """

    def __init__(self, board: Board, pause: float = 0.0) -> None:
        self._board, self._pause = board, pause

    def write(self, file: Any, data: Data) -> None:
        """Write, slowly."""
        timestep, phase = self._board.read()
        self._board.write(timestep, "save")
        time.sleep(self._pause)
        super().write(file, data)
        self._board.write(timestep, phase)


class AnnouncingPPO(PPO):
    """PPO that says when it learns."""

    board: Board

    def update(self) -> None:
        """Learn."""
        timestep, _ = self.board.read()
        self.board.write(timestep, "update")
        super().update()
        self.board.write(timestep, "step")


class RecordingTrainer(SequentialTrainer):
    """Counts on the board, keeps digests, and lets signals in only where they are watched."""

    board: Board
    digests: Dict[int, str]

    def begin(self) -> None:
        """Let signals in, and begin."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        super().begin()

    def after_step(self) -> None:
        """Finish the step, count it, and keep the digest if that is wanted."""
        super().after_step()
        self.board.write(self.timestep, "step")
        if self.digests is not None and self.timestep in self.digests:
            self.digests[self.timestep] = digest_of(_states(collect_states(self.coordinator.parts())))


def make_trainer(root: Path, board: Board, pause: float = 0.0, **settings: Any) -> RecordingTrainer:
    """Make a training with updates of some ten milliseconds and a checkpoint every fourth step.

    Args:
        root: Where runs are collected.
        board: Where training says what it does.
        pause: Seconds that every write takes longer.
        settings: Fields of the trainer's configuration.
    """
    import AquaML
    from AquaML.environment.gymnasium_envs import GymnasiumWrapper
    from AquaML.learning.model import default_models

    AquaML.seed_everything(0)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=4, vectorization="batched", max_episode_steps=50)
    cfg = PPOCfg(rollouts=8, learning_epochs=10, mini_batches=2, device="cpu")
    agent = AnnouncingPPO(default_models(env.getEnvInfo(), hidden_sizes=(16,)), cfg)
    agent.board = board
    values: Dict[str, Any] = {
        "seed": 1,
        "timesteps": 10**9,
        "run_directory": str(root),
        "run_name": _RUN,
        "disable_progressbar": True,
        "tensorboard": False,
        "learning_curve": False,
        "checkpoint_interval": 4,
    }
    values.update(settings)
    operations = Announcing(board, pause)
    trainer = RecordingTrainer(env, agent, TrainerConfig(**values), coordinator=Coordinator("cpu", operations))
    trainer.board, trainer.digests = board, {}
    return trainer


def _states(parts: Dict[str, Any]) -> Dict[str, Any]:
    return {name: entry["state"] for name, entry in parts.items()}


# ---------------------------------------------------------------------- one process


def _train(root: Path, board: Board, pause: float, descriptor: int) -> None:
    """Train until a signal ends it, as a script would."""
    # Without a terminal to write to, the notes of a hundred signals would fill the screen.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    handle_signals_as_usual()
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    trainer = make_trainer(root, board, pause)
    before = [signal.getsignal(number) for number in _WATCHED]
    tell(descriptor, b"r")
    try:
        trainer.train()
    except SystemExit as end:
        restored = before == [signal.getsignal(number) for number in _WATCHED]
        os._exit(int(end.code or 0) if restored else _HANDLERS_LOST)
    except KeyboardInterrupt:
        # As the interpreter ends by it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _start(root: Path, board: Board, pause: float = 0.0) -> Child:
    child = fork(functools.partial(_train, root, board, pause))
    if not child.wait_for(b"r"):
        raise RuntimeError("the training process did not start")
    return child


def _digest_after(root: Path, resume: Any, timesteps: int) -> Dict[str, str]:
    """Train on to a timestep in this process, and return the digest there."""
    trainer = make_trainer(root, Board(), timesteps=timesteps)
    trainer.digests[timesteps] = ""
    trainer.train(resume=resume)
    return {str(timesteps): trainer.digests[timesteps]}


def _reference(root: Path, timesteps: List[int]) -> Dict[str, str]:
    """Train without an interruption and return the digests at some timesteps."""
    trainer = make_trainer(root, Board(), timesteps=max(timesteps), checkpoint_interval=0)
    trainer.digests = dict.fromkeys(timesteps, "")
    trainer.train()
    return {str(timestep): digest for timestep, digest in trainer.digests.items()}


# ---------------------------------------------------------------------- trials


class Ended(NamedTuple):
    """What one signal led to.

    Attributes:
        phase: What training did when it came.
        right_code: Whether the exit code was the conventional one and the former handlers were back.
        seconds: From the signal to the end of the process.
        lost: Vector steps done when the signal came and not in the checkpoint.
        timestep: Of the checkpoint.
        saved: Its digest.
        resumed: Digest some steps after it, of the resumed run.
    """

    phase: str
    right_code: bool
    seconds: float
    lost: int
    timestep: int
    saved: str
    resumed: str


def _one_signal(root: Path, number: int, delay: float, pause: float) -> Ended:
    board = Board()
    child = _start(root, board, pause)
    time.sleep(delay)
    timestep, phase = board.read()
    began = time.monotonic()
    os.kill(child.process, number)
    code = child.finish()
    seconds = time.monotonic() - began
    path = CheckpointStore(root / _RUN / CHECKPOINT_FOLDER, 1).latest()
    checkpoint = read_checkpoint(path)
    reached = checkpoint.metadata["counters"]["timestep"]
    resumed = answer_of(functools.partial(_digest_after, root, root / _RUN, reached + MORE))
    return Ended(
        phase,
        code == 128 + number,
        seconds,
        max(0, timestep - reached),
        reached,
        digest_of(_states(checkpoint.parts)),
        resumed[str(reached + MORE)],
    )


def _save_request(root: Path, delay: float) -> bool:
    """Return whether SIGUSR1 led to a checkpoint and training went on."""
    board = Board()
    child = _start(root, board)
    time.sleep(delay)
    os.kill(child.process, signal.SIGUSR1)
    asked, _ = board.read()
    # In a whole rollout it must have got round to saving.
    end = time.monotonic() + 20.0
    while board.read()[0] < asked + 12 and time.monotonic() < end:
        time.sleep(0.005)
    child.kill()
    went_on = child.finish() == -signal.SIGKILL and board.read()[0] >= asked + 12
    last = read_checkpoint(root / _RUN / CHECKPOINT_FOLDER / "last.aqua").metadata["counters"]["timestep"]
    return went_on and asked <= last <= asked + 12


def _two_signals(root: Path, number: int, delay: float, gap: float) -> Tuple[bool, bool]:
    """Return whether the second signal ended the process at once, and whether every published file is intact."""
    board = Board()
    # Saves take so long that the second signal comes into the one that the first asked for.
    child = _start(root, board, pause=0.5)
    time.sleep(delay)
    os.kill(child.process, number)
    time.sleep(gap)
    began = time.monotonic()
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.process, number)
    code = child.finish()
    at_once = code == -number and time.monotonic() - began < 1.0
    folder = root / _RUN / CHECKPOINT_FOLDER
    return at_once, all(is_intact(path) for path in folder.glob("*.aqua"))


def run(count: int, seed: int) -> Dict[str, Any]:
    """Send signals and judge what they led to.

    Args:
        count: Single signals that ask for the end; a fifth as many requests to save, and pairs of signals.
        seed: Of times and kinds.

    Returns:
        Counts: ``"signals"``, of which so many hit each phase; how many ended with the right exit code and handlers, a
        checkpoint equal to the uninterrupted run at its step, and a resumed run equal to it some steps later; the most
        steps lost and the longest time to the end; and the same for requests to save and pairs.
    """
    generator = random.Random(seed)
    others = max(2, count // 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # What is imported here, at first use, no child needs to import.
        _reference(folder / "warm", [8])
        ended = [
            _one_signal(
                folder / "one{}".format(i),
                generator.choice(_ENDING),
                generator.uniform(0.0, LATEST),
                # Every other training saves slowly, so that signals come into saves as often as into updates.
                pause=0.05 if i % 2 else 0.0,
            )
            for i in range(count)
        ]
        wanted = [result.timestep for result in ended] + [result.timestep + MORE for result in ended]
        right = answer_of(functools.partial(_reference, folder / "reference", [step for step in wanted if step]))
        saves = [_save_request(folder / "save{}".format(i), generator.uniform(0.0, 0.5)) for i in range(others)]
        pairs = [
            _two_signals(
                folder / "two{}".format(i),
                generator.choice(_ENDING),
                generator.uniform(0.2, 0.6),
                generator.uniform(0.3, 0.45),
            )
            for i in range(others)
        ]
    phases = [result.phase for result in ended]
    return {
        "signals": count,
        "hit": {phase: phases.count(phase) for phase in _PHASES},
        "right exit code and handlers": sum(result.right_code for result in ended),
        # The state before the first step is nothing that the uninterrupted run digests.
        "checkpoint equal": sum(r.timestep == 0 or r.saved == right[str(r.timestep)] for r in ended),
        "resumed equal": sum(result.resumed == right[str(result.timestep + MORE)] for result in ended),
        "most steps lost": max(result.lost for result in ended),
        "longest seconds to the end": round(max(result.seconds for result in ended), 3),
        "save requests": {"sent": others, "saved and went on": sum(saves)},
        "pairs": {
            "sent": others,
            "ended at once": sum(at_once for at_once, _ in pairs),
            "all files intact": sum(intact for _, intact in pairs),
        },
    }
