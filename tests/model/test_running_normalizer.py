"""Running statistics against a two-pass oracle in float64."""

from typing import Any, List

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AquaML.errors import StateError
from AquaML.learning.model.normalizer import RunningNormalizer
from AquaML.learning.model.normalizer_cfg import NormalizerCfg

CPU = torch.device("cpu")


def normalizer(size: int = 2, **options: Any) -> RunningNormalizer:
    return RunningNormalizer((size,), NormalizerCfg(**options), CPU)


def fed(batches: List[torch.Tensor], size: int = 2, **options: Any) -> RunningNormalizer:
    made = normalizer(size, **options)
    for batch in batches:
        made.update(batch)
    return made


def merged(*many: RunningNormalizer) -> RunningNormalizer:
    total = normalizer()
    for one in many:
        total.merge(one.mean, one.variance, one.count)
    return total


def check(made: RunningNormalizer, data: torch.Tensor, rel: float = 1e-10) -> None:
    rows = data.double().numpy()
    assert int(made.count) == len(rows)
    np.testing.assert_allclose(made.mean.numpy(), rows.mean(axis=0), rtol=rel)
    np.testing.assert_allclose(made.variance.numpy(), rows.var(axis=0), rtol=rel, atol=1e-300)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 2**31))
def test_any_split_equals_the_oracle(sizes: List[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = sizes + [2]
    data = 3.0 + torch.randn(sum(sizes), 2, generator=generator, dtype=torch.float64)
    check(fed(list(torch.split(data, sizes))), data)


def test_single_rows_and_empty_batches() -> None:
    data = torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    made = fed([data[:0], data[:1], data[1:1], data[1:2], data[2:], data[:0]])
    check(made, data)
    assert made.variance.tolist()[1] == 0.0
    # A constant feature stays finite.
    assert bool(torch.isfinite(made.normalize(data)).all())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(0, 7), st.integers(1, 7), st.integers(1, 7))
def test_merging_is_associative(seed: int, first: int, second: int, third: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(first + second + third, 2, generator=generator, dtype=torch.float64)
    a, b, c = (fed([part]) for part in torch.split(data, [first, second, third]))
    for made in (merged(merged(a, b), c), merged(a, merged(b, c)), merged(c, a, b)):
        check(made, data, rel=1e-9)


def test_small_spread_around_a_large_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    data = 1e6 + 1e-3 * torch.randn(5000, 2, generator=generator, dtype=torch.float64)
    made = fed(list(torch.split(data, 7)))
    check(made, data, rel=1e-6)
    assert made.variance.sqrt().tolist() == pytest.approx([1e-3, 1e-3], rel=0.05)


def test_larger_batches_than_one_pass() -> None:
    made = normalizer()
    made.ROWS_PER_PASS = 10
    data = torch.randn(1234, 2, dtype=torch.float64)
    made.update(data)
    check(made, data)


def test_a_very_long_run_neither_saturates_nor_overflows() -> None:
    made, number = normalizer(1), 10**12
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    made.merge(zero, one, torch.tensor(number))
    made.update(torch.full((1000, 1), 5.0))
    assert int(made.count) == number + 1000
    assert float(made.mean) == pytest.approx(5.0 * 1000 / (number + 1000), rel=1e-9)
    made.merge(one, one, torch.tensor(number))
    assert float(made.mean) == pytest.approx((5000.0 + number) / (2 * number + 1000), rel=1e-12)
    assert float(made.variance) == pytest.approx(1.25, rel=1e-6)


def test_merged_moments_are_used_at_once() -> None:
    made = normalizer(1)
    made.merge(torch.full((1,), 4.0).double(), torch.full((1,), 9.0).double(), torch.tensor(10))
    assert made.normalize(torch.tensor([[10.0]])).item() == pytest.approx(2.0)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_invalid_rows_have_no_influence(garbage: float) -> None:
    data = torch.randn(40, 2)
    valid = torch.rand(40, 1) < 0.6
    spoiled = torch.where(valid, data, torch.tensor(garbage))
    made = normalizer()
    made.update(spoiled, valid)
    check(made, data[valid[:, 0]])
    before = made.state_dict()
    made.update(torch.full((3, 2), garbage), torch.zeros(3, 1, dtype=torch.bool))
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())


def test_normalize_and_back() -> None:
    data = 7.0 + 2.0 * torch.randn(500, 2)
    made = fed([data])
    copy = data.clone()
    result = made.normalize(data)
    assert torch.equal(data, copy)
    assert result.mean(dim=0).tolist() == pytest.approx([0.0, 0.0], abs=1e-5)
    assert result.std(dim=0, unbiased=False).tolist() == pytest.approx([1.0, 1.0], abs=1e-4)
    torch.testing.assert_close(made.denormalize(result), data, rtol=1e-5, atol=1e-5)
    # Values fifty deviations away come back whole: nothing is clipped unless asked for.
    far = torch.full((1, 2), 100.0)
    torch.testing.assert_close(made.denormalize(made.normalize(far)), far, rtol=1e-5, atol=0.0)
    out = torch.empty_like(data)
    assert made.normalize(data, out=out) is out
    assert torch.equal(out, result)


def test_options() -> None:
    data = torch.randn(50, 2)
    frozen = fed([data], frozen=True)
    assert int(frozen.count) == 0
    torch.testing.assert_close(frozen.normalize(data), data, rtol=1e-6, atol=1e-6)
    clipped = fed([data], clip=1.0)
    assert float(clipped.normalize(100.0 * data).abs().max()) == 1.0
    floored = normalizer(epsilon=3.0)
    assert floored.normalize(torch.ones(1, 2)).tolist() == [[0.5, 0.5]]


def test_state_round_trip() -> None:
    first, second = fed([torch.randn(20, 2)]), normalizer()
    state = first.state_dict()
    second.validate_state(state)
    second.load_state_dict(state)
    data = torch.randn(5, 2)
    assert torch.equal(first.normalize(data), second.normalize(data))
    first.update(data)
    second.update(data)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    # What was handed out does not change with the normaliser.
    assert int(state["count"]) == 20


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.pop("mean"), r"missing \['mean'\]"),
        (lambda state: state.update(mean=torch.zeros(3, dtype=torch.float64)), r"mean is .*\(3,\), expected .*\(2,\)"),
        (lambda state: state.update(count=torch.zeros(())), "count is torch.float32"),
    ],
)
def test_wrong_states_are_refused(change: Any, words: str) -> None:
    state = normalizer().state_dict()
    change(state)
    with pytest.raises(StateError, match=words):
        normalizer().validate_state(state)
