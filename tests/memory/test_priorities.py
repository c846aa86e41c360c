"""Prioritised sampling: chances, weights and sums against what they are by hand."""

from typing import List

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AquaML.errors import StateError
from AquaML.learning.memory.priorities import Priorities

CPU = torch.device("cpu")
DRAWS = 20_000


def priorities(errors: List[float], alpha: float = 0.6, beta: float = 0.4, places: int = 0) -> Priorities:
    """Return priorities of the first places, set by temporal-difference errors."""
    made = Priorities(max(places, len(errors)), alpha, beta, CPU)
    stored = torch.arange(len(errors))
    made.add(stored)
    made.update(stored, torch.tensor(errors))
    return made


def chances(errors: List[float], alpha: float) -> torch.Tensor:
    powers = (torch.tensor(errors, dtype=torch.float64) + 1e-6) ** alpha
    return powers / powers.sum()


def frequencies(made: Priorities, places: int) -> torch.Tensor:
    """Return how often each place is drawn; in batches, as learning does."""
    drawn = torch.cat([made.draw(250, places, 0.0)[0] for _ in range(DRAWS // 250)])
    return torch.bincount(drawn, minlength=places).double() / DRAWS


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_frequencies_of_draws(alpha: float) -> None:
    errors = [0.0, 0.1, 1.0, 2.0, 10.0, 3.0]
    made, expected = priorities(errors, alpha), chances(errors, alpha)
    found = frequencies(made, 6)
    deviation = (expected * (1.0 - expected) / DRAWS).sqrt()
    assert bool(((found - expected).abs() <= 5.0 * deviation + 1e-12).all()), (found, expected)


def test_single_draws_have_the_same_chances() -> None:
    errors = [1.0, 3.0, 4.0]
    made, expected = priorities(errors, alpha=1.0), chances(errors, 1.0)
    found = torch.bincount(torch.cat([made.draw(1, 3, 0.0)[0] for _ in range(2_000)]), minlength=3).double() / 2_000
    assert float((found - expected).abs().max()) < 5.0 * (0.25 / 2_000) ** 0.5


def test_one_draw_from_every_share() -> None:
    # Four places of a quarter each: four draws take each once.
    made = priorities([2.0] * 4)
    for _ in range(50):
        assert made.draw(4, 4, 0.0)[0].tolist() == [0, 1, 2, 3]


def test_chances_across_blocks() -> None:
    errors = [0.01] * 5_000
    for place in (0, 1023, 1024, 2047, 2048, 4999):
        errors[place] = 100.0
    made, expected = priorities(errors, alpha=1.0), chances(errors, 1.0)
    found = frequencies(made, 5_000)
    large = expected > 0.01
    assert int(large.sum()) == 6
    assert float((found[large] - expected[large]).abs().max()) < 0.01
    assert abs(float(found[~large].sum() - expected[~large].sum())) < 0.01


@pytest.mark.parametrize("progress, beta", [(0.0, 0.4), (0.5, 0.7), (1.0, 1.0), (3.0, 1.0)])
def test_weights_by_hand(progress: float, beta: float) -> None:
    made = priorities([1.0, 2.0, 5.0], alpha=1.0)
    places, weights = made.draw(200, 3, progress)
    assert weights.shape == (200, 1) and weights.dtype == torch.float32 and float(weights.max()) == 1.0
    # w = (N P)^-beta over its largest: the least likely place has weight 1, the others (P_min / P)^beta.
    for place, ratio in ((0, 1.0), (1, 1.0 / 2.0), (2, 1.0 / 5.0)):
        found = weights[places == place]
        assert len(found) > 10
        torch.testing.assert_close(found, torch.full_like(found, ratio**beta), rtol=1e-5, atol=0.0)


def test_weights_correct_the_bias_of_drawing_wholly() -> None:
    values = torch.tensor([3.0, -1.0, 7.0, 2.0], dtype=torch.float64)
    made = priorities([0.5, 1.0, 4.0, 2.0], alpha=0.8)
    places, weights = made.draw(10_000, 4, 1.0)
    weights = weights[:, 0].double()
    assert float((weights * values[places]).sum() / weights.sum()) == pytest.approx(float(values.mean()), abs=0.03)


@settings(deadline=None, max_examples=60)
@given(
    places=st.integers(1, 2_500),
    kept=st.sets(st.integers(0, 2_499), min_size=1, max_size=20),
    number=st.integers(1, 64),
)
def test_removed_places_are_never_drawn(places: int, kept: set, number: int) -> None:
    kept = {place % places for place in kept}
    made = Priorities(places, 0.6, 0.4, CPU)
    made.add(torch.arange(places))
    made.remove(torch.tensor([place for place in range(places) if place not in kept], dtype=torch.int64))
    # What they teach afterwards does not bring them back.
    made.update(torch.arange(places), torch.full((places,), 50.0))
    drawn, weights = made.draw(number, len(kept), 0.0)
    assert set(drawn.tolist()) <= kept and bool(torch.isfinite(weights).all())
    made.clear()
    made.add(torch.tensor([0]))
    assert set(made.draw(number, 1, 0.0)[0].tolist()) == {0}


def test_new_places_get_the_largest_priority_so_far() -> None:
    made = priorities([1.0, 8.0, 2.0], alpha=1.0, places=4)
    made.update(torch.tensor([1]), torch.tensor([0.5]))
    made.add(torch.tensor([3]))
    found = frequencies(made, 4)
    expected = torch.tensor([1.0, 0.5, 2.0, 8.0], dtype=torch.float64) / 11.5
    assert float((found - expected).abs().max()) < 0.02


def test_errors_count_by_size_and_those_that_are_no_numbers_do_not_spread() -> None:
    assert torch.equal(priorities([-4.0, 3.0]).state_dict(2)["powers"], priorities([4.0, -3.0]).state_dict(2)["powers"])
    made = priorities([1.0, 2.0])
    made.update(torch.tensor([0, 1]), torch.tensor([float("nan"), float("inf")]))
    state = made.state_dict(2)
    largest = (2.0 + 1e-6) ** 0.6
    assert state["powers"].tolist() == pytest.approx([largest, largest]) and float(state["largest"]) == largest


def test_sums_do_not_drift() -> None:
    made = Priorities(3_000, 0.6, 0.4, CPU)
    made.add(torch.arange(3_000))
    generator = torch.Generator().manual_seed(5)
    for _ in range(1_000):
        places = torch.randint(3_000, (100,), generator=generator)
        made.update(places, 10.0 ** (12.0 * torch.rand(100, generator=generator) - 6.0))
    # 100,000 updates between 1e-6 and 1e6.
    powers = made.state_dict(3_000)["powers"]
    padded = torch.cat([powers, torch.zeros(72, dtype=torch.float64)]).reshape(3, 1024)
    assert torch.equal(made._sums, padded.sum(dim=1))
    assert set(made.draw(1_000, 3_000, 0.0)[0].tolist()) <= set(range(3_000))


@pytest.mark.parametrize("used", [0, 5, 2_000])
def test_state_round_trip(used: int) -> None:
    first, second = Priorities(2_000, 0.6, 0.4, CPU), priorities([7.0] * 2_000)
    if used:
        first.add(torch.arange(used))
        first.update(torch.arange(0, used, 2), torch.rand(len(range(0, used, 2))) * 9.0)
    state = first.state_dict(used)
    second.validate_state(state, used)
    second.load_state_dict(state)
    for made in (first, second):
        made.add(torch.tensor([used % 2_000]))
    torch.manual_seed(1)
    places, weights = first.draw(300, used + 1, 0.3)
    torch.manual_seed(1)
    again, same = second.draw(300, used + 1, 0.3)
    assert torch.equal(places, again) and torch.equal(weights, same)
    with pytest.raises(StateError, match="priorities of {} places, expected {}".format(used, used + 1)):
        second.validate_state(state, used + 1)
    with pytest.raises(StateError, match="priorities"):
        second.validate_state({"powers": state["powers"]}, used)
