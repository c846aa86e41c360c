"""Cuts runs in every way and compares the resumed run with the uninterrupted one, bit for bit.

Each part of a run, first or resumed, is a process of its own.
"""

import functools
import importlib.util
import os
import signal
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from benchmarks.reliability.children import answer_of, fork
from benchmarks.reliability.digest import run_digests
from benchmarks.reliability.resumable_runs import INTERVAL, KINDS, ROLLOUT, TIMESTEPS, Kind, make_run
from benchmarks.reliability.triggers import At, InSave, InUpdate, Stop, handle_signals_as_usual, send

RUN = "run"


class Part(NamedTuple):
    """A part of a run that does not reach its end.

    Attributes:
        triggers: Makes what ends it.
        ends: How the process ends: an exit code, or minus the number of a signal.
    """

    triggers: Callable[[], List[Any]]
    ends: int


def _part(ends: int, *triggers: Callable[[], Any]) -> Part:
    return Part(lambda: [make() for make in triggers], ends)


class Cut(NamedTuple):
    """Parts one after the other, and the checkpoint from which the last one is taken up.

    Attributes:
        parts: What comes before the last part.
        file: Name of the checkpoint; None: the newest intact one.
    """

    parts: Tuple[Part, ...]
    file: Optional[str] = None


_TERM, _INT, _HUP, _KILL = 143, 130, 129, -9

CUTS: Dict[str, Cut] = {
    "stopped at the first update": Cut((_part(0, lambda: At(ROLLOUT, Stop())),)),
    "SIGKILL in mid-rollout": Cut((_part(_KILL, lambda: At(29, send(signal.SIGKILL))),)),
    "SIGTERM in mid-rollout": Cut((_part(_TERM, lambda: At(27, send(signal.SIGTERM))),)),
    "stopped in mid-rollout": Cut((_part(0, lambda: At(21, Stop())),)),
    "SIGINT in an update": Cut((_part(_INT, lambda: InUpdate(5, send(signal.SIGINT))),)),
    "SIGKILL in a save": Cut((_part(_KILL, lambda: InSave(3 * INTERVAL, send(signal.SIGKILL))),)),
    "twice": Cut(
        (
            _part(0, lambda: At(13, Stop())),
            _part(_TERM, lambda: At(38, send(signal.SIGTERM))),
        )
    ),
    "from an older periodic file": Cut((_part(0),), "step_{}.aqua".format(TIMESTEPS // INTERVAL * INTERVAL - INTERVAL)),
    "SIGTERM before the first step": Cut((_part(_TERM, lambda: At(0, send(signal.SIGTERM))),)),
    "SIGUSR1, then SIGKILL": Cut(
        (_part(_KILL, lambda: At(18, send(signal.SIGUSR1)), lambda: At(22, send(signal.SIGKILL))),)
    ),
    "SIGHUP in a save": Cut((_part(_HUP, lambda: InSave(2 * INTERVAL, send(signal.SIGHUP))),)),
    "stopped at a later update": Cut((_part(0, lambda: At(4 * ROLLOUT, Stop())),)),
    "SIGKILL in an update": Cut((_part(_KILL, lambda: InUpdate(5, send(signal.SIGKILL))),)),
}
"""Thirteen ways to cut a run of 64 vector steps, with an update every 8th and a checkpoint every 12th."""


_QUICK = (
    "ppo, Pendulum batched",
    "custom agent, Pendulum sync",
    "ppo, Discrete batched",
    "ppo, Pendulum batched",
    "custom agent, Pendulum sync",
    "ppo, Ant batched",
    "ppo, Pendulum batched",
    "ppo, Dict sharded",
)
"""Kinds that the cuts of a reduced campaign take in turn."""


def run(count: int, seed: int, kinds: Optional[List[str]] = None) -> Dict[str, Any]:
    """Compare resumed runs with uninterrupted ones.

    Args:
        count: Trials. Up to one for each cut, these take quick kinds in turn; more than that are all pairs of a kind
            and a cut, in an order in which few trials hold all of both.
        seed: Without a meaning here: every pair is tried as it stands.
        kinds: Names of kinds; None: all whose packages are installed.

    Returns:
        ``"trials"``, ``"equal"``, ``"kinds"``, ``"cuts"``, and ``"different"``: trial to the parts that differ.
    """
    names = [name for name in (KINDS if kinds is None else kinds) if _available(KINDS[name])]
    pairs = [pair for turn in range(len(CUTS)) for pair in _diagonal(names, turn)][:count]
    if kinds is None and count <= len(CUTS):
        quick = [name for name in _QUICK if name in names]
        pairs = [(quick[index % len(quick)], cut) for index, cut in enumerate(list(CUTS)[:count])]
    whole: Dict[str, Dict[str, str]] = {}
    different: Dict[str, List[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        warm_up(Path(folder) / "warm")
        for number, (name, cut) in enumerate(pairs):
            if name not in whole:
                whole[name] = answer_of(functools.partial(digests_of, KINDS[name], Path(folder) / name))
            resumed = cut_and_resume(KINDS[name], CUTS[cut], Path(folder) / str(number))
            parts = differences(whole[name], resumed)
            if parts:
                different["{}: {}".format(name, cut)] = parts
    return {
        "trials": len(pairs),
        "equal": len(pairs) - len(different),
        "kinds": len({name for name, _ in pairs}),
        "cuts": len({cut for _, cut in pairs}),
        "different": different,
    }


def warm_up(root: Path) -> None:
    """Import here what a training imports at first use, so that no child needs to."""
    make_run(next(iter(KINDS.values())), root, timesteps=ROLLOUT).train()


def _available(kind: Kind) -> bool:
    return kind.needs is None or importlib.util.find_spec(kind.needs) is not None


def _diagonal(names: List[str], turn: int) -> List[Tuple[str, str]]:
    cuts = list(CUTS)
    return [(name, cuts[(index + turn) % len(cuts)]) for index, name in enumerate(names)]


def digests_of(kind: Kind, root: Path, resume: Any = False, **settings: Any) -> Dict[str, str]:
    """Train to the end, and return the run's digests."""
    trainer = make_run(kind, root, **settings)
    trainer.train(resume=resume)
    digests = run_digests(trainer)
    trainer.coordinator.close()
    return digests


def differences(whole: Dict[str, str], resumed: Dict[str, str]) -> List[str]:
    """Return the names under which two runs differ."""
    return sorted(name for name in set(whole) | set(resumed) if whole.get(name) != resumed.get(name))


def cut_and_resume(kind: Kind, cut: Cut, root: Path) -> Dict[str, str]:
    """Run all parts, each in a process of its own, and return the digests of the whole.

    Raises:
        RuntimeError: A part did not end as it should.
    """
    for number, part in enumerate(cut.parts):
        resume = root / RUN if number else False
        code = fork(functools.partial(_run_part, kind, part, root, resume)).finish()
        if code != part.ends:
            raise RuntimeError("a part of the run ended with {}, expected {}".format(code, part.ends))
    place = root / RUN if cut.file is None else root / RUN / "checkpoints" / cut.file
    digests: Dict[str, str] = answer_of(functools.partial(digests_of, kind, root, place))
    return digests


def _run_part(kind: Kind, part: Part, root: Path, resume: Any, unused: int) -> None:
    handle_signals_as_usual()
    trainer = make_run(kind, root, hooks=part.triggers())
    code = 0
    try:
        trainer.train(resume=resume)
    except SystemExit as end:
        code = int(end.code or 0)
    trainer.coordinator.close()
    os._exit(code)
