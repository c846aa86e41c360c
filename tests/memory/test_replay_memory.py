"""The ring of transitions against a plain list, whatever is written, changed, dropped and restored."""

import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AquaML.errors import StateError, StorageError
from AquaML.learning.memory import ReplayMemory
from AquaML.learning.memory.priorities import Priorities
from AquaML.learning.memory.replay import rows_for

CPU = torch.device("cpu")
KEYS: Dict[str, Tuple[Tuple[int, ...], torch.dtype]] = {
    "vector": ((3,), torch.float32),
    "image": ((2, 2, 3), torch.uint8),
    "choice": ((1,), torch.int64),
    "grid": ((2, 4), torch.float32),
    "flag": ((1,), torch.bool),
    "rewards": ((1,), torch.float32),
    "precise": ((2,), torch.float64),
}
PLAIN: Dict[str, Tuple[Tuple[int, ...], torch.dtype]] = {"vector": ((2,), torch.float32), "choice": ((1,), torch.int64)}


def memory(rows: int = 4, num_envs: int = 2, keys: Any = None, **options: Any) -> ReplayMemory:
    made = ReplayMemory(rows, num_envs, CPU, **options)
    for name, (shape, dtype) in (KEYS if keys is None else keys).items():
        made.create_tensor(name, shape, dtype)
    return made


def row(number: int, num_envs: int = 2, keys: Any = None) -> Dict[str, torch.Tensor]:
    """A vector step whose every entry is drawn from its own number."""
    generator = torch.Generator().manual_seed(number)
    made = {}
    for name, (shape, dtype) in (KEYS if keys is None else keys).items():
        drawn = 250.0 * torch.rand((num_envs,) + shape, generator=generator, dtype=torch.float64)
        made[name] = drawn > 125.0 if dtype == torch.bool else drawn.to(dtype)
    return made


def filled(steps: int, *sizes: int, **options: Any) -> ReplayMemory:
    made = memory(*sizes, **options)
    for number in range(steps):
        made.write(row(number, made.num_envs))
    return made


def all_places(made: ReplayMemory) -> torch.Tensor:
    """Return the stored places, oldest first."""
    return made.following(torch.arange(made.transitions), made.cursor - made.size)


# ---------------------------------------------------------------------- what is written is what is read


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 11])
def test_the_newest_rows_are_kept_with_shape_and_type(steps: int) -> None:
    made = filled(steps)
    kept = list(range(max(0, steps - 4), steps))
    assert (made.size, made.transitions, made.written) == (len(kept), 2 * len(kept), steps)
    expected = [row(number) for number in kept]
    for name, (shape, dtype) in KEYS.items():
        found = made.read(name, all_places(made))
        assert found.dtype == dtype and found.shape == (2 * len(kept),) + shape
        assert torch.equal(found, torch.cat([item[name] for item in expected])), name


def test_one_gather_equals_reading_key_by_key() -> None:
    made = filled(7)
    places = torch.tensor([5, 0, 5, 7, 2])
    batch = made.read_all(places)
    assert list(batch) == list(KEYS) == list(made.names)
    for name, values in batch.items():
        one = made.read(name, places)
        assert values.dtype == one.dtype and torch.equal(values, one), name
    table = made.read("grid", places.reshape(5, 1).expand(5, 2))
    assert table.shape == (5, 2, 2, 4) and torch.equal(table[:, 1], batch["grid"])


def test_float_keys_lie_side_by_side_and_are_gathered_at_once() -> None:
    batch = filled(4).read_all(torch.tensor([0, 3]))
    # The three float32 keys are views of one gathered tensor of 3 + 8 + 1 columns.
    assert batch["rewards"].data_ptr() - batch["vector"].data_ptr() == (3 + 8) * 4
    assert batch["vector"].stride() == batch["rewards"].stride() == (12, 1)
    packed = filled(4).packed_rows(torch.tensor([1]))
    assert packed is not None
    first = row(0)
    wanted = torch.cat([first["vector"][1], first["grid"][1].reshape(-1), first["rewards"][1]])
    assert torch.equal(packed[0], wanted)


def test_what_was_written_is_a_copy_and_so_is_what_was_read() -> None:
    made, given_row = memory(), row(0)
    made.write(given_row)
    for values in given_row.values():
        values.zero_()
    read = made.read_all(torch.tensor([0, 1]))
    for name in KEYS:
        assert torch.equal(read[name], row(0)[name]), name
        read[name].zero_()
        assert torch.equal(made.read(name, torch.tensor([0, 1])), row(0)[name]), name


def test_flags_become_numbers_where_the_key_is_one() -> None:
    made = memory(keys={"ended": ((1,), torch.float32)})
    made.write({"ended": torch.tensor([[True], [False]])})
    assert made.read("ended", torch.tensor([0, 1])).tolist() == [[1.0], [0.0]]


def test_without_float_keys() -> None:
    keys = {"image": KEYS["image"], "choice": KEYS["choice"]}
    made = memory(keys=keys)
    made.write(row(3, keys=keys))
    assert made.packed_rows(torch.tensor([0])) is None
    assert torch.equal(made.read_all(torch.tensor([1]))["image"], row(3, keys=keys)["image"][1:])


# ---------------------------------------------------------------------- against a plain list


class Oracle:
    """The same by a list of rows that are lists of numbers."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.kept: List[List[float]] = []
        self.fresh = 0

    def write(self, values: List[float]) -> None:
        self.kept = (self.kept + [values])[-self.rows :]
        self.fresh = min(self.fresh + 1, self.rows)

    def drop_fresh(self) -> None:
        self.kept = self.kept[: len(self.kept) - self.fresh]
        self.fresh = 0


def numbered(number: int, num_envs: int) -> Dict[str, torch.Tensor]:
    values = 10.0 * number + torch.arange(float(num_envs)).unsqueeze(1)
    return {"vector": values.expand(-1, 2), "choice": values.long()}


OPERATIONS = st.lists(
    st.sampled_from(["write"] * 3 + ["write and settle"] * 3 + ["drop"] * 2 + ["clear", "change", "restore"]),
    min_size=5,
    max_size=40,
)


@settings(deadline=None, max_examples=200)
@given(rows=st.integers(1, 5), num_envs=st.integers(1, 3), operations=OPERATIONS, prioritized=st.booleans())
def test_against_a_list(rows: int, num_envs: int, operations: List[str], prioritized: bool) -> None:
    def made_memory() -> ReplayMemory:
        priorities = Priorities(rows * num_envs, 0.5, 0.5, CPU) if prioritized else None
        return memory(rows, num_envs, PLAIN, priorities=priorities)

    made, oracle = made_memory(), Oracle(rows)
    for number, operation in enumerate(operations):
        if operation.startswith("write"):
            made.write(numbered(number, num_envs))
            oracle.write([10.0 * number + env for env in range(num_envs)])
            if operation.endswith("settle"):
                made.settle()
                oracle.fresh = 0
        elif operation == "drop":
            made.drop_fresh()
            oracle.drop_fresh()
        elif operation == "clear":
            made.clear()
            oracle.kept, oracle.fresh = [], 0
        elif operation == "change":
            made.change_newest("vector", torch.full((num_envs, 2), -float(number)))
            if oracle.kept:
                oracle.kept[-1] = [-float(number)] * num_envs
        elif operation == "restore":
            state, made = made.state_dict(), made_memory()
            made.validate_state(state)
            made.load_state_dict(state)
        compare(made, oracle)


def compare(made: ReplayMemory, oracle: Oracle) -> None:
    """Everything that the memory tells equals the list, and only what is stored is drawn."""
    kept = [value for values in oracle.kept for value in values]
    assert made.size == len(oracle.kept) and made.transitions == len(kept) and made.fresh == oracle.fresh
    if not kept:
        return
    places = all_places(made)
    assert made.read("vector", places)[:, 0].tolist() == kept
    ages = made.remaining(places).reshape(made.size, -1)
    assert ages.tolist() == [[age] * made.num_envs for age in reversed(range(made.size))]
    newest = [value for values in oracle.kept[len(oracle.kept) - oracle.fresh :] for value in values]
    assert made.read("vector", made.fresh_rows())[:, 0].tolist() == newest
    drawn = made.draw(40 * len(kept)) if made.priorities is None else made.priorities.draw(40 * len(kept), 1, 0.0)[0]
    assert set(drawn.tolist()) == set(places.tolist())


def test_draws_are_alike_and_come_from_the_seed() -> None:
    made = filled(6)
    torch.manual_seed(3)
    first = made.draw(80_000)
    torch.manual_seed(3)
    assert torch.equal(first, made.draw(80_000)) and not torch.equal(first, made.draw(80_000))
    counts = torch.bincount(first, minlength=8)
    # Each of 8 places 10,000 times; the deviation is sqrt(80,000 * 1/8 * 7/8) = 94.
    assert float((counts - 10_000).abs().max()) < 5 * 94


def test_what_was_dropped_out_of_a_full_ring_is_never_drawn() -> None:
    made = filled(6)
    made.settle()
    made.write({name: torch.full_like(value, 111) for name, value in row(6).items()})
    made.drop_fresh()
    assert (made.size, made.transitions) == (3, 6)
    found = made.read("rewards", made.draw(500))
    assert sorted(set(found[:, 0].tolist())) == sorted(
        value for number in (3, 4, 5) for value in row(number)["rewards"][:, 0].tolist()
    )
    made.write(row(7))
    expected = torch.cat([row(number)["image"] for number in (3, 4, 5, 7)])
    assert torch.equal(made.read("image", all_places(made)), expected)


# ---------------------------------------------------------------------- order in time


def test_places_of_later_steps() -> None:
    made = filled(6)  # Rows 4, 5, 2, 3: the cursor stands at row 2.
    assert made.cursor == 2
    assert made.following(torch.tensor([0, 5, 7]), 1).tolist() == [2, 7, 1]
    assert made.following(torch.tensor([4]), 3).tolist() == [2]
    assert made.remaining(torch.tensor([4, 6, 0, 2, 3])).tolist() == [3, 2, 1, 0, 0]


# ---------------------------------------------------------------------- state


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("steps, dropped", [(0, 0), (2, 0), (4, 0), (7, 0), (7, 2)])
def test_a_restored_memory_goes_on_alike(steps: int, dropped: int, prioritized: bool) -> None:
    def priorities() -> Optional[Priorities]:
        return Priorities(8, 0.6, 0.4, CPU) if prioritized else None

    first, second = filled(steps, priorities=priorities()), filled(3, priorities=priorities())
    if first.priorities is not None and steps:
        first.priorities.update(all_places(first)[::2], torch.rand(len(all_places(first)[::2])))
    first.fresh = dropped
    first.drop_fresh()
    state = first.state_dict()
    before = {name: value.clone() for name, value in state["tensors"].items()}
    second.validate_state(state)
    second.load_state_dict(state)
    for number in (20, 21):
        for made in (first, second):
            made.write(row(number))
        assert (first.cursor, first.size, first.written, first.fresh) == (
            second.cursor,
            second.size,
            second.written,
            second.fresh,
        )
        torch.manual_seed(number)
        drawn = first.draw(50) if first.priorities is None else first.priorities.draw(50, first.transitions, 0.5)[0]
        torch.manual_seed(number)
        again = second.draw(50) if second.priorities is None else second.priorities.draw(50, first.transitions, 0.5)[0]
        assert torch.equal(drawn, again)
        for name, values in first.read_all(drawn).items():
            assert torch.equal(values, second.read(name, drawn)), name
    # The saved state is a copy: writing on has not changed it.
    for name, values in before.items():
        assert torch.equal(values, state["tensors"][name]), name


def test_states_that_do_not_fit() -> None:
    state = filled(2).state_dict()
    with pytest.raises(StateError, match=r"packed is torch.float32 \(4, 12\), expected torch.float32 \(6, 12\)"):
        memory(num_envs=3).validate_state(state)
    with pytest.raises(StateError, match="'size': 2.* do not fit 1 vector steps"):
        memory(rows=1).validate_state(state)
    for name, value in (("cursor", 4), ("cursor", -1), ("fresh", 3), ("size", 5)):
        with pytest.raises(StateError, match="do not fit 4 vector steps"):
            memory().validate_state(dict(state, counters=dict(state["counters"], **{name: value})))
    with pytest.raises(StateError, match="one of them samples by priority, the other does not"):
        memory(priorities=Priorities(8, 0.6, 0.4, CPU)).validate_state(state)
    with pytest.raises(StateError, match="counters"):
        memory().validate_state({"tensors": {}, "priorities": None})


# ---------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda r: r.pop("vector"), r"A row lacks \['vector'\] and has unknown \[\]"),
        (lambda r: r.update(y=r["vector"]), r"has unknown \['y'\]"),
        (lambda r: r.update(flag=r["flag"][:, 0]), r"'flag' has shape \(2,\); expected \(2, 1\)"),
        (lambda r: r.update(vector=r["vector"][:1]), r"'vector' has shape \(1, 3\); expected \(2, 3\)"),
    ],
)
def test_rows_that_do_not_fit_change_nothing(change: Any, words: str) -> None:
    made, wrong = filled(2), row(9)
    before = made.state_dict()
    change(wrong)
    with pytest.raises(StorageError, match=words):
        made.write(wrong)
    after = made.state_dict()
    assert after["counters"] == before["counters"]
    assert all(torch.equal(after["tensors"][name], before["tensors"][name]) for name in before["tensors"])


def test_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="of 0 vector steps holds nothing; expected at least 1"):
        ReplayMemory(0, 2, CPU)
    with pytest.raises(StorageError, match="no folder '.*missing' for the memory's files; make it first"):
        ReplayMemory(4, 2, CPU, str(tmp_path / "missing"))
    with pytest.raises(StorageError, match=r"A memory in files \('.*'\) lies on the CPU, not on cuda"):
        ReplayMemory(4, 2, torch.device("cuda"), str(tmp_path))
    with pytest.raises(StorageError, match="'vector' cannot be created: it exists"):
        memory().create_tensor("vector", (1,), torch.float32)
    with pytest.raises(StorageError, match="'new' cannot be created.* the memory is in use already"):
        filled(1).create_tensor("new", (1,), torch.float32)


def test_changing_the_newest_of_nothing_changes_nothing() -> None:
    made = memory()
    made.change_newest("rewards", torch.ones(2, 1))
    assert made.size == 0 and made.state_dict()["tensors"] == {}


@pytest.mark.parametrize("transitions, num_envs, rows", [(10, 3, 3), (9, 3, 3), (2, 3, 1), (1_000_000, 4096, 244)])
def test_whole_vector_steps(transitions: int, num_envs: int, rows: int) -> None:
    assert rows_for(transitions, num_envs) == rows


# ---------------------------------------------------------------------- in files


def test_a_memory_in_files_equals_one_in_memory_and_leaves_nothing(tmp_path: Path) -> None:
    inside, outside = filled(3), filled(3, directory=tmp_path)
    for number in range(3, 11):
        for made in (inside, outside):
            made.write(row(number))
            made.change_newest("grid", torch.full((2, 2, 4), float(number)))
        torch.manual_seed(number)
        places = inside.draw(30)
        for name, values in inside.read_all(places).items():
            assert torch.equal(values, outside.read_all(places)[name]), name
    state = outside.state_dict()
    again = memory()
    again.validate_state(state)
    again.load_state_dict(state)
    assert torch.equal(again.read("image", torch.arange(8)), inside.read("image", torch.arange(8)))
    if os.name == "posix":
        # The files have no names even while they are in use.
        assert os.listdir(str(tmp_path)) == []
    del outside, state, made, values
    assert os.listdir(str(tmp_path)) == []
