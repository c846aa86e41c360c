"""Checkpoints that were damaged or tampered with: each loads exactly, or raises a CheckpointError that says why.

Two kinds are told apart. Of a *damaged* file the digests are as they were; it counts as exact only if what was loaded
equals the undamaged original bit for bit. Of a *forged* file every digest was computed anew, as an attacker would;
there is no original to compare with, so it counts as exact only if every part of what was loaded is, bit for bit, what
the forged file says of it (as a second reader reads it, see ``forging.said_by``), no part is left over, and the object
goes on working: it acts, and its optimiser takes a step. Anything else that does not raise a ``CheckpointError`` is
*silent*; any other exception is *other*. Whatever raises must leave the object as it was.
"""

import collections
import random
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from loguru import logger

from AquaML.errors import CheckpointError
from benchmarks.reliability.damage import DAMAGES
from benchmarks.reliability.forgeries import FORGERIES
from benchmarks.reliability.forging import exact_digest, said_by
from benchmarks.reliability.loaded import Subject, differing_parts, subjects

EXACT, REFUSED, SILENT, OTHER = "exact", "refused", "silent", "other"
_SHOWN = 20


class Outcome(NamedTuple):
    """How a load ended.

    Attributes:
        kind: ``"exact"``, ``"refused"``, ``"silent"`` or ``"other"``.
        error: Name of the error's class; empty where there was none.
        changed: Whether a load that raised changed anything.
        detail: What is wrong, for people.
    """

    kind: str
    error: str
    changed: bool
    detail: str


def judge(subject: Subject, path: Path, content: bytes, original: Optional[bytes]) -> Outcome:
    """Load a file into an object that is as blank as it was; it is so again afterwards. Tell how that ended.

    Args:
        subject: What loads it.
        path: The file.
        content: Its bytes.
        original: The undamaged bytes, or None where the digests are right and the file is taken at its word.
    """
    before = subject.blank_digest
    try:
        subject.load(path)
    except CheckpointError as error:
        changed = exact_digest(subject.state()) != before
        outcome = Outcome(REFUSED, type(error).__name__, changed, str(error)[:300])
        if changed:
            subject.reset()
        return outcome
    except Exception as error:
        changed = exact_digest(subject.state()) != before
        subject.reset()
        return Outcome(OTHER, type(error).__name__, changed, str(error)[:300])
    problem = _problem_after_load(subject, content if original is None else original)
    subject.reset()
    return Outcome(SILENT if problem else EXACT, "", False, problem)


def _problem_after_load(subject: Subject, content: bytes) -> str:
    try:
        said = said_by(content)
        names = differing_parts(subject, said)
    except Exception as error:
        return "the second reader refuses it: {}: {}".format(type(error).__name__, error)
    if names:
        return "differs in {}".format(", ".join(names))
    try:
        subject.works()
    except Exception as error:
        return "does not work afterwards: {}: {}".format(type(error).__name__, error)
    return ""


Mutation = Tuple[str, bytes, bool]
"""Name, bytes, and whether the digests were computed anew."""


def mutate(subject: Subject, generator: random.Random, index: int) -> Mutation:
    """Return one mutated file; damages and forgeries alternate, each kind in its turn."""
    makers: List[Tuple[str, Callable[..., bytes]]] = list((DAMAGES if index % 2 else FORGERIES).items())
    name, make = makers[index // 2 % len(makers)]
    return name, make(subject.content, subject.other, generator), index % 2 == 0


def run(count: int, seed: int) -> Dict[str, Any]:
    """Load mutated checkpoints.

    Args:
        count: How many.
        seed: Decides all of them.

    Returns:
        Numbers of files by outcome, by error, and the failures.
    """
    logger.disable("AquaML")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _run(count, seed, Path(folder))
    finally:
        logger.enable("AquaML")


def _run(count: int, seed: int, folder: Path) -> Dict[str, Any]:
    kinds: Dict[str, int] = collections.Counter()
    errors: Dict[str, int] = collections.Counter()
    forged = changed = unmutated = 0
    failures = []
    found = subjects(folder)
    path = folder / "mutated.aqua"
    for index in range(count):
        subject = found[index // 2 % len(found)]
        name, content, is_forged = mutate(subject, random.Random("{}/{}".format(seed, index)), index // len(found))
        unmutated += content == subject.content
        path.write_bytes(content)
        outcome = judge(subject, path, content, None if is_forged else subject.content)
        kinds[outcome.kind] += 1
        forged += is_forged
        changed += outcome.changed
        if outcome.error:
            errors[outcome.error] += 1
        if outcome.kind in (SILENT, OTHER) or outcome.changed:
            failures.append("{} {} {}: {}".format(index, subject.name, name, outcome.detail[:300]))
    return {
        "files": count,
        "forged": forged,
        "unmutated": unmutated,
        "refused": kinds[REFUSED],
        "exact": kinds[EXACT],
        "silent": kinds[SILENT],
        "other": kinds[OTHER],
        "changed_by_a_failed_load": changed,
        "errors": dict(sorted(errors.items())),
        "kilobytes": [round(len(subject.content) / 1000, 1) for subject in found],
        "failures": failures[:_SHOWN],
    }
