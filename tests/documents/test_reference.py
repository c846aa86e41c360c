"""The reference names every module, and the logo is what its program draws."""

import importlib.util
import re
from pathlib import Path

from pages import DOCUMENTS, REPOSITORY


def test_every_module_is_in_the_reference() -> None:
    named = [
        module
        for page in (DOCUMENTS / "api").glob("*.md")
        for module in re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8"))
    ]
    sources = (REPOSITORY / "AquaML").rglob("*.py")
    public = [path for path in sources if not path.name.startswith("_")]
    modules = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in public]
    assert sorted(named) == sorted(modules)


def test_every_page_is_in_a_table_of_contents() -> None:
    pages = {path.relative_to(DOCUMENTS).with_suffix("").as_posix() for path in DOCUMENTS.rglob("*.md")}
    listed = {"index"}
    for index in DOCUMENTS.rglob("index.md"):
        folder = index.parent.relative_to(DOCUMENTS)
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index.read_text(encoding="utf-8"), re.S):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(folder / name).as_posix() for name in names}
    assert pages == listed


def test_the_logo_is_drawn_by_its_program(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("draw_logo", str(DOCUMENTS / "Fig" / "draw_logo.py"))
    assert spec is not None and spec.loader is not None
    logo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(logo)
    assert (DOCUMENTS / "Fig" / "logo.svg").read_text(encoding="utf-8") == logo.svg()
    logo.png(tmp_path / "logo.png")
    assert (tmp_path / "logo.png").stat().st_size > 5000
