"""Run the cross-version tests of the environment wrapper with several versions of Gymnasium.

Each version is installed into a folder of its own and put before the installed one by ``PYTHONPATH``::

    python tests/run_gymnasium_versions.py [--only oldest,newest] [--cache FOLDER]

The last line of each version is ``gymnasium X: N passed``; the exit code is not zero if any version failed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

REPOSITORY = Path(__file__).resolve().parent.parent
TESTS = "tests/environment/test_versions.py"

# Versions before 1.0 were written for numpy 1; 0.28 reads arrays through jumpy.
VERSIONS: Dict[str, List[str]] = {
    "0.28.1": ["numpy==1.26.4", "jax-jumpy==1.0.0", "farama-notifications==0.0.4", "cloudpickle"],
    "0.29.1": ["numpy==1.26.4", "farama-notifications==0.0.4", "cloudpickle"],
    "1.0.0": ["farama-notifications==0.0.4", "cloudpickle"],
    "1.1.1": ["farama-notifications==0.0.4", "cloudpickle"],
}


def selected(only: str) -> List[str]:
    """Resolve ``"oldest,newest"`` or version numbers; an empty string means all."""
    known = list(VERSIONS)
    names = {"oldest": known[0], "newest": known[-1]}
    wanted = [names.get(item.strip(), item.strip()) for item in only.split(",") if item.strip()]
    unknown = [item for item in wanted if item not in known]
    if unknown:
        raise SystemExit("Unknown version {}; choose from oldest, newest, {}.".format(unknown[0], ", ".join(known)))
    return [version for version in known if version in wanted] or known


def install(version: str, cache: Path) -> Path:
    """Install a version with what it needs, unless the cache has it, and return its folder."""
    folder = cache / "gymnasium-{}".format(version)
    if not folder.is_dir():
        # A folder that exists is complete: it is renamed only after the installation has succeeded.
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=str(cache)))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--target", str(unfinished), "gymnasium=={}".format(version)] + VERSIONS[version]
        try:
            subprocess.run(command, check=True)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(str(unfinished), ignore_errors=True)
    return folder


def environment_of(folder: Path) -> Dict[str, str]:
    """Return the environment variables under which the folder's packages come first."""
    variables = dict(os.environ, EXPECTED_GYMNASIUM=folder.name.split("-", 1)[1])
    variables["PYTHONPATH"] = os.pathsep.join([str(folder), str(REPOSITORY)])
    return variables


def run(version: str, folder: Path) -> bool:
    """Run the tests with one version, print its line, and return whether all passed."""
    command = [sys.executable, "-m", "pytest", TESTS, "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command,
        check=False,
        cwd=str(REPOSITORY),
        env=environment_of(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    counts = re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout.strip().splitlines()[-1])
    passed = done.returncode == 0 and [kind for _, kind in counts] == ["passed"]
    if not passed:
        print(done.stdout)
    summary = ", ".join("{} {}".format(*count) for count in counts) or "nothing ran"
    print("gymnasium {}: {}".format(version, summary), flush=True)
    return passed


def main() -> int:
    """Install and test every selected version."""
    parser = argparse.ArgumentParser(description="Test the environment wrapper with several versions of Gymnasium.")
    parser.add_argument("--only", default="", help="'oldest', 'newest' or version numbers, separated by commas")
    parser.add_argument(
        "--cache", default=str(Path(tempfile.gettempdir()) / "aquaml-gymnasium-versions"), help="where to install"
    )
    arguments = parser.parse_args()
    cache = Path(arguments.cache)
    cache.mkdir(parents=True, exist_ok=True)
    results = [run(version, install(version, cache)) for version in selected(arguments.only)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
