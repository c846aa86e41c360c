"""Agents learn to known scores with fixed seeds."""

import math
from typing import List

import pytest

from benchmarks.learning_scores import LONG_TASKS, OUT_OF_REACH, RESULTS, TASKS, expected, read

QUICK = {("CartPole-v1", 0), ("TRPO CartPole-v1", 0), ("Recurrent PPO Recall", 0), ("Recurrent A2C Recall", 0)}
"""What is learned in the normal suite, too."""


def marked() -> List[object]:
    pairs = [(task, seed) for task in TASKS for seed in (0, 1, 2)]
    return [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow) for pair in pairs]


@pytest.mark.parametrize("task, seed", marked())
def test_the_score_is_reached(task: str, seed: int) -> None:
    steps, score = TASKS[task].learn(seed)
    assert steps == TASKS[task].environment_steps
    assert expected(task) <= score < OUT_OF_REACH.get(task, math.inf)


def test_the_results_hold_every_task_with_every_seed() -> None:
    rows = {(row["task"], row["seed"]): row for row in read(RESULTS)}
    quick = {(task, str(seed)) for task in TASKS for seed in range(3)}
    assert set(rows) == quick | {(task, str(seed)) for task in LONG_TASKS for seed in range(2)}
    for (task, _), row in rows.items():
        assert expected(task) <= float(row["return_mean"]) < OUT_OF_REACH.get(task, math.inf)
        assert int(row["environment_steps"]) == {**TASKS, **LONG_TASKS}[task].environment_steps
