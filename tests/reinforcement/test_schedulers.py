"""Learning-rate schedules: known rates, every torch scheduler by name, resumable state."""

import inspect
import math
from typing import Any, Dict

import pytest
import torch
from scripted import drive, small_agent, wrap

from AquaML.compat import scheduler_base_class
from AquaML.errors import ConfigError
from AquaML.learning.reinforcement.schedulers import KLAdaptiveLR, LearningRateSchedule, scheduler_class


def optimizer(rate: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate, "name": "policy"}], lr=rate)


@pytest.mark.parametrize(
    "kl, expected",
    [(0.0161, 1e-3 / 1.5), (0.016, 1e-3), (0.008, 1e-3), (0.004, 1e-3), (0.0039, 1.5e-3), (float("nan"), 1e-3)],
)
def test_kl_adaptive_goes_down_up_or_stays(kl: float, expected: float) -> None:
    held = optimizer()
    KLAdaptiveLR(held).step(kl)
    assert held.param_groups[0]["lr"] == pytest.approx(expected)


def test_kl_adaptive_keeps_its_bounds() -> None:
    held = optimizer()
    schedule = KLAdaptiveLR(held, min_lr=5e-4, max_lr=2e-3)
    for _ in range(9):
        schedule.step(1.0)
    assert held.param_groups[0]["lr"] == 5e-4
    for _ in range(9):
        schedule.step(0.0)
    assert held.param_groups[0]["lr"] == 2e-3


def test_kl_adaptive_leaves_a_rate_of_zero() -> None:
    held = optimizer(0.0)
    KLAdaptiveLR(held).step(0.0)
    assert held.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize(
    "arguments", [{"kl_threshold": 0.0}, {"kl_factor": 1.0}, {"lr_factor": 0.5}, {"min_lr": 0.0}, {"max_lr": 1e-7}]
)
def test_kl_adaptive_refuses_values_out_of_range(arguments: Dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="KLAdaptiveLR.{} is".format(next(iter(arguments)))):
        LearningRateSchedule(optimizer(), "KLAdaptiveLR", arguments)


ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "LambdaLR": {"lr_lambda": lambda step: 0.9**step},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.9},
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 5},
    "CyclicLR": {"base_lr": 1e-4, "max_lr": 1e-2, "cycle_momentum": False},
    "OneCycleLR": {"max_lr": 1e-2, "total_steps": 50},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
}
NEED_BUILT_SCHEDULERS = {"SequentialLR", "ChainedScheduler"}
"""They take other schedulers, which need the optimiser that only the agent has."""
NAMES = sorted(
    name
    for name, item in vars(torch.optim.lr_scheduler).items()
    if inspect.isclass(item)
    and issubclass(item, (scheduler_base_class(), torch.optim.lr_scheduler.ReduceLROnPlateau))
    and not name.startswith("_")
    and item is not scheduler_base_class()
    and name not in NEED_BUILT_SCHEDULERS
)


@pytest.mark.parametrize("name", NAMES)
def test_every_torch_scheduler_by_name(name: str) -> None:
    held, twin = optimizer(), optimizer()
    schedule = LearningRateSchedule(held, name, ARGUMENTS.get(name, {}))
    reference = scheduler_class(name)(twin, **ARGUMENTS.get(name, {}))
    for step in range(6):
        loss = 1.0 + step
        held.step()
        twin.step()
        schedule.step(torch.tensor(0.1), torch.tensor(loss))
        reference.step(loss) if name == "ReduceLROnPlateau" else reference.step()
        assert held.param_groups[0]["lr"] == twin.param_groups[0]["lr"]


@pytest.mark.parametrize("name", NAMES + ["KLAdaptiveLR"])
def test_a_saved_schedule_goes_on_from_where_it_was(name: str) -> None:
    env = wrap("own", [[([1.0, 2.0], "truncated")]])
    arguments = ARGUMENTS.get(name, {})

    def agent() -> Any:
        torch.manual_seed(0)
        return small_agent(
            env, rollouts=2, mini_batches=1, learning_rate_scheduler=name, learning_rate_scheduler_kwargs=arguments
        )

    first, second = agent(), agent()
    drive(env, first, 6)
    first.save("agent.pt")
    second.load("agent.pt")
    rates = []
    for one in (first, second):
        torch.manual_seed(5)
        drive(env, one, 8)
        rates.append([group["lr"] for group in one.optimizer.param_groups])
    assert rates[0] == rates[1]
    assert math.isfinite(rates[0][0])


@pytest.mark.parametrize("interval, steps", [("epoch", 4), ("update", 2)])
def test_interval(interval: str, steps: int) -> None:
    env = wrap("own", [[([1.0, 2.0], "truncated")]])
    agent = small_agent(
        env,
        rollouts=2,
        mini_batches=1,
        learning_rate=1.0e-3,
        learning_rate_scheduler=torch.optim.lr_scheduler.ExponentialLR,
        learning_rate_scheduler_kwargs={"gamma": 0.5},
        scheduler_interval=interval,
    )
    drive(env, agent, 4)
    assert agent.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 0.5**steps)


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("StepLr", {}, "'StepLr'.*Did you mean 'StepLR'"),
        ("StepLR", {"step_sise": 2}, "'step_sise', which StepLR does not take. Did you mean 'step_size'"),
        ("StepLR", {}, "StepLR cannot be made with {}.*step_size"),
        ("OneCycleLR", {"max_lr": 1e-3}, "OneCycleLR cannot be made with.*total_steps"),
        ("KLAdaptiveLR", {"kl_treshold": 1.0}, "Did you mean 'kl_threshold'"),
    ],
)
def test_wrong_schedulers_are_refused(name: str, arguments: Dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LearningRateSchedule(optimizer(), name, arguments)
