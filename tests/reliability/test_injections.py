"""NaN, infinity and overflow at every place of a run: caught, named, without a trace; without the guard they poison."""

import math
from typing import Tuple

import pytest

from benchmarks.reliability.injections import POLICIES, SITES, VALUES, Case, InjectionFigures, cases, judge, run
from benchmarks.reliability.registry import CAMPAIGNS

COUNT = CAMPAIGNS["injections"].reduced


@pytest.fixture(scope="module")
def figures() -> InjectionFigures:
    return run(COUNT, 0)


def test_the_campaign_covers_every_combination() -> None:
    everything = CAMPAIGNS["injections"].full
    assert len(SITES) * len(VALUES) * len(POLICIES) == everything == 144
    assert len({str(case[:3]) for case in cases(everything, 0)}) == everything
    # The half of them that is tried here has all sites, values and policies.
    some = cases(COUNT, 0)
    assert {case.site for case in some} == set(SITES)
    assert {(str(case.value), case.policy) for case in some} == {(str(v), p) for v in VALUES for p in POLICIES}


def test_every_injection_is_caught_named_and_leaves_no_trace(figures: InjectionFigures) -> None:
    assert figures.failed == []
    assert (figures.caught, figures.named, figures.unchanged, figures.went_on) == (COUNT,) * 4


def test_without_the_guard_every_site_poisons_the_run(figures: InjectionFigures) -> None:
    assert (figures.controls, figures.controls_poisoned) == (len(SITES), len(SITES))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "site", ["observation", "final observation", "reward", "action", "log-probability", "value", "value target"]
)
def test_a_step_with_nan_leaves_no_trace(site: str, late: bool) -> None:
    assert judge(Case(site, math.nan, "raise", late, 1)) == (True,) * 4


@pytest.mark.parametrize("case", [("loss/value", math.inf), ("loss/policy", math.nan), ("gradient", math.inf)])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_step_of_the_optimiser_is_left_out(case: Tuple[str, float], policy: str) -> None:
    # The second of four minibatches: raise and rollback must leave out the two after it as well.
    assert judge(Case(case[0], case[1], policy, True, 1)) == (True,) * 4


@pytest.mark.parametrize("site", ["observation", "reward", "value"])
def test_numbers_whose_square_overflows_count_as_infinite(site: str) -> None:
    assert judge(Case(site, 2e19, "raise", True, 2)) == (True,) * 4
