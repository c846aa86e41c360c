"""What the tests of the documents share: the pages and their fenced code."""

import re
from pathlib import Path
from typing import List, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = REPOSITORY / "Doc"
CHINESE = DOCUMENTS / "zh-CN"

ENGLISH_PAGES: List[Path] = [REPOSITORY / "README.md"] + sorted(
    path for path in DOCUMENTS.rglob("*.md") if CHINESE not in path.parents
)
CHINESE_PAGES: List[Path] = [REPOSITORY / "README.zh-CN.md"] + sorted(CHINESE.glob("*.md"))


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str
    line: int


def fenced_blocks(page: Path) -> List[Block]:
    """Return the fenced blocks of a page, directives of the documentation generator left out."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```([^\n`]*)\n(.*?)^```$", text, re.S | re.M)
    blocks = [Block(match.group(1), match.group(2), text.count("\n", 0, match.start()) + 2) for match in found]
    return [block for block in blocks if not block.language.startswith("{")]


def name_of(page: Path) -> str:
    """Return a page's path in the repository."""
    return page.relative_to(REPOSITORY).as_posix()
