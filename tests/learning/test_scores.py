"""PPO learns to known scores with fixed seeds."""

import pytest

from benchmarks.learning_scores import cartpole, pendulum


def test_cartpole_reaches_475_within_100k_steps() -> None:
    steps, score = cartpole(0)
    assert steps == 100_000 and score >= 475.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_cartpole_with_other_seeds(seed: int) -> None:
    assert cartpole(seed)[1] >= 475.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_pendulum_example_reaches_minus_200(seed: int) -> None:
    assert pendulum(seed)[1] >= -200.0
