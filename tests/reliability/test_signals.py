"""Signals at random times leave a run that goes on as if there had been none."""

import sys

import pytest
import torch

from benchmarks.reliability.registry import CAMPAIGNS


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or torch.cuda.is_available(),
    reason="forks processes that learn, which only Linux does safely, and not after CUDA was asked for",
)
def test_random_signals_lose_nothing() -> None:
    from benchmarks.reliability import signals

    count = CAMPAIGNS["signals"].reduced
    figures = signals.run(count, 0)
    assert sum(figures["hit"].values()) == figures["signals"] == count
    for name in ("right exit code and handlers", "checkpoint equal", "resumed equal"):
        assert figures[name] == count, name
    assert figures["most steps lost"] == 0
    # One step with its update, and a save; the bound leaves room for machines that do much else.
    assert figures["longest seconds to the end"] < 10.0
    asked = figures["save requests"]
    assert asked["saved and went on"] == asked["sent"]
    pairs = figures["pairs"]
    assert pairs["ended at once"] == pairs["all files intact"] == pairs["sent"]
