"""The benchmark runs from end to end, without its peers, and writes what it promises; times are not looked at."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from benchmarks.contenders.introduction import introduce
from benchmarks.document import copy_ratios
from benchmarks.figures import judge, spread
from benchmarks.gate import Gate
from benchmarks.process import Contender, ContenderError
from benchmarks.rounds import Group
from benchmarks.specification import Comparison, Specification
from benchmarks.store import Store
from benchmarks.suites import CALIBRATION, SUITES, Scale

REPOSITORY = Path(__file__).resolve().parents[2]


def run_benchmarks(*arguments: str) -> str:
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--smoke", *arguments],
        check=False,
        cwd=str(REPOSITORY),
        env=dict(os.environ, OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=300,
    )
    assert output.returncode == 0, output.stdout
    return output.stdout


# Only who measures on Windows misses this; the library has no part in it, and Linux and macOS run it.
@pytest.mark.skipif(os.name == "nt", reason="contenders are ended by their process group, which Windows lacks")
def test_smoke_run_measures_and_reports_and_takes_up_what_is_there(tmp_path: Path) -> None:
    suites = ["library", "small"]
    run_benchmarks("--suite", *suites, "--results", str(tmp_path))
    for suite in suites:
        stored = json.loads((tmp_path / (suite + ".json")).read_text(encoding="utf-8"))
        assert len(stored["groups"]) == (2 if suite == "library" else 1)
        for group in stored["groups"].values():
            (one_round,) = group["rounds"]
            assert one_round["AquaML"]["seconds"] > 0.0
            assert group["introductions"]["AquaML"]["parameters"] > 0
            assert group["machine"]["versions"]["torch"] != "not installed"
        page = (tmp_path / (suite + ".md")).read_text(encoding="utf-8")
        assert "| AquaML |" in page
        assert str(REPOSITORY) not in page and str(tmp_path) not in page
        assert (tmp_path / (suite + ".png")).stat().st_size > 1000
    before = (tmp_path / "library.json").read_bytes()
    assert "rounds are there" in run_benchmarks("--suite", "library", "--results", str(tmp_path))
    assert (tmp_path / "library.json").read_bytes() == before


def test_a_unit_is_one_rollout_and_one_update() -> None:
    channel = _Script(["unit", "unit"])
    specification = Specification("x", "x", num_envs=3, rollout=4)
    gate = Gate(channel, specification)  # type: ignore[arg-type]
    environment = _Counter()
    gate.attach(environment)
    events: List[str] = []
    with pytest.raises(_EndOfScript):
        for step in range(100):
            environment.step(step)
            events.append("step")
    # Held before the first step, and before the first of each further rollout.
    assert len(events) == 8
    assert channel.replies[0]["ready"] is True
    assert [reply["steps"] for reply in channel.replies[1:]] == [12, 12]
    for reply in channel.replies[1:]:
        assert 0.0 < reply["environment"] <= reply["seconds"]
        assert 0.0 <= reply["update"] <= reply["seconds"]
    assert environment.steps == 8


def test_parameters_are_counted_by_hand_and_other_networks_are_refused() -> None:
    import torch

    specification = Specification("x", "x", hidden_sizes=(4, 5))
    # Actor: 3*4+4, 4*5+5, 5*2+2; critic: 3*4+4, 4*5+5, 5*1+1; two logarithms of standard deviations.
    assert specification.parameters(3, 2) == (16 + 25 + 12) + (16 + 25 + 6) + 2
    right = [torch.nn.Parameter(torch.zeros(102))]
    assert introduce(specification, {}, right, (3, 2))["parameters"] == 102
    with pytest.raises(ValueError, match="trains 103 parameters; expected 102"):
        introduce(specification, {}, [*right, torch.nn.Parameter(torch.zeros(1))], (3, 2))


def test_ratios_are_medians_of_the_ratios_of_rounds() -> None:
    rounds = [
        {"a": {"seconds": 1.0, "steps": 10}, "b": {"seconds": 2.0, "steps": 10}, "c": {"seconds": 9.0, "steps": 10}},
        {"a": {"seconds": 4.0, "steps": 10}, "b": {"seconds": 4.0, "steps": 10}, "c": {"seconds": 9.0, "steps": 10}},
        {"a": {"seconds": 1.0, "steps": 10}, "b": {"seconds": 3.0, "steps": 10}, "c": {"seconds": 9.0, "steps": 10}},
    ]
    verdict = judge(Comparison("", "a", ("b", "c"), 1.5, 2.5), rounds)
    assert verdict.rival == "b"
    # Speeds are 2, 1 and 3 times b's; the ratio of the medians would be 3.
    assert verdict.ratio is not None and verdict.ratio.median == pytest.approx(2.0)
    assert verdict.word == "must"
    assert judge(Comparison("", "a", ("b",), 0.4, 0.3, "time"), rounds).word == "missed"
    assert judge(Comparison("", "a", ("b",), 0.6, 0.5, "time"), rounds).word == "stretch"
    assert judge(Comparison("", "a", ("absent",), 1.0), rounds).word == "not measured"
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (3.0, 2.0, 4.0)


def test_share_is_the_replay_over_the_training() -> None:
    rounds = [{"a": {"seconds": 4.0, "replay": 3.0}}, {"a": {"seconds": 2.0, "replay": 1.8}}]
    verdict = judge(Comparison("", "a", (), 0.82, None, "share"), rounds)
    assert verdict.ratio is not None and verdict.ratio.median == pytest.approx(0.825)
    assert verdict.word == "must"


def test_every_comparison_names_contenders_of_its_group() -> None:
    for make in SUITES.values():
        for plan in make(Scale()).groups:
            names = [contender.name for contender in plan.contenders]
            assert len(set(names)) == len(names)
            for comparison in plan.comparisons:
                assert {comparison.contender, *comparison.rivals} <= set(names), plan.title


def test_a_contender_that_fails_is_left_out_with_the_reason(tmp_path: Path) -> None:
    said: List[str] = []
    calibration = Contender(CALIBRATION)
    try:
        calibration.wait_until_ready(100.0)
        absent = Specification("absent", "no_such_library")
        with_floor = [absent, Specification("floor", "floor", num_envs=2, rollout=2, hidden_sizes=(4,))]
        group = Group(with_floor, calibration, said.append)
        try:
            assert "ModuleNotFoundError" in group.introductions["absent"]["error"]
            assert list(group.measure_round(0)) == ["floor"]
        finally:
            group.close()
    finally:
        calibration.close()
    assert any(line.startswith("  absent is left out") for line in said)


# The use of processors can only be read from /proc, so what this test proves exists on Linux alone; CI has it.
@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks at processes by /proc")
def test_a_waiting_contender_uses_no_processor_and_a_killed_one_is_reported() -> None:
    contender = Contender(CALIBRATION)
    try:
        contender.wait_until_ready(100.0)
        contender.unit(100.0)
        import time

        time.sleep(0.2)
        before = contender.processor_seconds()
        time.sleep(0.5)
        after = contender.processor_seconds()
        assert before is not None and after is not None
        assert before > 0.0
        assert after - before <= 0.02
        os.kill(contender._process.pid, signal.SIGKILL)
        with pytest.raises(ContenderError):
            contender.unit(10.0)
    finally:
        contender.close()


def test_results_of_another_plan_or_machine_are_not_taken_up(tmp_path: Path) -> None:
    store = Store(tmp_path, "x")
    plan, machine = {"contenders": [1]}, {"date": "a", "processor": "p"}
    store.group("g", plan, machine)["rounds"].append({})
    store.save()
    again = Store(tmp_path, "x")
    assert len(again.group("g", plan, {"date": "b", "processor": "p"})["rounds"]) == 1
    assert again.group("g", {"contenders": [2]}, machine)["rounds"] == []
    assert Store(tmp_path, "x").group("g", plan, machine, fresh=True)["rounds"] == []


def test_ratios_are_copied_between_the_marks_of_the_document(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n", encoding="utf-8")
    store = Store(tmp_path, "small")
    stored = store.group("Pendulum-v1", {}, {"date": "2000-01-01"})
    stored["rounds"].append({"AquaML": {"seconds": 1.0, "steps": 10}, "skrl": {"seconds": 2.0, "steps": 10}})
    store.save()
    copy_ratios(tmp_path, Scale(), page)
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
    assert "| AquaML over skrl | 2.000 | 2.000 – 2.000 | ≥ 1.30 | ≥ 1.50 | stretch |" in lines
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="page.md holds no"):
        copy_ratios(tmp_path, Scale(), page)


class _EndOfScript(Exception):
    pass


class _Script:
    """A channel whose commands are known beforehand."""

    def __init__(self, commands: List[str]) -> None:
        self.commands = commands
        self.replies: List[Dict[str, Any]] = []

    def send(self, reply: Dict[str, Any]) -> None:
        self.replies.append(reply)

    def receive(self) -> str:
        if not self.commands:
            raise _EndOfScript
        return self.commands.pop(0)


class _Counter:
    steps = 0

    def step(self, action: int) -> int:
        self.steps += 1
        return action
