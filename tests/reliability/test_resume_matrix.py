"""Runs that are cut and resumed in new processes equal the uninterrupted ones; so do cold processes of all kinds."""

import importlib.util
import sys

import pytest
import torch

from benchmarks.reliability import determinism, resume
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


def test_what_must_not_matter_does_not() -> None:
    figures = determinism.run(CAMPAIGNS["determinism"].reduced, 0)
    assert figures["different"] == {}
    assert figures["equal"] == figures["processes"] == 2
    assert figures["digests"] > 200
