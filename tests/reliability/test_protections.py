"""The list of protections is up to date; ``python -m benchmarks.reliability.protections`` takes each of them away."""

import re
from collections import Counter

from benchmarks.reliability.protection_list import PROTECTIONS
from benchmarks.reliability.protections import ROOT, occurrences


def test_every_entry_names_code_that_occurs_once_and_changes_it() -> None:
    assert len(PROTECTIONS) >= 100
    assert {name: number for name, number in occurrences().items() if number != 1} == {}
    assert [entry.name for entry in PROTECTIONS if entry.code == entry.without] == []
    assert [name for name, number in Counter(entry.name for entry in PROTECTIONS).items() if number > 1] == []


def test_every_entry_names_a_test_that_exists() -> None:
    missing = []
    for entry in PROTECTIONS:
        file, _, name = entry.test.partition("::")
        defined = "def {}(".format(re.sub(r"\[.*", "", name))
        if not (ROOT / file).is_file() or defined not in (ROOT / file).read_text(encoding="utf-8"):
            missing.append(entry.test)
    assert missing == []
