"""Sphinx configuration: ``sphinx-build -W Doc build/docs`` builds the pages and the reference from docstrings."""

import re
import sys
from pathlib import Path

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
html_static_path: list = []
