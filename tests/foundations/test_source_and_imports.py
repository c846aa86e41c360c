"""What importing AquaML does not do, and what its source always has."""

import ast
import importlib
import os
import pkgutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

import AquaML
from AquaML.config import Config
from AquaML.errors import AquaMLError

ROOT = Path(AquaML.__file__).resolve().parent
SOURCES = sorted(ROOT.rglob("*.py"))
PACKAGES = sorted(
    ".".join(("AquaML",) + path.parent.relative_to(ROOT).parts) for path in SOURCES if path.name == "__init__.py"
)


def in_new_process(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = dict(os.environ, PYTHONPATH=str(ROOT.parent), PYTHONDONTWRITEBYTECODE="1")
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(folder),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        check=False,
    )


def test_importing_packages_loads_no_torch_prints_nothing_and_makes_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "readonly"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    code = (
        "import sys, {}\n"
        "loaded = [name for name in ('torch', 'gymnasium', 'numpy', 'matplotlib', 'loguru') if name in sys.modules]\n"
        "assert not loaded, loaded"
    ).format(", ".join(PACKAGES))
    result = in_new_process(code, folder)
    folder.chmod(stat.S_IRWXU)
    assert (result.returncode, result.stdout) == (0, "")
    assert os.listdir(str(folder)) == []


def test_plain_floors_load_no_torch(tmp_path: Path) -> None:
    code = "import sys, AquaML.config, AquaML.errors, {}\nassert 'torch' not in sys.modules".format(
        ", ".join(".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in ROOT.rglob("*_cfg.py"))
    )
    result = in_new_process(code, tmp_path)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_lazy_name_exists_and_a_misspelt_one_is_told(package: str) -> None:
    module = importlib.import_module(package)
    for name in dir(module):
        assert getattr(module, name) is getattr(module, name)
    with pytest.raises(AttributeError, match="module '{}' has no attribute 'nonesuch'".format(package)):
        module.nonesuch  # noqa: B018


def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'seed_everything'"):
        AquaML.seed_everythin  # noqa: B018


def config_classes() -> List[ast.ClassDef]:
    for module in pkgutil.walk_packages([str(ROOT)], "AquaML."):
        if module.name.endswith(("_cfg", "config")):
            importlib.import_module(module.name)

    def below(kind: type) -> List[type]:
        return [item for child in kind.__subclasses__() for item in [child] + below(child)]

    names = {kind.__name__ for kind in below(Config) if kind.__module__.startswith("AquaML.")}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]
    found = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name in names]
    assert {node.name for node in found} == names and len(names) >= 5
    return found


def test_every_configuration_field_has_a_docstring() -> None:
    bare = []
    for node in config_classes():
        if not ast.get_docstring(node):
            bare.append(node.name)
        for index, statement in enumerate(node.body):
            if isinstance(statement, ast.AnnAssign):
                following = node.body[index + 1] if index + 1 < len(node.body) else None
                value = following.value if isinstance(following, ast.Expr) else None
                text = ast.literal_eval(value) if value is not None else ""
                if not isinstance(text, str) or len(text) < 10:
                    bare.append("{}.{}".format(node.name, getattr(statement.target, "id", "?")))
    assert bare == []


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_source_is_python_3_7(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_every_error_is_an_aquaml_error_and_a_builtin_one() -> None:
    errors = importlib.import_module("AquaML.errors")
    kinds = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]
    assert len(kinds) > 10
    for kind in kinds:
        assert issubclass(kind, AquaMLError)
        builtin = [base for base in kind.__mro__ if base.__module__ == "builtins" and base is not Exception]
        assert kind is AquaMLError or any(issubclass(base, Exception) for base in builtin), kind


def test_default_models_is_the_function_in_whatever_order_it_is_asked_for(tmp_path: Path) -> None:
    code = (
        "import AquaML, AquaML.learning.model.ready_made\n"
        "first = AquaML.default_models\n"
        "from AquaML.learning.model import default_models\n"
        "assert callable(first) and first is default_models"
    )
    result = in_new_process(code, tmp_path)
    assert (result.returncode, result.stdout) == (0, "")


ALGORITHMS = sorted(
    path
    for family in ("on_policy", "off_policy", "tabular")
    for path in (ROOT / "learning" / "reinforcement" / family).glob("*.py")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("path", ALGORITHMS, ids=lambda path: path.stem)
def test_an_algorithm_is_read_in_one_sitting(path: Path) -> None:
    """A file of an algorithm has at most 400 logical lines: statements, docstrings not counted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    assert len(statements) <= 400


@pytest.mark.parametrize(
    ("idea", "mark", "home"),
    [
        ("the advantage function", "def generalized_advantage", "learning/reinforcement/returns.py"),
        ("the target update", "interpolate(self", "learning/reinforcement/off_policy/target_network.py"),
        ("a move towards other tensors", "_foreach_lerp_", "compat.py"),
        ("the optimiser", "torch.optim.Adam(", "compat.py"),
        ("the permutation of rows", "torch.randperm(", "learning/memory/sampling.py"),
        ("the drawing of stored rows", "torch.randint(stored", "learning/memory/sampling.py"),
        ("the writing of checkpoints", "def write_checkpoint", "coordinator/checkpoint_format.py"),
        ("the running normaliser", "class RunningNormalizer", "learning/model/normalizer.py"),
    ],
)
def test_every_idea_has_one_implementation(idea: str, mark: str, home: str) -> None:
    found = [path.relative_to(ROOT).as_posix() for path in SOURCES if mark in path.read_text(encoding="utf-8")]
    assert found == [home], idea
