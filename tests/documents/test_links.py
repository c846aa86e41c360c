"""Links inside the repository lead somewhere, anchors included. Nothing is looked up on the network."""

import re
from pathlib import Path
from typing import List, Set, Tuple
from urllib.parse import unquote

import pytest
from pages import CHINESE_PAGES, ENGLISH_PAGES, REPOSITORY, name_of

OTHER_PAGES: List[Path] = [
    REPOSITORY / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md") if (REPOSITORY / name).is_file()
]
PAGES = ENGLISH_PAGES + CHINESE_PAGES + OTHER_PAGES
ELSEWHERE = ("http://", "https://", "mailto:")


def prose(page: Path) -> str:
    """Return a page without code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    return re.sub(r"`[^`\n]+`", lambda match: "`" + "x" * (len(match.group()) - 2) + "`", text)


def targets(page: Path) -> List[str]:
    """Return where links and pictures of a page lead."""
    text = prose(page)
    found = re.findall(r"\]\(([^()\s]+(?:\([^()\s]*\))?)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    return [target for target in found if not target.startswith(ELSEWHERE)]


def anchors(page: Path) -> Set[str]:
    """Return the anchors of a page's headings, by the rule of GitHub."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    found: Set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        found.add(slug)
    return found


def broken_links(page: Path) -> List[Tuple[str, str]]:
    broken = []
    for target in targets(page):
        path, _, anchor = unquote(target).partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or REPOSITORY not in [place] + list(place.parents):
            broken.append((target, "leads nowhere in the repository"))
        elif anchor and place.suffix == ".md" and anchor not in anchors(place):
            broken.append((target, "there is no such heading"))
    return broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_the_text_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/.])((?:examples|tests|benchmarks|constraints)/[\w./-]+\.\w+)", text)
    assert [name for name in named if not (REPOSITORY / name).is_file()] == []


def test_the_checker_finds_what_is_broken(tmp_path: Path) -> None:
    page = REPOSITORY / "Doc" / "index.md"
    assert "concepts.md" in targets(page)
    assert "adding-an-agent" in anchors(REPOSITORY / "Doc" / "architecture.md")
    wrong = tmp_path / "page.md"
    wrong.write_text("[a](nowhere.md) [b](#no) ![c](x.png)\n\n# Yes\n", encoding="utf-8")
    assert [target for target, _ in broken_links(wrong)] == ["nowhere.md", "#no", "x.png"]
