"""Every wrapper of a simulator keeps the step contract, over a stand-in that has the simulator's traps."""

from typing import Any, Dict

import numpy as np
import pytest
import torch
from cases import CASES, Case
from conformance import clock_actions, collect, ends_by_script, play, simulator_of
from worlds import clock_scripts

from AquaML.environment.checker import check_env
from AquaML.errors import EnvironmentContractError
from AquaML.learning.model.ready_made import default_models
from AquaML.learning.trainers.episode_statistics import EpisodeStatistics

NUMBER = 5
STEPS = 60


@pytest.fixture(params=list(CASES))
def case(request: Any) -> Case:
    return CASES[request.param]


def test_the_checker_finds_nothing(case: Case) -> None:
    check_env(case.make(NUMBER), steps=40)


def test_what_the_wrapper_says_of_itself(case: Case) -> None:
    wrapper = case.make(NUMBER)
    info = wrapper.getEnvInfo()
    assert info["num_envs"] == NUMBER
    assert info["observation_cfg"]["state"]["shape"] == (5,) and info["action_cfg"]["action"]["shape"] == (1,)
    assert list(info["observation_cfg"]) == ["state", *case.privileged]
    assert info["gives_final_observation"] == case.gives_final
    assert info["max_episode_length"] == 6


def test_transitions_are_those_of_the_script(case: Case) -> None:
    rows = collect(case.make(NUMBER), STEPS)
    scripts = clock_scripts(case.limit_age)
    for index in range(NUMBER):
        transitions = rows[index]
        assert len(transitions) > STEPS * 0.6
        for now, following in zip(transitions, transitions[1:]):
            environment, episode, age, _, chance = now.state
            action = min(max(now.action, -1.0), 1.0)
            end, kind = ends_by_script(scripts[index % 3], case.limit_age, case.both, int(episode))
            assert environment == index
            assert now.reward == pytest.approx(100.0 * episode + age + 1 + action)
            assert (now.terminated, now.truncated) == (
                age + 1 == end and kind == "terminated",
                age + 1 == end and kind == "truncated",
            )
            if age + 1 < end:
                assert now.successor == following.state
            else:
                # Nothing is skipped, and nothing of a reset is a transition.
                assert following.state[2] == case.first_age
                assert not case.counts or following.state[1] == episode + 1
            if case.gives_final or age + 1 < end:
                assert now.successor == (environment, episode, age + 1, pytest.approx(action), chance)


def test_rows_that_only_reset_come_after_the_end_of_an_episode_and_nowhere_else(case: Case) -> None:
    wrapper = case.make(NUMBER)
    ended = torch.zeros((NUMBER, 1), dtype=torch.bool)
    for result in play(wrapper, STEPS):
        if wrapper.autoreset == "next_step":
            assert torch.equal(result["valid"], ~ended)
            assert not (ended & (result["terminated"] | result["truncated"])).any()
            ended = result["terminated"] | result["truncated"]
        else:
            assert (result["valid"] is None) != wrapper.has_invalid_rows


def test_an_explicit_reset_in_the_middle_of_an_episode_begins_new_ones(case: Case) -> None:
    wrapper = case.make(NUMBER)
    states, _ = wrapper.reset()
    for _ in range(3):
        states, _, _, _, _ = wrapper.step({"action": clock_actions(states)})
    before = states["state"][:, 4].clone()
    states, _ = wrapper.reset()
    # Another episode: its number and its chance are new.
    assert (states["state"][:, 4] != before).all() and (states["state"][:, 2] <= 1).all()
    first = states["state"].clone()
    states, _, terminated, _, infos = wrapper.step({"action": clock_actions(states)})
    assert infos["valid"] is None or bool(infos["valid"].all())
    going_on = ~terminated[:, 0]
    assert going_on.any() and torch.equal(states["state"][going_on, 2], first[going_on, 2] + 1)


def test_what_was_returned_stays_until_the_second_next_step(case: Case) -> None:
    wrapper = case.make(NUMBER)
    states, _ = wrapper.reset()
    kept: Dict[str, torch.Tensor] = {}
    for _ in range(12):
        states, rewards, terminated, truncated, infos = wrapper.step({"action": clock_actions(states)})
        tensors = dict(states, rewards=rewards, terminated=terminated, truncated=truncated)
        tensors.update({"final/" + name: value for name, value in (infos["final_obs"] or {}).items()})
        if infos["valid"] is not None:
            tensors["valid"] = infos["valid"]
        for name, (value, copy) in kept.items():
            assert torch.equal(value, copy), name
        kept = {name: (value, value.clone()) for name, value in tensors.items()}


def test_what_the_simulator_does_to_its_buffers_is_not_seen(case: Case) -> None:
    wrapper = case.make(NUMBER)
    states, _ = wrapper.reset()
    states, rewards, terminated, truncated, _ = wrapper.step({"action": clock_actions(states)})
    shown = [*states.values(), rewards, terminated, truncated]
    copies = [value.clone() for value in shown]
    for value in vars(simulator_of(wrapper)).values():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            value.fill_(77.0)
        elif isinstance(value, np.ndarray):
            value[...] = 77.0
    assert all(torch.equal(value, copy) for value, copy in zip(shown, copies))


def test_the_same_seed_gives_the_same_run(case: Case) -> None:
    wrapper = case.make(NUMBER)
    runs = [collect(wrapper, 20, seed=7), collect(wrapper, 20, seed=7), collect(wrapper, 20, seed=8)]
    chances = [[[row.state[4] for row in rows] for rows in run] for run in runs]
    assert chances[0] == chances[1] != chances[2]


def test_returns_and_lengths_are_those_counted_by_hand(case: Case) -> None:
    wrapper, statistics = case.make(NUMBER), None
    statistics = EpisodeStatistics(NUMBER, wrapper.device)
    states, _ = wrapper.reset(seed=0)
    returns, lengths = [], []
    running, age = [0.0] * NUMBER, [0] * NUMBER
    for _ in range(STEPS):
        states, rewards, terminated, truncated, infos = wrapper.step({"action": clock_actions(states)})
        done = terminated | truncated
        statistics.update(rewards, done, infos["valid"], infos["log"])
        for index in range(NUMBER):
            if infos["valid"] is None or bool(infos["valid"][index, 0]):
                running[index] += float(rewards[index, 0])
                age[index] += 1
                if bool(done[index, 0]):
                    returns.append(running[index])
                    lengths.append(age[index])
                    running[index], age[index] = 0.0, 0
    figures = statistics.read()
    assert figures["episode/count"] == len(returns) > 2 * NUMBER
    assert figures["episode/return_mean"] == pytest.approx(sum(returns) / len(returns))
    assert figures["episode/return_max"] == pytest.approx(max(returns))
    assert figures["episode/length_mean"] == pytest.approx(sum(lengths) / len(lengths))
    assert figures["environment_steps"] == sum(lengths) + sum(age)


def test_a_finite_horizon_makes_time_limits_terminal(case: Case) -> None:
    plain, finite = collect(case.make(NUMBER), 20), collect(case.make(NUMBER, finite_horizon=True), 20)
    ended = 0
    for ours, theirs in zip(plain, finite):
        for one, other in zip(ours, theirs):
            assert other.state[:4] == one.state[:4] and other.reward == one.reward
            assert (other.terminated, other.truncated) == (one.terminated or one.truncated, False)
            ended += one.truncated
    assert ended > 3


def test_the_critic_alone_sees_what_is_privileged(case: Case) -> None:
    wrapper = case.make(NUMBER)
    info = wrapper.getEnvInfo()
    models = default_models(info)
    assert models["policy"].input_names(info["observation_cfg"]) == ["state"]
    wanted = ["state", *case.privileged]
    assert models["value"].input_names(info["observation_cfg"]) == wanted


def test_closing_twice_and_rendering_are_no_accident(case: Case) -> None:
    wrapper = case.make(NUMBER)
    wrapper.reset()
    wrapper.close()
    wrapper.close()
    with pytest.raises(EnvironmentContractError, match="closed; make a new wrapper"):
        wrapper.step({"action": torch.zeros(NUMBER, 1)})
    with pytest.raises(EnvironmentContractError, match="closed; make a new wrapper"):
        wrapper.reset()


def test_a_step_before_the_first_reset_is_an_error(case: Case) -> None:
    with pytest.raises(EnvironmentContractError, match="before its first reset"):
        case.make(NUMBER).step({"action": torch.zeros(NUMBER, 1)})


@pytest.mark.parametrize("shape", [(NUMBER,), (NUMBER, 2), (NUMBER + 1, 1)])
def test_actions_of_a_wrong_shape_are_an_error(case: Case, shape: Any) -> None:
    wrapper = case.make(NUMBER)
    wrapper.reset()
    with pytest.raises(EnvironmentContractError, match="action 'action' of shape"):
        wrapper.step({"action": torch.zeros(shape)})
