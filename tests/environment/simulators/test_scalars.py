"""What simulators log at the ends of episodes is taken up once for each end."""

from typing import Any, Dict

import isaac_lab_stand_in
import pytest
import torch
from conformance import clock_actions

from AquaML.environment.isaac_lab_envs import MjlabWrapper
from AquaML.environment.simulator_buffers import FreshScalars


def numbers(taken: Dict[str, torch.Tensor]) -> Dict[str, float]:
    return {name: float(value) for name, value in taken.items()}


def test_a_dictionary_that_stays_is_taken_up_once() -> None:
    fresh, log = FreshScalars(3, torch.device("cpu")), {"return": torch.tensor(2.0), "ends": 4}
    assert numbers(fresh.take({"log": log})) == {"log/return": 2.0, "log/ends": 4.0}
    assert fresh.take({"log": log}) == {}


def test_the_same_small_integer_in_a_new_dictionary_is_new() -> None:
    fresh = FreshScalars(3, torch.device("cpu"))
    fresh.take({"Episode_Termination/time_out": 4})
    assert numbers(fresh.take({"Episode_Termination/time_out": 4})) == {"Episode_Termination/time_out": 4.0}


def test_a_tensor_is_new_when_it_was_written_into_whatever_dictionary_it_stands_in() -> None:
    fresh, mean = FreshScalars(3, torch.device("cpu")), torch.tensor(1.0)
    fresh.take({"mean": mean})
    assert fresh.take({"mean": mean}) == {}
    mean.fill_(1.0)
    assert numbers(fresh.take({"mean": mean})) == {"mean": 1.0}


def test_names_that_are_no_numbers_are_left_out_at_the_top_alone() -> None:
    fresh, extras = FreshScalars(3, torch.device("cpu")), {"flags": torch.ones(3), "inner": {"flags": 1.0}}
    assert numbers(fresh.take(extras, leave_out=["flags"])) == {"inner/flags": 1.0}


@pytest.mark.parametrize("settings", [{}, {"auto_reset": False}, {"capture_terminal_observations": True}])
def test_the_log_comes_with_every_step_that_ends_episodes_and_no_other(settings: Any) -> None:
    wrapper = MjlabWrapper(isaac_lab_stand_in.MjlabStandIn(5, **settings), clip_actions=1.0)
    states, _ = wrapper.reset(seed=0)
    ends = 0
    for _ in range(30):
        states, _, terminated, truncated, infos = wrapper.step({"action": clock_actions(states)})
        ended = bool((terminated | truncated).any())
        assert set(infos["log"]) == ({"Episode_Reward/upright", "Curriculum/level"} if ended else set())
        ends += ended
    assert ends > 5
