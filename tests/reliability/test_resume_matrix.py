"""Runs that are cut and resumed in new processes equal the uninterrupted ones; so do cold processes of all kinds."""

import functools
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any, Dict, Mapping

import pytest
import torch

from AquaML.learning.model import default_models
from benchmarks.reliability import determinism, resumable_runs, resume
from benchmarks.reliability.children import answer_of
from benchmarks.reliability.custom_agent import EpisodeGradient
from benchmarks.reliability.registry import CAMPAIGNS

forks = pytest.mark.skipif(
    not sys.platform.startswith("linux") or torch.cuda.is_available(),
    reason="forks processes that learn, which only Linux does safely, and not after CUDA was asked for",
)


@forks
def test_every_cut_of_every_kind_of_run_resumes_bit_for_bit() -> None:
    figures = resume.run(CAMPAIGNS["resume"].reduced, 0)
    assert figures["different"] == {}
    assert figures["trials"] == figures["equal"] == figures["cuts"] == len(resume.CUTS) == 13
    assert figures["kinds"] == (5 if importlib.util.find_spec("mujoco") else 4)


class Forgetful(EpisodeGradient):
    """Keeps its steps where no checkpoint looks."""

    def __init__(self, models: Mapping[str, Any]) -> None:
        super().__init__(models)
        self._parts = [part for part in self._parts if part.name != "steps"]
        self.steps: Any = types.SimpleNamespace(rows=[])


def make_forgetful(info: Dict[str, Any]) -> Forgetful:
    return Forgetful({"policy": default_models(info, hidden_sizes=(8,))["policy"]})


@forks
def test_the_campaign_notices_a_state_that_is_not_saved(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setitem(resumable_runs._AGENTS, "forgetful", make_forgetful)
    kind = resumable_runs.KINDS["custom agent, Pendulum sync"]._replace(algorithm="forgetful")
    resume.warm_up(tmp_path / "warm")
    whole = answer_of(functools.partial(resume.digests_of, kind, tmp_path / "whole"))
    # Between its updates it remembers steps; right after one it remembers nothing.
    for name, forgotten in (("stopped in mid-rollout", True), ("SIGTERM before the first step", False)):
        resumed = resume.cut_and_resume(kind, resume.CUTS[name], tmp_path / name)
        different = resume.differences(whole, resumed)
        assert ("agent/policy" in different and "next actions" in different) is forgotten, different


def test_what_must_not_matter_does_not() -> None:
    figures = determinism.run(CAMPAIGNS["determinism"].reduced, 0)
    assert figures["different"] == {}
    assert figures["equal"] == figures["processes"] == 2
    assert figures["digests"] > 200
