"""Chinese pages have the names, the code and the headings' levels of the English ones."""

import re
from pathlib import Path
from typing import List

import pytest
from pages import CHINESE_PAGES, DOCUMENTS, REPOSITORY, fenced_blocks, name_of

MAIN_PAGES = {"index.md", "getting_started.md", "concepts.md", "troubleshooting.md"}
ALGORITHMS = {
    "algorithms.md",
    "ppo.md",
    "a2c.md",
    "rpo.md",
    "trpo.md",
    "sac.md",
    "td3.md",
    "ddpg.md",
    "dqn.md",
    "fast_sac.md",
    "tabular.md",
}


def original_of(page: Path) -> Path:
    return REPOSITORY / "README.md" if page.parent == REPOSITORY else DOCUMENTS / page.name


def heading_levels(page: Path) -> List[int]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    return [len(match) for match in re.findall(r"^(#+) ", text, re.M)]


def test_the_main_pages_are_there() -> None:
    assert {page.name for page in CHINESE_PAGES} >= MAIN_PAGES | ALGORITHMS


@pytest.mark.parametrize("page", CHINESE_PAGES, ids=name_of)
def test_code_is_equal(page: Path) -> None:
    code = [(block.language, block.text) for block in fenced_blocks(page)]
    assert code == [(block.language, block.text) for block in fenced_blocks(original_of(page))]


@pytest.mark.parametrize("page", CHINESE_PAGES, ids=name_of)
def test_headings_correspond(page: Path) -> None:
    if page.name != "index.md":
        assert heading_levels(page) == heading_levels(original_of(page))


def test_the_readmes_link_to_each_other_in_line_1() -> None:
    for name, other in (("README.md", "README.zh-CN.md"), ("README.zh-CN.md", "README.md")):
        assert "({})".format(other) in (REPOSITORY / name).read_text(encoding="utf-8").splitlines()[0]
