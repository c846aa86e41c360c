"""What the wheel and the source distribution hold, and that the wheel works outside the repository."""

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Dict, List

import pytest

import AquaML

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "runs", "wandb", "*.egg-info")
LOWER_BOUNDS = {"torch": "1.10", "numpy": "1.21", "gymnasium": "0.28", "loguru": "0.6", "tqdm": "4.62"}
LOWER_BOUNDS["matplotlib"] = "3.5"


def run(command: List[str], folder: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        check=False,
        cwd=str(folder),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    """Build both from a copy of the repository: a build writes beside its source."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    shutil.copytree(str(REPOSITORY), str(source), ignore=NOT_SOURCE)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)], folder)
    files = sorted((folder / "dist").iterdir())
    assert [path.suffix for path in files] == [".whl", ".gz"] or [path.suffix for path in files] == [".gz", ".whl"]
    return {path.suffix: path for path in files}


@pytest.fixture(scope="module")
def metadata(distributions: Dict[str, Path]) -> email.message.Message:
    with zipfile.ZipFile(str(distributions[".whl"])) as wheel:
        name = next(item for item in wheel.namelist() if item.endswith(".dist-info/METADATA"))
        return email.message_from_string(wheel.read(name).decode("utf-8"))


def test_the_wheel_holds_the_package_and_nothing_else(distributions: Dict[str, Path]) -> None:
    with zipfile.ZipFile(str(distributions[".whl"])) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = REPOSITORY / "AquaML"
    wanted = {path.relative_to(REPOSITORY).as_posix() for path in package.rglob("*.py")} | {"AquaML/py.typed"}
    assert held == wanted
    assert distributions[".whl"].name.endswith("-py3-none-any.whl")


def test_the_source_distribution_can_be_built_from(distributions: Dict[str, Path]) -> None:
    with tarfile.open(str(distributions[".gz"])) as archive:
        held = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "AquaML/py.typed"} <= held
    assert not [name for name in held if name.startswith(("examples", "benchmarks", "runs"))]


def test_the_version_stands_in_one_place(metadata: email.message.Message) -> None:
    assert metadata["Version"] == AquaML.__version__
    quoted = '"{}"'.format(AquaML.__version__)
    others = [
        name
        for name in ("setup.py", "pyproject.toml", "CITATION.cff")
        if quoted in (REPOSITORY / name).read_text("utf-8")
    ]
    assert others == []


def test_requirements_are_the_promised_lower_bounds(metadata: email.message.Message) -> None:
    requirements = metadata.get_all("Requires-Dist") or []
    core = [item for item in requirements if "extra ==" not in item]
    bounds = dict(re.match(r"([\w-]+)\s*\(?>=([\d.]+?)(?:\.0)?\)?$", item).groups() for item in core)  # type: ignore
    assert bounds == LOWER_BOUNDS
    assert metadata["Requires-Python"] == ">=3.7"
    assert not [item for item in requirements if re.match(r"isaac", item, re.IGNORECASE)]
    assert metadata["Description-Content-Type"] == "text/markdown"
    named = {item.rsplit(":: ", 1)[1] for item in metadata.get_all("Classifier") or [] if "Python :: 3." in item}
    assert named == {"3.{}".format(minor) for minor in range(7, 14)}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "constraints").glob("*.txt")), ids=lambda path: path.stem)
def test_constraints_pin_versions_without_addresses(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").split()
    assert [line for line in lines if not re.match(r"^[\w.-]+==[\w.]+$", line)] == []
    names = {line.split("==")[0].lower() for line in lines}
    assert set(LOWER_BOUNDS) <= names and len(names) == len(lines)
    assert "mujoco==4.0.0" not in lines


def test_the_quick_start_works_with_the_wheel_outside_the_repository(
    distributions: Dict[str, Path], tmp_path: Path
) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    quick_start = next(block for block in blocks if "SequentialTrainer(env, agent" in block)
    (tmp_path / "quick_start.py").write_text(quick_start, encoding="utf-8")

    environment = tmp_path / "environment"
    venv.create(str(environment), with_pip=True)
    binaries = environment / ("Scripts" if os.name == "nt" else "bin")
    python = str(binaries / "python")
    run([python, "-m", "pip", "install", "--no-index", "--no-deps", str(distributions[".whl"])], tmp_path)
    # What AquaML requires comes from this environment; its own .pth files, and so an editable AquaML, do not count.
    packages = run([python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], tmp_path).strip()
    (Path(packages) / "requirements.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")

    origin = run([python, "-c", "import AquaML; print(AquaML.__file__)"], tmp_path).strip()
    assert Path(packages).resolve() in Path(origin).resolve().parents
    printed = run([python, "quick_start.py"], tmp_path)
    assert "20 episodes" in printed or "episodes, return" in printed
    assert (tmp_path / "runs").is_dir()
