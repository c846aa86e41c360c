"""Generalised advantages against numbers computed by hand."""

import itertools
from typing import Any, List, Optional

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AquaML.learning.reinforcement import generalized_advantage

GAMMA = 0.5


def column(values: List[Any], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype).reshape(-1, 1, 1)


def slow_reference(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    gamma: float,
    lam: float,
    valid: Optional[np.ndarray] = None,
) -> np.ndarray:
    """The sum of discounted errors, written out for every start: no recursion to share a mistake with."""
    steps, envs = rewards.shape[:2]
    advantages = np.zeros((steps, envs, 1))
    for env, start in itertools.product(range(envs), range(steps)):
        if valid is not None and not valid[start, env, 0]:
            continue
        weight = 1.0
        for t in range(start, steps):
            if valid is not None and not valid[t, env, 0]:
                break
            future = 0.0 if terminated[t, env, 0] else gamma * float(next_values[t, env, 0])
            advantages[start, env, 0] += weight * (float(rewards[t, env, 0]) + future - float(values[t, env, 0]))
            if terminated[t, env, 0] or truncated[t, env, 0]:
                break
            weight *= gamma * lam
    return advantages


# Rewards 1, 2, 4; V(s) = 1, 2, 3; V(s') = 2, 3, 6; gamma = 1/2. The errors r + gamma V(s') - V(s) of rows that go on
# or are cut off are 1, 1.5, 4; of a terminated row 1: 2 - 2 = 0, of a terminated row 2: 4 - 3 = 1.
TABLE = [
    ("neither", None, 0.0, [1.0, 1.5, 4.0]),
    ("neither", None, 0.95, [1.0 + 0.475 * (1.5 + 0.475 * 4.0), 1.5 + 0.475 * 4.0, 4.0]),
    ("neither", None, 1.0, [2.75, 3.5, 4.0]),
    ("terminated", 1, 0.0, [1.0, 0.0, 4.0]),
    ("terminated", 1, 0.95, [1.0, 0.0, 4.0]),
    ("terminated", 1, 1.0, [1.0, 0.0, 4.0]),
    ("truncated", 1, 0.0, [1.0, 1.5, 4.0]),
    ("truncated", 1, 0.95, [1.0 + 0.475 * 1.5, 1.5, 4.0]),
    ("truncated", 1, 1.0, [1.75, 1.5, 4.0]),
    ("both", 1, 0.0, [1.0, 0.0, 4.0]),
    ("both", 1, 0.95, [1.0, 0.0, 4.0]),
    ("both", 1, 1.0, [1.0, 0.0, 4.0]),
    ("terminated", 2, 0.0, [1.0, 1.5, 1.0]),
    ("terminated", 2, 0.95, [1.0 + 0.475 * (1.5 + 0.475), 1.975, 1.0]),
    ("terminated", 2, 1.0, [2.0, 2.0, 1.0]),
    ("truncated", 2, 0.0, [1.0, 1.5, 4.0]),
    ("truncated", 2, 0.95, [1.0 + 0.475 * 3.4, 3.4, 4.0]),
    ("truncated", 2, 1.0, [2.75, 3.5, 4.0]),
    ("both", 2, 0.0, [1.0, 1.5, 1.0]),
    ("both", 2, 0.95, [1.0 + 0.475 * 1.975, 1.975, 1.0]),
    ("both", 2, 1.0, [2.0, 2.0, 1.0]),
]


@pytest.mark.parametrize("ending, row, lam, expected", TABLE)
def test_table(ending: str, row: Optional[int], lam: float, expected: List[float]) -> None:
    terminated, truncated = [False] * 3, [False] * 3
    if row is not None:
        # "both" counts as terminated, also if a caller forgot to make the flags disjoint.
        terminated[row] = ending in ("terminated", "both")
        truncated[row] = ending in ("truncated", "both")
    advantages = generalized_advantage(
        column([1.0, 2.0, 4.0]),
        column([1.0, 2.0, 3.0]),
        column([2.0, 3.0, 6.0]),
        column(terminated, torch.bool),
        column(truncated, torch.bool),
        GAMMA,
        lam,
    )
    torch.testing.assert_close(advantages, column(expected), rtol=0.0, atol=1e-6)


@st.composite
def rollouts(draw: Any) -> Any:
    steps, envs = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    generator = np.random.RandomState(draw(st.integers(0, 2**31)))
    rewards, values, next_values = (generator.randn(steps, envs, 1) for _ in range(3))
    terminated = generator.rand(steps, envs, 1) < 0.2
    truncated = (generator.rand(steps, envs, 1) < 0.2) & ~terminated
    valid = np.ones_like(terminated)
    valid[1:] = ~((terminated | truncated)[:-1] & (generator.rand(steps - 1, envs, 1) < 0.5))
    return rewards, values, next_values, terminated, truncated, valid


def estimate(rollout: Any, gamma: float, lam: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    numbers = [torch.from_numpy(item).to(dtype) for item in rollout[:3]]
    flags = [torch.from_numpy(item) for item in rollout[3:]]
    return generalized_advantage(numbers[0], numbers[1], numbers[2], flags[0], flags[1], gamma, lam, flags[2])


@settings(deadline=None, max_examples=60)
@given(rollouts(), st.sampled_from([0.0, 0.9, 0.99, 1.0]), st.sampled_from([0.0, 0.95, 1.0]))
def test_equals_the_sum_of_discounted_errors(rollout: Any, gamma: float, lam: float) -> None:
    expected = slow_reference(*rollout[:5], gamma, lam, rollout[5])
    np.testing.assert_allclose(estimate(rollout, gamma, lam).numpy(), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(estimate(rollout, gamma, lam, torch.float32).numpy(), expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(rollouts(), st.integers(0, 7), st.booleans())
def test_nothing_after_an_episodes_end_reaches_what_is_before(rollout: Any, row: int, terminates: bool) -> None:
    row %= len(rollout[0])
    rollout[3][row], rollout[4][row] = terminates, not terminates
    before = estimate(rollout, 0.99, 0.95)
    for item in rollout[:3]:
        item[row + 1 :] = 1e6 * item[row + 1 :] - 3.0
    for item in rollout[3:]:
        item[row + 1 :] = ~item[row + 1 :]
    after = estimate(rollout, 0.99, 0.95)
    assert torch.equal(before[: row + 1], after[: row + 1])


@settings(deadline=None, max_examples=60)
@given(rollouts(), st.sampled_from([np.nan, np.inf, -np.inf, 1e300]))
def test_garbage_in_unused_places_has_no_influence(rollout: Any, garbage: float) -> None:
    before = estimate(rollout, 0.99, 0.95)
    rewards, values, next_values, terminated, _, valid = rollout
    next_values[terminated] = garbage
    for item in (rewards, values, next_values):
        item[~valid] = garbage
    after = estimate(rollout, 0.99, 0.95)
    assert torch.equal(before, after)
    assert bool((after[~torch.from_numpy(valid)] == 0.0).all())
