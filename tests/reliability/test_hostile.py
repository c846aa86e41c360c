"""Hostile files run nothing, write nothing and take no more than honest ones; the source has nothing that could."""

import ast
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch

import AquaML
from AquaML.coordinator.checkpoint_format import Checkpoint, read_checkpoint, write_checkpoint
from AquaML.environment.saved_spaces import read_spaces
from AquaML.environment.spaces import layout_of
from AquaML.errors import CheckpointCorruptError, ConfigError, SpaceError
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

COUNT = 130
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork, /proc and limits of memory")


@linux
def test_no_hostile_file_does_harm() -> None:
    from benchmarks.reliability import hostile

    figures = hostile.run(COUNT, seed=0)
    assert figures["failures"] == []
    assert figures["files"] == COUNT and figures["known_files"] >= 300
    assert figures["refused"] + figures["loaded"] == COUNT and figures["refused"] > 0.8 * COUNT
    names = ("other_errors", "executed", "written_outside", "over_memory", "over_time", "stuck", "agent_changed")
    assert {name: figures[name] for name in names} == dict.fromkeys(names, 0)


def harm(name: str) -> Any:
    """What a load could do that the campaign must notice."""
    if name == "pickle":
        return pickle.loads(pickle.dumps(Path("a")))
    if name == "system":
        return os.system("true")
    if name == "process":
        return subprocess.run(["true"], check=True)
    if name == "code":
        return compile("1", "file", "eval")
    if name == "module":
        return __import__("this_module_is_not_there")
    if name == "write":
        return open("written", "w").close()
    if name == "memory":
        return np.ones(2**28, np.uint8)
    if name == "hidden memory":
        try:
            return np.ones(2**28, np.uint8)
        except MemoryError as error:
            raise CheckpointCorruptError("refused") from error
    if name == "time":
        end = time.process_time() + 2.1
        while time.process_time() < end:
            pass
    return None


NEW_PROCESS = """
import json, sys
sys.path[:0] = {path!r}
from benchmarks.reliability import hostile
from test_hostile import harm
print(json.dumps(hostile.try_to_load([lambda: harm({name!r})], 0)[0]))
"""


def in_a_new_process(name: str) -> Dict[str, Any]:
    """Do harm in a process whose allocator holds nothing in reserve, as it may after thousands of tests."""
    code = NEW_PROCESS.format(path=[str(Path(__file__).parent), *sys.path], name=name)
    output = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout
    result: Dict[str, Any] = json.loads(output.decode("utf-8"))
    return result


EXPECTED = {"pickle": "executed", "system": "executed", "process": "executed", "code": "executed", "module": "executed"}
EXPECTED.update({"write": "executed", "memory": "over_memory", "hidden memory": "over_memory", "time": "over_time"})


@linux
@pytest.mark.skipif(sys.version_info < (3, 8), reason="audit hooks came with Python 3.8")
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_campaign_notices_harm(name: str) -> None:
    from benchmarks.reliability import hostile
    from benchmarks.reliability.children import answer_of

    if EXPECTED[name] == "over_memory":
        result = in_a_new_process(name)
    else:
        result = answer_of(lambda: hostile.try_to_load([lambda: harm(name)], 0))[0]
    found = {"executed": bool(result["seen"]), "over_memory": result["memory"], "over_time": result["seconds"] > 2}
    assert found == dict(dict.fromkeys(found, False), **{EXPECTED[name]: True})


@linux
def test_an_honest_load_is_within_the_limits_and_a_payload_is_real(tmp_path: Path) -> None:
    from benchmarks.reliability import hostile
    from benchmarks.reliability.children import answer_of
    from benchmarks.reliability.hostile_files import CANARY, payloads

    assert answer_of(lambda: hostile.try_to_load([lambda: None], 0))[0]["seen"] == []
    for name, data in payloads().items():
        if name.startswith(("os.system", "exec", "eval", "open", "touch", "mkdir", "rebuild")):
            answer_of(lambda data=data: str(pickle.loads(data)))
            assert Path(CANARY).exists(), name
            Path(CANARY).rmdir() if Path(CANARY).is_dir() else Path(CANARY).unlink()


@linux
def test_pipes_and_devices_are_not_opened() -> None:
    def give_up(number: int, frame: Any) -> None:
        raise TimeoutError

    os.mkfifo("pipe")
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(5)
    try:
        for name in ("pipe", "/dev/zero", "/dev/null"):
            with pytest.raises(CheckpointCorruptError, match="is a device or pipe, no file"):
                read_checkpoint(name)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


@linux
def test_memory_is_bounded_by_the_size_of_the_file() -> None:
    from benchmarks.reliability import hostile
    from benchmarks.reliability.children import answer_of

    state = {"large": torch.ones(60 * 2**18), "small": torch.ones(3)}
    path = write_checkpoint("large.aqua", Checkpoint({}, {"part": {"role": "run", "class": "A", "state": state}}))
    size = path.stat().st_size
    assert size > 60 * 2**20
    # Once the size and a little: twice the size is the promise.
    answers = answer_of(lambda: hostile.try_to_load([lambda: read_checkpoint(path)], 0, size + 2**24))
    assert (answers[0]["error"], answers[0]["memory"]) == ("", False)


@pytest.mark.parametrize("side", ["observations", "actions"])
@pytest.mark.parametrize("shape", [[10**9], [2**40], [2**62, 4], [-1], [], [0]])
def test_a_space_of_a_file_is_no_larger_than_the_file(side: str, shape: List[int]) -> None:
    space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
    values = {name: layout_of(space, name).to_dict() for name in ("observations", "actions")}
    values["action_bounds"] = "none"
    assert read_spaces(values, 1000)[0].specs["observations"].shape == (3,)
    values[side]["specs"][0].update(shape=shape, native_shape=shape)
    with pytest.raises(SpaceError):
        read_spaces(values, 1000)


# ---------------------------------------------------------------------- the source

SOURCES = sorted(Path(AquaML.__file__).resolve().parent.rglob("*.py"))
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
FORBIDDEN_ATTRIBUTES = {
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "torch.load",
    "torch.jit.load",
    "tempfile.mktemp",
    "os.system",
    "os.popen",
    "torch.hub.load",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
}
ALLOWED = {
    # A process and its workers hand each other objects; none comes from a file.
    "sharded.py": ["pickle"],
    "shard_worker.py": ["pickle", "pickle.loads"],
    # With a loader of its own that derives from SafeLoader; the test below shows what it refuses.
    "config.py": ["yaml.load"],
    # The class of an error.
    "torch_weights.py": ["pickle"],
}
"""Everything else is forbidden everywhere."""
IMPORTER = "torch_weights.py"
"""The one file that may call ``torch.load``, and only with ``weights_only=True``."""


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return "{}.{}".format(_dotted(node.value), node.attr)
    return node.id if isinstance(node, ast.Name) else ""


def _true(call: ast.Call, name: str) -> bool:
    return any(item.arg == name and getattr(item.value, "value", None) is True for item in call.keywords)


def offences(source: str, file: str) -> List[str]:
    """Return what a module holds that could run code from a file, or hides errors."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append("bare except")
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        called = _dotted(node.func)
        is_safe = called == "torch.load" and file == IMPORTER and _true(node, "weights_only")
        if (called in FORBIDDEN_CALLS or called in FORBIDDEN_ATTRIBUTES) and not is_safe:
            found.append(called)
        found += [name for name in ("allow_pickle", "shell") if _true(node, name)]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_in_the_source_could_run_a_file(path: Path) -> None:
    assert offences(path.read_text(encoding="utf-8"), path.name) == ALLOWED.get(path.name, [])


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec('a = 1')",
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('a')",
        "import torch\ntorch.load('a', weights_only=False)",
        "import yaml\nyaml.load('a')",
        "import numpy\nnumpy.load('a', allow_pickle=True)",
        "import subprocess\nsubprocess.run('a', shell=True)",
        "import tempfile\ntempfile.mktemp()",
        "try:\n    pass\nexcept:\n    pass",
        "import os\nos.system('a')",
    ],
)
def test_what_could_is_noticed(source: str) -> None:
    assert len(offences(source, IMPORTER)) == 1


HOSTILE_CONFIGURATIONS = {
    "apply.yaml": '!!python/object/apply:os.system ["touch canary"]',
    "new.yaml": 'timesteps: !!python/object/new:os.system ["touch canary"]',
    "name.yaml": "timesteps: !!python/name:os.system",
    "module.yaml": "timesteps: !!python/module:os",
    "code.yaml": "timesteps: __import__('os').system('touch canary')",
    "lambda.yaml": "timesteps: 'lambda: 1'",
    "laughs.yaml": "a: &a [1, 1]\nb: &b [*a, *a]\ntimesteps: [*b, *b]",
    "deep.yaml": "[" * 5000,
    "date.yaml": "timesteps: 2020-99-99",
    "code.json": "{\"timesteps\": \"__import__('os').system('touch canary')\"}",
    "deep.json": "[" * 100_000,
    "digits.json": '{"timesteps": ' + "9" * 10_000 + "}",
    "class.json": '{"__class__": "os.system", "timesteps": 5}',
}


@pytest.mark.parametrize("name", sorted(HOSTILE_CONFIGURATIONS))
def test_configurations_are_data(name: str) -> None:
    if name.endswith(".yaml"):
        pytest.importorskip("yaml")
    Path(name).write_text(HOSTILE_CONFIGURATIONS[name], encoding="utf-8")
    with pytest.raises(ConfigError):
        TrainerConfig.load(name).take("test")
    assert os.listdir(".") == [name]


def test_torch_load_stands_in_the_importer_alone() -> None:
    source = "import torch\ntorch.load('a', weights_only=True)"
    assert offences(source, "other.py") == ["torch.load"] and offences(source, IMPORTER) == []
