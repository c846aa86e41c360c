"""Sphinx configuration: ``sphinx-build -W Doc build/docs`` builds the pages and the reference from docstrings."""

import re
import sys
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "AquaML"
author = "the AquaML contributors"
release = re.findall(r'__version__ = "(.+?)"', (ROOT / "AquaML" / "__init__.py").read_text(encoding="utf-8"))[0]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["Fig"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_mock_imports = ["isaacgym"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "AquaML {}".format(release)
html_logo = "Fig/logo.svg"
html_static_path: List[str] = []

_attributes: Dict[str, List[str]] = {}


def remember(app: Any, what: str, name: str, obj: Any, options: Any, lines: List[str]) -> None:
    """Keep the text of an attribute before napoleon sees it, which takes what stands before a colon for a type."""
    if what == "attribute":
        _attributes[name] = list(lines)


def restore(app: Any, what: str, name: str, obj: Any, options: Any, lines: List[str]) -> None:
    """Put the text of an attribute back as it was written."""
    if what == "attribute":
        lines[:] = _attributes.pop(name)


def setup(app: Any) -> None:
    """Stand before and after napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", remember, priority=400)
    app.connect("autodoc-process-docstring", restore, priority=600)
