"""What damaged files, kills, hostile files and poisoned numbers do to AquaML and to its peers, by the same trials.

Each trial uses a library as its users do (``subjects.py``), each library in a process of its own. Libraries that are
not installed are left out. Linux alone: children are forked.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import torch

from benchmarks.reliability.subjects import SUBJECTS, Subject
from benchmarks.rows import Rows, Step

_MODULES = {
    "AquaML": "AquaML",
    "skrl": "skrl",
    "rsl_rl": "rsl_rl",
    "rl_games": "rl_games",
    "stable-baselines3": "stable_baselines3",
}
_LONGEST_WAIT = 0.03
"""Seconds after which a child that saves again and again is killed at the latest."""


def run(count: int, seed: int) -> Dict[str, Any]:
    """Run all trials for every library that is installed.

    Args:
        count: Bit flips per library; a quarter as many kills.
        seed: Of flips and kills.

    Returns:
        Library to figures.
    """
    return {name: _in_process(name, count, seed) for name in SUBJECTS if importlib.util.find_spec(_MODULES[name])}


def _in_process(name: str, count: int, seed: int) -> Dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "figures.json"
        command = [sys.executable, "-m", __name__, name, str(count), str(seed), str(answer)]
        result = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if result.returncode != 0:
            raise RuntimeError("{} failed: {}".format(name, result.stdout.decode(errors="replace")[-2000:]))
        figures: Dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return figures


def measure(name: str, count: int, seed: int) -> Dict[str, Any]:
    """Run all trials for one library, in the present folder."""
    torch.set_num_threads(1)
    subject = SUBJECTS[name]()
    subject.train(1)
    return {
        "version": _version(_MODULES[name]),
        "bit_flips": flip_bits(subject, count, seed),
        "kills_while_overwriting": kill_while_saving(subject, count // 4, seed),
        "payload_executed": executes_payload(subject),
        "one_nan": {site: poison(SUBJECTS[name], site) for site in ("reward", "observation")},
    }


def _version(module: str) -> str:
    import importlib.metadata as metadata

    return metadata.version({"rsl_rl": "rsl-rl-lib", "rl_games": "rl-games"}.get(module, module))


# ---------------------------------------------------------------------- damage


def flip_bits(subject: Subject, count: int, seed: int) -> Dict[str, int]:
    """Flip one random bit of a saved agent, load it, and count the outcomes.

    ``silent`` loads other numbers than those saved, in parameters or the optimiser's moments, without an error;
    ``equal`` loads the right ones (the bit was in a name or a date); ``error`` raises, whatever the type.
    """
    generator = random.Random(seed)
    path, changed = Path("flip" + subject.suffix), Path("flipped" + subject.suffix)
    subject.save(path)
    subject.load(path)
    right, content = subject.digest(), path.read_bytes()
    outcomes = {"silent": 0, "equal": 0, "error": 0}
    for _ in range(count):
        damaged = bytearray(content)
        damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        changed.write_bytes(damaged)
        subject.scramble()
        outcomes[_outcome(subject, changed, right)] += 1
    subject.load(path)
    return outcomes


def _outcome(subject: Subject, path: Path, right: str) -> str:
    try:
        with _quiet():
            subject.load(path)
    except Exception:  # Of whatever type: for the peers any error counts as noticed.
        return "error"
    return "equal" if subject.digest() == right else "silent"


def kill_while_saving(subject: Subject, count: int, seed: int) -> Dict[str, int]:
    """Kill a process that overwrites one file again and again, and count how often the file is lost."""
    generator = random.Random(seed)
    folder = Path("kills")
    folder.mkdir()
    path = folder / ("best" + subject.suffix)
    right, lost = subject.digest(), 0
    kept = [tensor.detach().clone() for tensor in subject.tensors()]
    for _ in range(count):
        subject.save(path)
        child = os.fork()
        if child == 0:
            while True:
                subject.save(path)
        time.sleep(generator.uniform(0.0, _LONGEST_WAIT))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        subject.scramble()
        lost += _outcome(subject, path, right) != "equal"
        with torch.no_grad():
            for tensor, value in zip(subject.tensors(), kept):
                tensor.copy_(value)
    return {"kills": count, "lost": lost}


# ---------------------------------------------------------------------- hostile files


class Payload:
    """What a hostile pickle makes its reader do: here, make a folder."""

    def __init__(self, canary: str) -> None:
        self._canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (self._canary,)


def executes_payload(subject: Subject) -> bool:
    """Return whether loading a file from a stranger runs code that is hidden in it."""
    canary = Path("canary").resolve()
    path = Path("hostile" + subject.suffix)
    if subject.suffix == ".zip":
        _write_hostile_model(subject, path, str(canary))
    else:
        torch.save({"policy": Payload(str(canary))}, str(path))
    with contextlib.suppress(Exception), _quiet():
        subject.load(path)
    return canary.exists()


def _write_hostile_model(subject: Subject, path: Path, canary: str) -> None:
    """Write stable-baselines3's zip with one field of its JSON replaced."""
    import base64
    import pickle

    subject.save(path)
    with zipfile.ZipFile(str(path)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(members["data"].decode("utf-8"))
    field = next(name for name, value in data.items() if isinstance(value, dict) and ":serialized:" in value)
    data[field][":serialized:"] = base64.b64encode(pickle.dumps(Payload(canary))).decode("ascii")
    members["data"] = json.dumps(data).encode("utf-8")
    with zipfile.ZipFile(str(path), "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


# ---------------------------------------------------------------------- poisoned numbers


class Poisoned:
    """Rows of which one holds NaN once.

    Args:
        rows: The rows.
        site: ``"reward"`` or ``"observation"``.
        at: The step.
    """

    def __init__(self, rows: Rows, site: str, at: int = 20) -> None:
        self.__dict__.update(rows=rows, site=site, at=at, steps=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["rows"], name)

    def step(self, actions: torch.Tensor) -> Step:
        """Advance every row."""
        result = self.rows.step(actions)
        self.__dict__["steps"] += 1
        if self.steps != self.at:
            return result
        field = {"reward": "rewards", "observation": "observations"}[self.site]
        values = getattr(result, field).clone()
        values[1] = float("nan")
        return result._replace(**{field: values})


def poison(make: Callable[..., Subject], site: str) -> str:
    """Train over one NaN and return what became of it.

    ``"poisoned"``: parameters are not finite, whatever else happened; ``"ended by <error>"``: training ended and the
    parameters are finite; ``"went on"``: training reached its end with finite parameters.
    """
    if make is SUBJECTS["rl_games"]:
        return "not measured"
    if make is SUBJECTS["AquaML"]:
        subject = make()
        _poison_wrapper(subject, site)
    else:
        subject = make(lambda rows: Poisoned(rows, site))
    ended = "went on"
    try:
        with _quiet():
            subject.train(4)
    except Exception as error:  # Of whatever type: it is reported.
        ended = "ended by {}".format(type(error).__name__)
    return ended if subject.is_finite() else "poisoned"


def _poison_wrapper(subject: Any, site: str, at: int = 20) -> None:
    """Put the NaN into what AquaML's environment returns, behind its own check."""
    env, inner, steps = subject._env, subject._env.step, [0]

    def step(actions: Any) -> Any:
        observations, rewards, *rest = inner(actions)
        steps[0] += 1
        if steps[0] == at:
            rewards = rewards.clone()
            observations = {name: value.clone() for name, value in observations.items()}
            target = rewards if site == "reward" else next(iter(observations.values()))
            target[1] = float("nan")
        return (observations, rewards, *rest)

    env.step = step


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def main() -> None:
    """Measure one library and write its figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=list(SUBJECTS))
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("answer", type=Path)
    options = parser.parse_args()
    figures = measure(options.name, options.count, options.seed)
    options.answer.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
