"""Hostile files: none runs anything, writes anything, or takes more memory and time than an honest file of its size.

Each file is loaded in a process of its own, by every way that leads to a file: ``agent.load``, the metadata alone, and,
where it is one, the search of a run's folder for its newest checkpoint. The process watches itself: an audit hook
records what is looked up, run, imported or opened for writing; its address space is limited to what it has plus twice
the file's size and 64 MiB; the time on the processor is measured, and a clock ends what waits for ever. The importer of
foreign torch files must not run anything either, but torch decides what memory it takes.
"""

import collections
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

from loguru import logger

from AquaML.coordinator.checkpoint_format import read_checkpoint, read_metadata
from AquaML.coordinator.checkpoint_store import CheckpointStore
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import CheckpointError
from benchmarks.reliability.children import answer_of
from benchmarks.reliability.forging import exact_digest
from benchmarks.reliability.hostile_files import Maker, hostile_files
from benchmarks.reliability.loaded import collect_states, trained_agent

ALLOWANCE = 64 * 2**20
"""Bytes beyond twice the file's size."""
LONGEST = 2.0
_GIVES_UP = 20
_WATCHED = ("pickle.find_class", "exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn", "os.fork")
_WATCHED += ("subprocess.Popen", "marshal.loads", "ctypes.dlopen", "socket.connect", "shutil.rmtree", "os.mkdir")
_WATCHED += ("os.rename", "os.remove", "os.symlink", "os.link", "os.chmod")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_SHOWN = 20


class Watch:
    """Records what a process does that no load should do."""

    def __init__(self) -> None:
        self.seen: List[str] = []
        self._active = False
        if hasattr(sys, "addaudithook"):
            sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: Any) -> None:
        if not self._active:
            return
        if event in _WATCHED or (event == "open" and _opens_for_writing(arguments)):
            self.seen.append("{} {}".format(event, str(arguments)[:100]))

    def during(self, function: Callable[[], Any]) -> None:
        """Run a function and record."""
        self._active = True
        try:
            function()
        finally:
            self._active = False


def _opens_for_writing(arguments: Any) -> bool:
    _, mode, flags = arguments
    return bool(flags & _WRITING) if mode is None else any(letter in mode for letter in "wax+")


def try_to_load(ways: Sequence[Callable[[], Any]], size: int, allowance: int = ALLOWANCE) -> List[Dict[str, Any]]:
    """Load a file in several ways within the limits and tell what happened; for a process of its own.

    Args:
        ways: Functions that load the file.
        size: Its size, bytes.
        allowance: Bytes that may be taken beyond twice that.
    """
    import resource

    watch = Watch()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_GIVES_UP)
    limit = _address_space() + 2 * size + allowance
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return [_one_way(way, watch) for way in ways]


def _one_way(load: Callable[[], Any], watch: Watch) -> Dict[str, Any]:
    result: Dict[str, Any] = {"error": "", "refused": False, "memory": False}
    watch.seen, began = [], time.process_time()
    try:
        watch.during(load)
    except BaseException as error:
        result.update(error=type(error).__name__, refused=isinstance(error, CheckpointError))
        chain: Any = error
        while chain is not None:
            result["memory"] = result["memory"] or isinstance(chain, MemoryError)
            chain = chain.__cause__ or chain.__context__
    result.update(seconds=time.process_time() - began, seen=watch.seen)
    return result


def _address_space() -> int:
    """Return the number of bytes of this process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def run(count: int, seed: int) -> Dict[str, Any]:
    """Load hostile files.

    Args:
        count: How many at most, drawn evenly from all.
        seed: Decides what is drawn.

    Returns:
        Numbers of files and of those that did what they must not.
    """
    logger.disable("AquaML")
    before = os.getcwd()
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    try:
        return _run(count, seed, Path(folder))
    finally:
        os.chdir(before)
        shutil.rmtree(folder)
        logger.enable("AquaML")


def _run(count: int, seed: int, folder: Path) -> Dict[str, Any]:
    env = GymnasiumWrapper("Pendulum-v1", num_envs=2, vectorization="sync")
    agent = trained_agent(env, 1)
    agent.save("sound.aqua")
    blank = trained_agent(env, 2, steps=1)
    digest = exact_digest(collect_states(blank.parts))
    warm_up(agent, folder)
    makers = hostile_files(Path("sound.aqua").read_bytes(), seed)
    names = list(makers)
    chosen = [names[index * len(names) // count] for index in range(count)] if count < len(names) else names
    figures: Dict[str, Any] = collections.Counter()
    failures: List[str] = []
    for name in chosen:
        for figure in sorted(_try(name, makers[name], blank, folder)):
            figures[figure] += 1
            if figure not in ("loaded", "refused"):
                failures.append("{}: {}".format(figure, name))
    changed = exact_digest(collect_states(blank.parts)) != digest
    counted = ("loaded", "refused", "other_errors", "executed", "written_outside", "over_memory", "over_time", "stuck")
    return dict(
        {"files": len(chosen), "known_files": len(makers)},
        **{name: figures[name] for name in counted},
        agent_changed=int(changed),
        failures=failures[:_SHOWN],
    )


def warm_up(agent: Any, folder: Path) -> None:
    """Load and fail once, so that modules that errors need are there before anybody watches."""
    agent.load("sound.aqua")
    (folder / "broken.aqua").write_bytes(b"broken")
    for path in ("broken.aqua", "sound.aqua"):
        CheckpointStore(folder / "none", 1)
        try:
            read_metadata(path)
            read_checkpoint(path)
        except CheckpointError:
            continue


def _try(name: str, make: Maker, agent: Any, folder: Path) -> List[str]:
    """Load one file in every way and return what is to be counted."""
    place = folder / "place" / "checkpoints"
    place.mkdir(parents=True)
    path = make(place)
    before = _tree(folder)
    size = path.stat().st_size if os.path.isfile(str(path)[:200].replace("\0", "")) else 0
    ways: List[Callable[[], Any]] = [lambda: agent.load(path), lambda: read_metadata(path)]
    if path.name == "hostile.aqua":
        (place / "step_1.aqua").write_bytes(path.read_bytes())
        before = _tree(folder)
        ways.append(lambda: CheckpointStore(place, 1).latest())
    found = _judge(ways, size, ALLOWANCE)
    if path.name == "hostile.aqua" and name.startswith("pickle"):
        importing = _judge([lambda: agent.import_torch_weights(path)], size, 2**31)
        found += [figure for figure in importing if figure in ("executed", "stuck")]
    if _tree(folder) != before:
        found.append("written_outside")
    shutil.rmtree(str(place))
    outcomes = {"refused"} if "refused" in found else {"loaded"}
    return sorted((set(found) - {"refused", "loaded"}) | outcomes)


def _judge(ways: Sequence[Callable[[], Any]], size: int, allowance: int) -> List[str]:
    try:
        results = answer_of(lambda: try_to_load(ways, size, allowance))
    except RuntimeError:
        return ["stuck"]
    found = []
    for result in results:
        if result["error"]:
            found.append("refused" if result["refused"] else "other_errors")
        if result["seen"]:
            found.append("executed")
        if result["memory"]:
            found.append("over_memory")
        if result["seconds"] > LONGEST:
            found.append("over_time")
    return found


def _tree(folder: Path) -> List[str]:
    return sorted(str(path) for path in folder.rglob("*"))
