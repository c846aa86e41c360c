"""Saved state: restoring is all or nothing, and nothing that has a state is forgotten."""

import copy
from typing import Any, Dict, List

import numpy as np
import pytest
import torch

from AquaML.coordinator.checkpoint_format import Checkpoint, read_checkpoint, write_checkpoint
from AquaML.coordinator.coordinator import Coordinator
from AquaML.errors import CheckpointMismatchError, StateError
from AquaML.learning.reinforcement.schedulers import KLAdaptiveLR, LearningRateSchedule
from AquaML.stateful import (
    RUN,
    TRAINING,
    WEIGHTS,
    ModuleState,
    Part,
    Stateful,
    collect_states,
    kind_differences,
    restore_states,
    unregistered_states,
)


class Counter(Stateful):
    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.fails = False

    def state_dict(self) -> Dict[str, Any]:
        return {"value": self.value}

    def validate_state(self, state: Dict[str, Any]) -> None:
        if state["value"] < 0:
            raise StateError("value is {}, expected at least 0".format(state["value"]))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.value = state["value"]
        if self.fails:
            self.fails = False
            raise KeyError("half way")


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))


def through_file(parts: List[Part]) -> Dict[str, Any]:
    write_checkpoint("a.pt", Checkpoint({}, collect_states(parts)))
    return read_checkpoint("a.pt").parts


def trained(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 2)).square().sum().backward()
        optimizer.step()


def test_roles_and_names() -> None:
    parts = [Part("a", WEIGHTS, Counter(1)), Part("b", TRAINING, Counter(2)), Part("c", RUN, Counter(3))]
    assert list(collect_states(parts, (WEIGHTS, TRAINING))) == ["a", "b"]
    assert collect_states(parts)["c"] == {"role": "run", "class": "Counter", "state": {"value": 3}}
    with pytest.raises(StateError, match="'a' has role 'weight'; expected one of"):
        Part("a", "weight", Counter())
    with pytest.raises(StateError, match="Two parts are called 'a'"):
        collect_states(parts + [Part("a", RUN, Counter())])
    with pytest.raises(StateError, match="int has no state_dict"):
        Part("a", RUN, 3)


def test_everything_is_validated_before_anything_changes() -> None:
    parts = [Part("a", RUN, Counter(1)), Part("net", WEIGHTS, network()), Part("b", RUN, Counter(2))]
    saved = collect_states([Part("a", RUN, Counter(9)), Part("net", WEIGHTS, torch.nn.Linear(2, 3))])
    saved["extra"] = {"role": RUN, "class": "Counter", "state": {}}
    before = parts[1].target[0].weight.clone()
    with pytest.raises(StateError) as caught:
        restore_states(parts, saved)
    for words in ("'net' does not fit", "0.weight is missing", "'b' is missing", "'extra' is not part of this object"):
        assert words in str(caught.value)
    assert parts[0].target.value == 1 and torch.equal(parts[1].target[0].weight, before)


@pytest.mark.parametrize("state", [{}, None, 3, {"value": "text"}, {"value": -1}, []])
def test_states_of_a_wrong_structure_are_misfits(state: Any) -> None:
    part = Part("a", RUN, Counter(1))
    with pytest.raises(StateError, match="'a' does not fit"):
        restore_states([part], {"a": {"role": RUN, "class": "Counter", "state": state}})
    assert part.target.value == 1


def test_a_load_that_fails_midway_is_put_back() -> None:
    net = network()
    parts = [Part("a", RUN, Counter(1)), Part("net", WEIGHTS, net), Part("b", RUN, Counter(2))]
    saved = collect_states([Part("a", RUN, Counter(7)), Part("net", WEIGHTS, network()), Part("b", RUN, Counter(8))])
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    parts[2].target.fails = True
    with pytest.raises(StateError, match="'b' could not be loaded: KeyError: 'half way'"):
        restore_states(parts, saved)
    assert [parts[0].target.value, parts[2].target.value] == [1, 2]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    restore_states(parts, saved)
    assert [parts[0].target.value, parts[2].target.value] == [7, 8]


def test_values_of_users_own_parts_may_change_their_kind() -> None:
    class Baseline:
        def __init__(self) -> None:
            self.values: Dict[str, Any] = {"mean": 0.0, "rows": torch.zeros(0), "history": ()}

        def state_dict(self) -> Dict[str, Any]:
            return dict(self.values)

        def load_state_dict(self, state: Dict[str, Any]) -> None:
            self.values = state

    first, second = Baseline(), Baseline()
    first.values = {"mean": torch.ones(2), "rows": torch.ones(5), "history": (1, 2)}
    restore_states([Part("a", RUN, second)], through_file([Part("a", RUN, first)]))
    assert second.values["rows"].shape == (5,) and second.values["history"] == (1, 2)
    with pytest.raises(StateError, match="missing .'rows'., unknown .'row'."):
        restore_states([Part("a", RUN, second)], {"a": {"role": RUN, "state": {"mean": 0, "row": 0, "history": 0}}})


def test_only_some_parts() -> None:
    parts = [Part("policy", WEIGHTS, Counter(1)), Part("value", WEIGHTS, Counter(2))]
    saved = collect_states([Part("policy", WEIGHTS, Counter(5)), Part("other", WEIGHTS, Counter(6))])
    restore_states(parts, saved, only=["policy"])
    assert [part.target.value for part in parts] == [5, 2]
    with pytest.raises(StateError, match="no part 'polic' to load. Did you mean 'policy'"):
        restore_states(parts, saved, only=["polic"])


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.SGD])
def test_optimisers_go_on_exactly(kind: Any) -> None:
    arguments = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    models = [network(), network()]
    optimizers = [kind(model.parameters(), lr=0.05, **arguments) for model in models]
    trained(models[0], optimizers[0])
    parts = [[Part("net", WEIGHTS, m), Part("opt", TRAINING, o)] for m, o in zip(models, optimizers)]
    restore_states(parts[1], through_file(parts[0]))
    for model, optimizer in zip(models, optimizers):
        torch.manual_seed(3)
        trained(model, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters()))


def test_optimiser_of_another_kind_or_shape_is_refused() -> None:
    model = network()
    adam, sgd = torch.optim.Adam(model.parameters()), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trained(model, adam)
    with pytest.raises(StateError, match="SGD: the saved groups lack dampening, momentum"):
        restore_states([Part("opt", TRAINING, sgd)], collect_states([Part("opt", TRAINING, adam)]))
    with pytest.raises(StateError, match="Adam: the saved groups lack betas, eps"):
        restore_states([Part("opt", TRAINING, adam)], collect_states([Part("opt", TRAINING, sgd)]))
    wide = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.BatchNorm1d(5))
    other = torch.optim.Adam(wide.parameters())
    with pytest.raises(StateError, match=r"of parameter 0 has shape \(3, 2\), expected \(5, 2\)"):
        restore_states([Part("opt", TRAINING, other)], collect_states([Part("opt", TRAINING, adam)]))


def stepped() -> Any:
    """A model and Adam after a step, and Adam's state."""
    model = network()
    adam = torch.optim.Adam(model.parameters())
    trained(model, adam)
    return adam, collect_states([Part("opt", TRAINING, adam)])


def refusal(change: Any) -> str:
    adam, present = stepped()
    saved = copy.deepcopy(present)
    change(saved["opt"]["state"])
    with pytest.raises(StateError) as caught:
        restore_states([Part("opt", TRAINING, adam)], saved)
    return str(caught.value)


def test_moments_that_are_numbers_here_and_tensors_there_are_refused() -> None:
    words = "exp_avg is a number and a tensor for different parameters"
    assert words in refusal(lambda state: state["state"][1].update(exp_avg=0.5))
    assert words in refusal(lambda state: state["state"][0].update(exp_avg=torch.ones(())))
    assert "exp_avg is a tensor and nothing for" in refusal(lambda state: state["state"][1].update(exp_avg=None))
    assert "step is a number and a tensor" in refusal(lambda state: state["state"][1].update(step=torch.ones(3)))


def test_true_and_false_are_no_numbers() -> None:
    assert kind_differences(1.0, False, "step") == ["step is a bool, expected a number"]
    assert kind_differences(True, 1, "flag") == ["flag is a int, expected True or False"]
    assert kind_differences(2, 1, "count") == kind_differences(False, True, "flag") == []


def test_moments_and_numbers_of_another_kind_are_refused() -> None:
    assert "exp_avg of parameter 1 is missing" in refusal(lambda state: state["state"][1].pop("exp_avg"))
    assert "moments of an unknown parameter 9" in refusal(lambda state: state["state"].update({9: {}}))
    double = torch.ones(3, dtype=torch.float64)
    assert "is torch.float64, expected torch.float32" in refusal(lambda s: s["state"][1].update(exp_avg=double))
    groups = "param_groups"
    assert "lr is a str, expected a number" in refusal(lambda state: state[groups][0].update(lr="0.1"))
    assert "lr is a Tensor, expected a number" in refusal(lambda state: state[groups][0].update(lr=torch.ones(2)))
    assert "betas is a tuple, expected a tuple of the same length" in refusal(
        lambda state: state[groups][0].update(betas=(0.9,))
    )
    assert "betas[1] is a str, expected a number" in refusal(lambda state: state[groups][0].update(betas=(0.9, "x")))
    assert "amsgrad is True, expected False" in refusal(lambda state: state[groups][0].update(amsgrad=True))
    assert "stands in its groups twice" in refusal(lambda state: state[groups][0].update(params=[0, 1, 1, 3]))


def test_optimiser_keeps_the_implementation_that_its_device_was_given() -> None:
    model = network()
    fused = torch.optim.Adam(model.parameters(), foreach=True, lr=0.5)
    plain = torch.optim.Adam(model.parameters(), foreach=False)
    restore_states([Part("opt", TRAINING, plain)], collect_states([Part("opt", TRAINING, fused)]))
    assert plain.param_groups[0]["lr"] == 0.5 and plain.param_groups[0]["foreach"] is False


class Sequence(torch.optim.lr_scheduler.SequentialLR):
    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        lr = torch.optim.lr_scheduler
        stages = [lr.LinearLR(optimizer, 0.1, total_iters=3), lr.MultiStepLR(optimizer, [2, 3], gamma=0.5)]
        super().__init__(optimizer, stages, milestones=[4])


SCHEDULES = [
    ("StepLR", {"step_size": 2}),
    ("MultiStepLR", {"milestones": [2, 2, 8], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LambdaLR", {"lr_lambda": lambda step: 0.9**step}),
    ("CosineAnnealingLR", {"T_max": 9}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3}),
    ("ReduceLROnPlateau", {"patience": 1}),
    ("LinearLR", {"total_iters": 9}),
    ("KLAdaptiveLR", {"max_lr": 1.0}),
    (Sequence, {}),
]
if hasattr(torch.optim.lr_scheduler, "PolynomialLR"):  # torch 1.13
    SCHEDULES.append(("PolynomialLR", {"total_iters": 9}))


@pytest.mark.parametrize(("kind", "arguments"), SCHEDULES, ids=[str(kind) for kind, _ in SCHEDULES])
@pytest.mark.parametrize("done", [0, 3, 5])
@pytest.mark.filterwarnings("ignore")
def test_every_schedule_goes_on_after_a_file(kind: Any, arguments: Dict[str, Any], done: int) -> None:
    rates: List[List[float]] = []
    optimizers = [torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1, momentum=0.9) for _ in range(2)]
    schedules = [LearningRateSchedule(optimizer, kind, arguments) for optimizer in optimizers]
    parts = [[Part("opt", TRAINING, o), Part("schedule", TRAINING, s)] for o, s in zip(optimizers, schedules)]
    for step in range(done):
        schedules[0].step(kl=0.1, loss=1.0 + step)
    restore_states(parts[1], through_file(parts[0]))
    for optimizer, schedule in zip(optimizers, schedules):
        rates.append([])
        for step in range(7):
            schedule.step(kl=1e-4, loss=5.0 + step)
            rates[-1].append(optimizer.param_groups[0]["lr"])
    assert rates[0] == rates[1] and len(set(rates[0])) > 1


def test_kl_adaptive_rates_by_hand() -> None:
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.001)
    schedule = KLAdaptiveLR(optimizer, kl_threshold=0.01, kl_factor=2.0, lr_factor=1.5, max_lr=0.0012)
    seen = []
    for kl in (0.03, 0.02, 0.01, 0.005, 0.004, 0.004, 0.004):
        schedule.step(kl)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([0.001 / 1.5, 0.001 / 1.5, 0.001 / 1.5, 0.001 / 1.5, 0.001, 0.0012, 0.0012])


def test_states_in_no_part_are_found() -> None:
    class Owner:
        pass

    owner: Any = Owner()
    owner.net = network()
    owner.inner = owner.net[0]
    owner.plain = 3
    owner.counter = Counter()
    owner.wrapped = network()
    owner.listed = [1, Counter()]
    owner.tupled = (Counter(),)
    owner.named = {"x": Counter(), "y": 2}
    owner.kind = torch.nn.Linear
    parts = [Part("net", WEIGHTS, owner.net), Part("wrapped", WEIGHTS, ModuleState(owner.wrapped))]
    assert unregistered_states(owner, parts) == ["counter", "listed[1]", "tupled[0]", "named['x']"]
    rest = [owner.counter, owner.listed[1], owner.tupled[0], owner.named["x"]]
    parts += [Part(str(index), RUN, item) for index, item in enumerate(rest)]
    assert unregistered_states(owner, parts) == []


def test_coordinator_saves_restores_and_closes_its_components() -> None:
    class Closable(Counter):
        closed = False

        def close(self) -> None:
            self.closed = True
            if self.value == 3:
                raise OSError("cannot close")

    first, second = Closable(3), Closable(4)
    coordinator = Coordinator("cpu")
    coordinator.register("first", first)
    coordinator.register("second", second)
    assert [part.name for part in coordinator.parts()] == ["first", "second", "random_state"]
    write_checkpoint("a.pt", coordinator.checkpoint({"kind": "run", "more": 1}))
    expected = np.random.rand(), torch.rand(1)
    first.value, second.value = 0, 0
    assert coordinator.restore("a.pt") == {"kind": "run", "more": 1}
    assert (first.value, second.value) == (3, 4) and expected == (np.random.rand(), torch.rand(1))
    with pytest.raises(OSError, match="cannot close"):
        coordinator.close()
    assert first.closed and second.closed
    write_checkpoint("b.pt", coordinator.checkpoint({"kind": "agent"}))
    with pytest.raises(CheckpointMismatchError, match="'b.pt' is no checkpoint of a run"):
        coordinator.restore("b.pt")
    coordinator.register("third", Counter(5))
    with pytest.raises(CheckpointMismatchError, match="'third' is missing"):
        coordinator.restore("a.pt")
