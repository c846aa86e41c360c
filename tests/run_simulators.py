"""Run the tests of real simulators, each in an environment of its own with the versions that are known to work.

Needs Python 3.11 on Linux; a simulator takes up to 3 GB, and all are computed on the CPU. Where pip would fetch a CUDA
build of torch and that is not wanted, tell it by ``PIP_FIND_LINKS`` or ``PIP_EXTRA_INDEX_URL`` where the CPU build is::

    python3.11 tests/run_simulators.py [--only brax,pettingzoo] [--cache FOLDER] [--slow]

The last line of each simulator is ``brax: N passed``; the exit code is not zero if any failed. With ``--slow``, PPO
also learns to a known score in each.
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
TORCH = "torch==2.13.0"
COMMON = [TORCH, "numpy==2.4.6", "gymnasium==1.4.0", "pytest==9.2.0"]

# The one place where versions of simulators stand. MuJoCo 4.0.0, which some would take, does not work with them.
ENVIRONMENTS: Dict[str, List[str]] = {
    "jax": [
        "brax==0.14.2",
        "playground==0.2.0",
        "jax==0.10.2",
        "jaxlib==0.10.2",
        "flax==0.12.8",
        "mujoco==3.10.0",
        "mujoco-mjx==3.10.0",
        "warp-lang==1.19.0",
        "imageio==2.37.0",
    ],
    "pettingzoo": ["pettingzoo[sisl,butterfly]==1.27.0", "mpe2==1.1.1", "pygame-ce==2.5.8", "pymunk==7.3.1"],
    "genesis": ["genesis-world==1.4.5", "quadrants==1.3.3", "mujoco==3.10.0"],
    "mjlab": [
        "mjlab==1.6.0",
        "mujoco==3.11.0",
        "mujoco-warp==3.11.0",
        "warp-lang==1.19.0",
        "rsl-rl-lib==5.4.2",
        "tensordict==0.15.3",
        "torchvision==0.28.0",
    ],
    "maniskill": ["mani_skill==3.0.1", "sapien==3.0.3"],
}

# Which environment a simulator's tests, tests/simulators/test_<name>.py, run in.
SIMULATORS: Dict[str, str] = {
    "brax": "jax",
    "playground": "jax",
    "pettingzoo": "pettingzoo",
    "genesis": "genesis",
    "mjlab": "mjlab",
    "maniskill": "maniskill",
}

# No window, no accelerator.
VARIABLES = {"SDL_VIDEODRIVER": "dummy", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def selected(only: str) -> List[str]:
    """Resolve names of simulators; an empty string means all."""
    wanted = [item.strip() for item in only.split(",") if item.strip()]
    unknown = [item for item in wanted if item not in SIMULATORS]
    if unknown:
        raise SystemExit("Unknown simulator {}; choose from {}.".format(unknown[0], ", ".join(SIMULATORS)))
    return [name for name in SIMULATORS if name in wanted] or list(SIMULATORS)


def install(name: str, cache: Path) -> Path:
    """Make an environment, unless the cache has it with the same versions, and return its interpreter."""
    folder = cache / name
    packages = COMMON + ENVIRONMENTS[name]
    interpreter = folder / "bin" / "python"
    # Written last, so that an environment that has it is complete.
    complete = folder / "packages.txt"
    if complete.is_file() and complete.read_text(encoding="utf-8").split() == packages:
        return interpreter
    shutil.rmtree(str(folder), ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(pip + packages + ["-e", str(REPOSITORY)], check=True)
    subprocess.run([str(interpreter), "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)
    complete.write_text("\n".join(packages) + "\n", encoding="utf-8")
    return interpreter


def run(simulator: str, interpreter: Path, slow: bool) -> bool:
    """Run a simulator's tests, print its line, and return whether all passed."""
    command = [str(interpreter), "-m", "pytest", "tests/simulators/test_{}.py".format(simulator)]
    command += ["-q", "-p", "no:cacheprovider"] + ([] if slow else ["-m", "not slow"])
    done = subprocess.run(
        command,
        check=False,
        cwd=str(REPOSITORY),
        env=dict(os.environ, **VARIABLES),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    lines = done.stdout.strip().splitlines() or [""]
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (passed|failed|error|skipped)", lines[-1])}
    # A test may skip where the machine lacks something, but not all of them, as without the simulator.
    passed = done.returncode == 0 and counts.get("passed", 0) > 0
    if not passed:
        print(done.stdout)
    summary = ", ".join("{} {}".format(count, kind) for kind, count in counts.items()) or "nothing ran"
    print("{}: {}".format(simulator, summary), flush=True)
    return passed


def main() -> int:
    """Install and test every selected simulator."""
    parser = argparse.ArgumentParser(description="Run the tests of real simulators.")
    parser.add_argument("--only", default="", help="names, separated by commas: {}".format(", ".join(SIMULATORS)))
    parser.add_argument(
        "--cache", default=str(Path(tempfile.gettempdir()) / "aquaml-simulators"), help="where to install"
    )
    parser.add_argument("--slow", action="store_true", help="also learn to a known score in each")
    arguments = parser.parse_args()
    cache = Path(arguments.cache).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    results = [
        run(simulator, install(SIMULATORS[simulator], cache), arguments.slow) for simulator in selected(arguments.only)
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
