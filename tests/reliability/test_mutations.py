"""A checkpoint that was damaged or tampered with loads exactly or is refused; the campaign notices if it does not."""

import random
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from loguru import logger

from AquaML.errors import CheckpointError
from AquaML.stateful import apply_states
from benchmarks.reliability import mutations
from benchmarks.reliability.damage import DAMAGES, boundaries
from benchmarks.reliability.forgeries import FORGERIES
from benchmarks.reliability.forging import exact_digest, pack, redigest, said_by, unpack, with_tensor_digests
from benchmarks.reliability.loaded import Subject, subjects

COUNT = 1000


@pytest.fixture(scope="module")
def three(tmp_path_factory: Any) -> Iterator[List[Subject]]:
    """The three sound files and what loads them."""
    logger.disable("AquaML")
    yield subjects(tmp_path_factory.mktemp("subjects"))
    logger.enable("AquaML")


def test_no_mutated_checkpoint_loads_wrong() -> None:
    figures = mutations.run(COUNT, seed=0)
    assert figures["failures"] == []
    assert (figures["silent"], figures["other"], figures["changed_by_a_failed_load"]) == (0, 0, 0)
    assert figures["refused"] + figures["exact"] == COUNT
    # Most are refused, and every kind of error has its turn.
    assert figures["refused"] > 0.8 * COUNT
    assert set(figures["errors"]) >= {
        "CheckpointArchitectureError",
        "CheckpointCorruptError",
        "CheckpointMismatchError",
        "CheckpointTruncatedError",
        "CheckpointVersionError",
    }
    assert all(20 <= size <= 60 for size in figures["kilobytes"])


def test_the_sound_files_load_and_what_loads_them_was_different(three: List[Subject]) -> None:
    for subject in three:
        path = Path("sound.aqua")
        path.write_bytes(subject.content)
        said = said_by(subject.content)
        assert mutations.differing_parts(subject, said) != []
        assert mutations.judge(subject, path, subject.content, subject.content).kind == mutations.EXACT
        assert mutations.judge(subject, path, subject.content, subject.other).kind == mutations.SILENT
        assert exact_digest(subject.state()) == exact_digest(subject.blank)


def test_taking_a_file_apart_and_together_changes_no_byte(three: List[Subject]) -> None:
    for subject in three:
        document, tensors = unpack(subject.content)
        assert pack(*with_tensor_digests(unpack(subject.content))) == subject.content
        assert redigest(subject.content) == subject.content
        assert len(document["tensors"]) == len(tensors)
        assert len(boundaries(subject.content)) > 4 * len(tensors)


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_every_damage_changes_the_file(three: List[Subject], name: str) -> None:
    for seed in range(20):
        subject = three[seed % 3]
        assert DAMAGES[name](subject.content, subject.other, random.Random(seed)) != subject.content


@pytest.mark.parametrize("name", sorted(FORGERIES))
def test_every_forgery_changes_the_file_as_a_rule(three: List[Subject], name: str) -> None:
    changed = 0
    for seed in range(20):
        subject = three[seed % 3]
        changed += FORGERIES[name](subject.content, subject.other, random.Random(seed)) != subject.content
    assert changed >= 15


def unprotected(subject: Subject) -> Subject:
    """Load as a library does that compares no digest and checks nothing beforehand."""

    def load(path: Path) -> None:
        try:
            said: Dict[str, Any] = said_by(path.read_bytes())
            apply_states(subject.parts(), said["parts"], subject.roles)
        except Exception as error:
            raise CheckpointError(str(error)) from error

    return subject._replace(load=load)


def test_the_campaign_notices_a_reader_without_digests(three: List[Subject]) -> None:
    subject = unprotected(three[0])
    path = Path("mutated.aqua")
    kinds = []
    for seed in range(60):
        content = DAMAGES["flip_a_bit"](subject.content, subject.other, random.Random(seed))
        path.write_bytes(content)
        kinds.append(mutations.judge(subject, path, content, subject.content).kind)
    assert kinds.count(mutations.SILENT) >= 15


def test_the_campaign_notices_errors_of_another_kind_and_changes(three: List[Subject]) -> None:
    subject = three[0]
    path = Path("a.aqua")
    path.write_bytes(subject.content)

    def fail(path: Path) -> None:
        raise KeyError("weight")

    def change_and_refuse(path: Path) -> None:
        subject.load(path)
        raise CheckpointError("too late")

    outcome = mutations.judge(subject._replace(load=fail), path, subject.content, None)
    assert (outcome.kind, outcome.error, outcome.changed) == (mutations.OTHER, "KeyError", False)
    outcome = mutations.judge(subject._replace(load=change_and_refuse), path, subject.content, None)
    assert (outcome.kind, outcome.changed) == (mutations.REFUSED, True)
