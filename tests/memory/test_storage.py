"""Rollouts, final observations and minibatches."""

from typing import Any, Dict, List

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AquaML.errors import StateError, StorageError
from AquaML.learning.memory import FinalObservations, RolloutMemory, minibatch_indices

CPU = torch.device("cpu")


def memory(memory_size: int = 4, rollouts: int = 4, num_envs: int = 2) -> RolloutMemory:
    made = RolloutMemory(memory_size, rollouts, num_envs, CPU)
    made.create_tensor("x", (3,), torch.float32)
    made.create_tensor("flag", (1,), torch.bool)
    return made


def row(number: int, num_envs: int = 2) -> Dict[str, torch.Tensor]:
    return {
        "x": torch.full((num_envs, 3), float(number)),
        "flag": torch.full((num_envs, 1), number % 2 == 1),
    }


def filled(steps: int, **sizes: int) -> RolloutMemory:
    made = memory(**sizes)
    for number in range(steps):
        made.write(row(number, made.num_envs))
        if made.is_full and number < steps - 1:
            made.start_next()
    return made


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(0, 12), st.integers(1, 40))
def test_the_newest_whole_rollouts_are_readable(rollouts: int, extra: int, steps: int) -> None:
    made = filled(steps, memory_size=rollouts + extra, rollouts=rollouts)
    whole = steps // rollouts
    kept = min(whole, (rollouts + extra) // rollouts)
    for index in range(kept):
        # Age 0 is the rollout under way, or the one just completed.
        age = index if made.is_full else index + 1
        if age > (rollouts + extra) // rollouts - 1:
            continue
        found = made.rollout(age)["x"][:, 0, 0].tolist()
        first = (whole - index - 1) * rollouts
        assert found == [float(number) for number in range(first, first + rollouts)]


def test_reading_copies_nothing_and_writing_copies() -> None:
    made = filled(4)
    views = made.rollout()
    assert views["x"].data_ptr() == made.rollout()["x"].data_ptr()
    assert views["x"].shape == (4, 2, 3)
    assert views["flag"].dtype == torch.bool
    made.start_next()
    given_row = row(9)
    made.write(given_row)
    given_row["x"].zero_()
    assert views["x"][0, 0, 0].item() == 9.0


def test_one_by_one() -> None:
    made = filled(1, memory_size=1, rollouts=1, num_envs=1)
    assert made.rollout()["x"].shape == (1, 1, 3)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda r: r.pop("x"), r"A row lacks \['x'\] and has unknown \[\]"),
        (lambda r: r.update(y=r["x"]), r"has unknown \['y'\]"),
        (lambda r: r.update(flag=r["flag"][:, 0]), r"'flag' has shape \(2,\); expected \(2, 1\)"),
    ],
)
def test_rows_that_do_not_fit(change: Any, words: str) -> None:
    wrong = row(0)
    change(wrong)
    with pytest.raises(StorageError, match=words):
        memory().write(wrong)


def test_wrong_use() -> None:
    with pytest.raises(StorageError, match="memory_size is 3; expected at least rollouts = 4"):
        memory(memory_size=3)
    made = filled(4)
    with pytest.raises(StorageError, match="rollout of 4 rows is complete"):
        made.write(row(4))
    with pytest.raises(StorageError, match="no whole rollout of age 1; 0 older"):
        made.rollout(1)
    with pytest.raises(StorageError, match="age 0; .* the newest has 2 of 4 rows"):
        filled(2).rollout()
    with pytest.raises(StorageError, match=r"'x' is stored as torch.float32 .*cannot become torch.int64"):
        made.create_tensor("x", (3,), torch.int64)
    before = made.rollout()["x"].clone()
    made.create_tensor("x", (3,), torch.float32)
    made.create_tensor("new", (1,), torch.float32)
    assert torch.equal(made.rollout()["x"], before)


@pytest.mark.parametrize("steps", [0, 2, 4, 7])
@pytest.mark.parametrize("memory_size", [4, 9])
def test_state_round_trip(steps: int, memory_size: int) -> None:
    first, second = filled(steps, memory_size=memory_size), memory(memory_size=memory_size)
    state = first.state_dict()
    second.validate_state(state)
    second.load_state_dict(state)
    for number in range(20, 31):
        for made in (first, second):
            if made.is_full:
                made.start_next()
            made.write(row(number))
    assert (first.cursor, first.completed) == (second.cursor, second.completed)
    for age in range(1, first.capacity):
        assert torch.equal(first.rollout(age)["x"], second.rollout(age)["x"])


def test_wrong_states() -> None:
    state = filled(2).state_dict()
    with pytest.raises(StateError, match=r"x is torch.float32 \(4, 2, 3\), expected torch.float32 \(4, 5, 3\)"):
        memory(num_envs=5).validate_state(state)
    with pytest.raises(StateError, match="cursor 9"):
        memory().validate_state(dict(state, cursor=9))


# ---------------------------------------------------------------------- final observations


def final(rollouts: int = 12, num_envs: int = 3, limit: Any = None) -> FinalObservations:
    return FinalObservations(
        {"state": ((2,), torch.float32), "image": ((1,), torch.uint8)}, rollouts, num_envs, limit, CPU
    )


def observed(step: int, num_envs: int = 3) -> Dict[str, torch.Tensor]:
    number = 10.0 * step + torch.arange(float(num_envs))
    return {"state": number.unsqueeze(1).expand(-1, 2), "image": number.unsqueeze(1).to(torch.uint8)}


def values_of(stored: FinalObservations) -> torch.Tensor:
    return stored.observations["state"][..., :1]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=12), st.sampled_from([None, 1, 4])
)
def test_every_cut_off_row_gets_its_own_value(flags: List[List[bool]], limit: Any) -> None:
    stored = final(len(flags), limit=limit)
    for _ in range(2):
        for step, row_flags in enumerate(flags):
            stored.write(step, torch.tensor(row_flags).unsqueeze(1), observed(step))
        found = torch.full((len(flags), 3, 1), -1.0)
        stored.fill(found, values_of(stored))
        for step, row_flags in enumerate(flags):
            for env, cut in enumerate(row_flags):
                assert found[step, env, 0].item() == (10.0 * step + env if cut else -1.0)
        assert int(stored.lost) == 0
        stored.clear()
        assert int(stored.used.sum()) == 0


@pytest.mark.parametrize("rollouts, limit, slots", [(12, None, 1), (12, 4, 3), (13, 4, 4), (1, 1, 1), (12, 100, 1)])
def test_slots_suffice_for_the_time_limit(rollouts: int, limit: Any, slots: int) -> None:
    stored = final(rollouts, limit=limit)
    assert stored.slots == slots
    if limit:
        for step in range(0, rollouts, limit):
            stored.write(step, torch.ones(3, 1, dtype=torch.bool), observed(step))
        assert stored.slots == slots


def test_slots_grow_where_an_environment_needs_them() -> None:
    stored = final()
    for step in (0, 1, 5):
        stored.write(step, torch.tensor([[True], [False], [step == 5]]), observed(step))
    assert stored.slots == 3
    assert stored.observations["image"].dtype == torch.uint8
    found = torch.zeros(12, 3, 1)
    stored.fill(found, values_of(stored))
    assert [found[step, 0, 0].item() for step in (0, 1, 5)] == [0.0, 10.0, 50.0]
    assert found[5, 2, 0].item() == 52.0


def test_final_observations_round_trip() -> None:
    first, second = final(), final()
    for step in (0, 1):
        first.write(step, torch.ones(3, 1, dtype=torch.bool), observed(step))
    state = first.state_dict()
    second.validate_state(state)
    second.load_state_dict(state)
    results = []
    for stored in (first, second):
        stored.write(7, torch.ones(3, 1, dtype=torch.bool), observed(7))
        results.append(torch.zeros(12, 3, 1))
        stored.fill(results[-1], values_of(stored))
    assert torch.equal(results[0], results[1])
    with pytest.raises(StateError, match=r"state is .* expected torch.float32 \(0, 4, 2\)"):
        final(num_envs=4).validate_state(state)


# ---------------------------------------------------------------------- minibatches


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(1, 12))
def test_every_row_exactly_once(number: int, mini_batches: int) -> None:
    rows = 3 * torch.arange(number)
    parts = minibatch_indices(rows, mini_batches)
    assert torch.equal(torch.cat(parts).sort()[0], rows)
    assert len(parts) == max(1, min(mini_batches, number))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert number == 0 or min(sizes) >= 1


def test_order_is_fresh_and_reproducible() -> None:
    rows = torch.arange(50)
    torch.manual_seed(1)
    first, second = (torch.cat(minibatch_indices(rows, 4)) for _ in range(2))
    torch.manual_seed(1)
    again = torch.cat(minibatch_indices(rows, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, rows)
