"""Tables of settings name every field with its default, in order."""

import dataclasses
import re
from pathlib import Path
from typing import Any, List, Tuple, Type

import pytest
from pages import CHINESE, DOCUMENTS, name_of

from AquaML.config import Config
from AquaML.learning.reinforcement.on_policy.ppo import PPOCfg
from AquaML.learning.trainers.base import TrainerConfig

TABLES: List[Tuple[Path, Type[Config]]] = [
    (DOCUMENTS / "ppo.md", PPOCfg),
    (DOCUMENTS / "trainer.md", TrainerConfig),
    (CHINESE / "ppo.md", PPOCfg),
]


def default_of(field: Any) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()


@pytest.mark.parametrize("page, kind", TABLES, ids=[name_of(page) for page, _ in TABLES])
def test_the_table_equals_the_configuration(page: Path, kind: Type[Config]) -> None:
    text = page.read_text(encoding="utf-8")
    table = re.search(r"^\| (?:field|字段) \|.*\n\|[- |]+\n((?:\|.*\n)+)", text, re.M)
    assert table is not None
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.group(1).splitlines()]
    shown = [(row[0].strip("`"), row[1].strip("`")) for row in rows]
    assert shown == [(field.name, repr(default_of(field))) for field in dataclasses.fields(kind)]  # type: ignore
    assert all(len(row) == 3 and row[2] for row in rows)
