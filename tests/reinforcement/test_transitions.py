"""Sums of rewards over several steps: tables by hand, and a plain loop over lists."""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AquaML.learning.memory import ReplayMemory
from AquaML.learning.reinforcement.off_policy.transitions import (
    ACTION,
    ENDED,
    NEXT,
    REWARDS,
    STATE,
    TERMINATED,
    VALID,
    gather_transitions,
)

CPU = torch.device("cpu")
GAMMA = 0.5
GOES_ON, TERMINATES, TIME_LIMIT, INTERRUPTED, FILLER = "", "terminated", "truncated", "interrupted", "filler"
Step = Tuple[float, str]
"""Reward of a step, and what happens with it."""


def stored(rows: int, steps: List[List[Step]], has_fillers: bool = False) -> ReplayMemory:
    """Write vector steps; the state of step t in environment e is 100 e + t, its true successor's 100 e + t + 0.5."""
    num_envs = len(steps[0])
    memory = ReplayMemory(rows, num_envs, CPU)
    names = [STATE + "state", NEXT + "state", ACTION + "action", REWARDS, TERMINATED, ENDED]
    for name in names + ([VALID] if has_fillers else []):
        memory.create_tensor(name, (1,), torch.float32)
    for number, step in enumerate(steps):
        clock = 100.0 * torch.arange(num_envs).unsqueeze(1) + number
        row = {STATE + "state": clock, NEXT + "state": clock + 0.5, ACTION + "action": -clock}
        row[REWARDS] = torch.tensor([[reward] for reward, _ in step])
        row[TERMINATED] = torch.tensor([[kind == TERMINATES] for _, kind in step])
        row[ENDED] = torch.tensor([[kind in (TERMINATES, TIME_LIMIT, FILLER)] for _, kind in step])
        if has_fillers:
            row[VALID] = torch.tensor([[kind != FILLER] for _, kind in step])
        memory.write(row)
        interrupted = torch.tensor([[kind == INTERRUPTED] for _, kind in step])
        if bool(interrupted.any()):
            memory.change_newest(ENDED, (row[ENDED] | interrupted).float())
    return memory


Row = Tuple[float, float, float]
"""Sum of rewards, state of the successor, and what its value counts."""


def gathered(memory: ReplayMemory, n_steps: int, places: Optional[List[int]] = None) -> List[Row]:
    chosen = torch.arange(memory.transitions) if places is None else torch.tensor(places)
    batch = gather_transitions(memory, chosen, n_steps, GAMMA)
    assert batch.rewards.shape == batch.discounts.shape == (len(chosen), 1) and torch.equal(batch.places, chosen)
    assert torch.equal(batch.actions["action"], -batch.states["state"])
    return [
        (float(reward), float(successor), float(discount))
        for reward, successor, discount in zip(batch.rewards, batch.next_states["state"], batch.discounts)
    ]


# Rewards 1, 2, 4, 8 of one environment; gamma = 1/2.
HAND: Dict[str, Tuple[List[Step], int, List[Row]]] = {
    "one step": (
        [(1.0, GOES_ON), (2.0, TERMINATES), (4.0, TIME_LIMIT), (8.0, GOES_ON)],
        1,
        [(1.0, 0.5, 0.5), (2.0, 1.5, 0.0), (4.0, 2.5, 0.5), (8.0, 3.5, 0.5)],
    ),
    "no end": (
        [(1.0, GOES_ON), (2.0, GOES_ON), (4.0, GOES_ON), (8.0, GOES_ON)],
        3,
        # 1 + 2/2 + 4/4 and 2 + 4/2 + 8/4; then the newest row is the last one that there is.
        [(3.0, 2.5, 0.125), (6.0, 3.5, 0.125), (8.0, 3.5, 0.25), (8.0, 3.5, 0.5)],
    ),
    "termination": (
        [(1.0, GOES_ON), (2.0, TERMINATES), (4.0, GOES_ON), (8.0, GOES_ON)],
        3,
        [(2.0, 1.5, 0.0), (2.0, 1.5, 0.0), (8.0, 3.5, 0.25), (8.0, 3.5, 0.5)],
    ),
    "time limit": (
        [(1.0, GOES_ON), (2.0, TIME_LIMIT), (4.0, GOES_ON), (8.0, GOES_ON)],
        3,
        [(2.0, 1.5, 0.25), (2.0, 1.5, 0.5), (8.0, 3.5, 0.25), (8.0, 3.5, 0.5)],
    ),
    "interruption": (
        [(1.0, GOES_ON), (2.0, INTERRUPTED), (4.0, GOES_ON), (8.0, GOES_ON)],
        3,
        [(2.0, 1.5, 0.25), (2.0, 1.5, 0.5), (8.0, 3.5, 0.25), (8.0, 3.5, 0.5)],
    ),
    "termination at the last of n": (
        [(1.0, GOES_ON), (2.0, GOES_ON), (4.0, TERMINATES), (8.0, GOES_ON)],
        3,
        [(3.0, 2.5, 0.0), (4.0, 2.5, 0.0), (4.0, 2.5, 0.0), (8.0, 3.5, 0.5)],
    ),
    "termination right behind n": (
        [(1.0, GOES_ON), (2.0, GOES_ON), (4.0, TERMINATES), (8.0, GOES_ON)],
        2,
        [(2.0, 1.5, 0.25), (4.0, 2.5, 0.0), (4.0, 2.5, 0.0), (8.0, 3.5, 0.5)],
    ),
    "n larger than the episode and the memory": (
        [(1.0, GOES_ON), (2.0, TIME_LIMIT), (4.0, GOES_ON), (8.0, TERMINATES)],
        9,
        [(2.0, 1.5, 0.25), (2.0, 1.5, 0.5), (8.0, 3.5, 0.0), (8.0, 3.5, 0.0)],
    ),
}


@pytest.mark.parametrize("case", sorted(HAND))
def test_hand_computed_table(case: str) -> None:
    steps, n_steps, expected = HAND[case]
    # In a memory with room, and in one that is just full.
    for rows in (4, 7):
        assert gathered(stored(rows, [[step] for step in steps]), n_steps) == expected


def test_sums_run_over_the_rings_seam_but_not_into_the_oldest_row() -> None:
    steps = [[(float(2**number), GOES_ON)] for number in range(6)]
    # Four rows hold the steps 4, 5, 2, 3.
    memory = stored(4, steps)
    assert gathered(memory, 3) == [
        (16.0 + 16.0, 5.5, 0.25),  # step 4: 16 + 32/2, and the newest row ends the sum
        (32.0, 5.5, 0.5),  # step 5, the newest
        (4.0 + 4.0 + 4.0, 4.5, 0.125),  # step 2: 4 + 8/2 + 16/4, over the seam
        (8.0 + 8.0 + 8.0, 5.5, 0.125),  # step 3
    ]


def test_every_environment_has_its_own_episode() -> None:
    steps = [
        [(1.0, GOES_ON), (10.0, TERMINATES)],
        [(2.0, TIME_LIMIT), (20.0, GOES_ON)],
        [(4.0, GOES_ON), (40.0, GOES_ON)],
    ]
    assert gathered(stored(5, steps), 2) == [
        (2.0, 1.5, 0.25),
        (10.0, 100.5, 0.0),
        (2.0, 1.5, 0.5),
        (40.0, 102.5, 0.25),
        (4.0, 2.5, 0.5),
        (40.0, 102.5, 0.5),
    ]


def test_rows_that_only_reset_weigh_nothing_and_end_sums() -> None:
    steps = [[(1.0, GOES_ON)], [(2.0, TIME_LIMIT)], [(0.0, FILLER)], [(8.0, GOES_ON)]]
    memory = stored(4, steps, has_fillers=True)
    batch = gather_transitions(memory, torch.arange(4), 3, GAMMA)
    assert batch.weights is not None and batch.weights[:, 0].tolist() == [1.0, 1.0, 0.0, 1.0]
    kept = [row for row, weight in zip(gathered(memory, 3), batch.weights) if float(weight)]
    assert kept == [(2.0, 1.5, 0.25), (2.0, 1.5, 0.5), (8.0, 3.5, 0.5)]
    # The mean of losses leaves the filler out; it is over all rows, so that its weight is not shifted to others.
    assert float(batch.mean(torch.tensor([[1.0], [2.0], [100.0], [4.0]]))) == 7.0 / 4.0
    assert gather_transitions(stored(4, steps), torch.arange(4), 3, GAMMA).weights is None


@pytest.mark.parametrize("n_steps", [1, 3])
def test_other_keys_keep_their_shape_and_type(n_steps: int) -> None:
    memory = ReplayMemory(4, 2, CPU)
    shapes: Dict[str, Any] = {"image": ((2, 2), torch.uint8), "choice": ((1,), torch.int64)}
    for name, (shape, dtype) in shapes.items():
        memory.create_tensor(STATE + name, shape, dtype)
        memory.create_tensor(NEXT + name, shape, dtype)
    for name in (ACTION + "move", ACTION + "grip", REWARDS, TERMINATED, ENDED):
        memory.create_tensor(name, (1,), torch.int64 if "grip" in name else torch.float32)
    for number in range(3):
        row = {name: torch.full((2, 1), 0.0) for name in memory.names}
        for name, (shape, dtype) in shapes.items():
            row[STATE + name] = torch.full((2,) + shape, number).to(dtype)
            row[NEXT + name] = torch.full((2,) + shape, number + 1).to(dtype)
        memory.write(row)
    batch = gather_transitions(memory, torch.tensor([0, 3]), n_steps, GAMMA)
    assert list(batch.states) == list(batch.next_states) == ["image", "choice"]
    assert list(batch.actions) == ["move", "grip"] and batch.actions["grip"].dtype == torch.int64
    for name, (shape, dtype) in shapes.items():
        assert batch.states[name].dtype == batch.next_states[name].dtype == dtype
        first, last = (batch.states[name], batch.next_states[name])
        assert first.shape == (2,) + shape and first.reshape(2, -1)[:, 0].tolist() == [0, 1]
        assert last.reshape(2, -1)[:, 0].tolist() == ([1, 2] if n_steps == 1 else [3, 3])


class Kept(NamedTuple):
    """A stored step in the plain loop."""

    number: int
    reward: float
    kind: str


def by_a_loop(steps: List[Kept], begin: int, n_steps: int, env: int) -> Row:
    """The same by a loop over the stored steps of one environment, oldest first."""
    total, discount = 0.0, 1.0
    for step in steps[begin : begin + n_steps]:
        total += discount * step.reward
        discount *= GAMMA
        if step.kind != GOES_ON:
            break
    return total, 100.0 * env + step.number + 0.5, 0.0 if step.kind == TERMINATES else discount


KINDS = st.sampled_from([GOES_ON] * 5 + [TERMINATES, TIME_LIMIT, INTERRUPTED])


@settings(deadline=None, max_examples=150)
@given(data=st.data(), rows=st.integers(1, 8), n_steps=st.integers(1, 10), num_envs=st.integers(1, 3))
def test_against_a_loop(data: Any, rows: int, n_steps: int, num_envs: int) -> None:
    rewards = st.integers(-4, 4).map(float)
    steps = data.draw(
        st.lists(st.lists(st.tuples(rewards, KINDS), min_size=num_envs, max_size=num_envs), min_size=1, max_size=14)
    )
    memory = stored(rows, steps)
    first = max(0, len(steps) - rows)
    for env in range(num_envs):
        kept = [Kept(number, *steps[number][env]) for number in range(first, len(steps))]
        places = [(step.number % rows) * num_envs + env for step in kept]
        expected = [by_a_loop(kept, begin, n_steps, env) for begin in range(len(kept))]
        assert gathered(memory, n_steps, places) == expected


def test_several_steps_of_one_are_one_step() -> None:
    memory = stored(4, [[(1.0, GOES_ON)], [(2.0, TERMINATES)], [(4.0, GOES_ON)]])
    plain = gather_transitions(memory, torch.tensor([0, 1, 2]), 1, 0.97)
    # With n = 2 a step that ends an episode is a single one as well.
    double = gather_transitions(memory, torch.tensor([1]), 2, 0.97)
    assert torch.equal(double.rewards, plain.rewards[1:2]) and torch.equal(double.discounts, plain.discounts[1:2])


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_the_ends_of_discounting(gamma: float) -> None:
    memory = stored(4, [[(1.0, GOES_ON)], [(2.0, GOES_ON)], [(4.0, TIME_LIMIT)]])
    batch = gather_transitions(memory, torch.tensor([0, 1]), 3, gamma)
    assert batch.rewards[:, 0].tolist() == ([7.0, 6.0] if gamma else [1.0, 2.0])
    assert batch.discounts[:, 0].tolist() == [gamma, gamma]


def test_rewards_behind_an_end_have_no_say_even_if_they_are_no_numbers() -> None:
    memory = stored(4, [[(1.0, GOES_ON)], [(2.0, TERMINATES)], [(float("nan"), GOES_ON)], [(float("inf"), GOES_ON)]])
    assert gathered(memory, 4, [0, 1]) == [(2.0, 1.5, 0.0), (2.0, 1.5, 0.0)]
