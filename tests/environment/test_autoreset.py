"""All ways to hand over an environment, and all autoreset modes, give the same transitions."""

from typing import Any, Callable, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from scripted_envs import SCRIPTS, ClockEnv, action_for, collect, expected_transitions

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import EnvironmentContractError

NUMBER = 3
STEPS = 40


def vector(mode: Any, **kwargs: Any) -> SyncVectorEnv:
    return SyncVectorEnv([ClockEnv] * NUMBER, autoreset_mode=mode, **kwargs)


WAYS: Dict[str, Callable[[], GymnasiumWrapper]] = {
    "id": lambda: GymnasiumWrapper("Clock-v0", num_envs=NUMBER),
    "factory": lambda: GymnasiumWrapper(ClockEnv, num_envs=NUMBER),
    "overwriting": lambda: GymnasiumWrapper(lambda: ClockEnv(overwrite=True), num_envs=NUMBER),
    "next_step": lambda: GymnasiumWrapper(vector(AutoresetMode.NEXT_STEP)),
    "next_step without copies": lambda: GymnasiumWrapper(vector(AutoresetMode.NEXT_STEP, copy=False)),
    "same_step": lambda: GymnasiumWrapper(vector(AutoresetMode.SAME_STEP)),
    "disabled": lambda: GymnasiumWrapper(vector(AutoresetMode.DISABLED)),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_every_way_gives_the_hand_computed_transitions(way: str) -> None:
    rows = collect(WAYS[way](), STEPS)
    for index, script in enumerate(SCRIPTS):
        assert len(rows[index]) >= STEPS * 2 // 3 - 4
        expected = expected_transitions(script, len(rows[index]))
        for (state, action, reward, successor, terminated, truncated), row in zip(rows[index], expected):
            assert (state[0], state[1], reward, terminated, truncated) == row
            # The true successor is one step further in the same episode, and saw the action.
            assert successor[:2] == (state[0], state[1] + 1) and successor[3] == state[3]
            assert successor[2] == min(max(action, -2.0), 2.0)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "id"])
def test_every_way_gives_the_same_transitions(way: str) -> None:
    for ours, theirs in zip(collect(WAYS["id"](), STEPS), collect(WAYS[way](), STEPS)):
        number = min(len(ours), len(theirs))
        assert number >= 20
        assert ours[:number] == theirs[:number]


def test_a_made_environment_equals_the_first_built_one() -> None:
    assert collect(GymnasiumWrapper(ClockEnv()), STEPS) == collect(WAYS["id"](), STEPS)[:1]


@pytest.mark.parametrize("way", list(WAYS))
def test_the_outside_of_each_mode(way: str) -> None:
    wrapper = WAYS[way]()
    next_step = way.startswith("next_step")
    assert wrapper.autoreset == ("next_step" if next_step else "same_step")
    assert wrapper.has_invalid_rows == next_step and wrapper.gives_final_observation
    states, _ = wrapper.reset(seed=0)
    pending = torch.zeros((NUMBER, 1), dtype=torch.bool)
    for _ in range(12):
        states, _, terminated, truncated, infos = wrapper.step(action_for(states))
        assert not (terminated & truncated).any()
        done = terminated | truncated
        if next_step:
            assert infos["final_obs"] is None and torch.equal(infos["valid"], ~pending)
            pending = done.clone()
        else:
            assert infos["valid"] is None and (infos["final_obs"] is not None) == bool(done.any())


def scalars(wrapper: GymnasiumWrapper, steps: int) -> List[Dict[str, List[float]]]:
    """Return, by environment, all logged numbers of its transitions in order."""
    states, _ = wrapper.reset(seed=0)
    seen: List[Dict[str, List[float]]] = [{} for _ in range(wrapper.num_envs)]
    for _ in range(steps):
        states, _, _, _, infos = wrapper.step(action_for(states))
        for name, values in infos["log"].items():
            assert values.shape == (wrapper.num_envs, 1) and values.dtype == torch.float32
            for index in range(wrapper.num_envs):
                number = float(values[index, 0])
                if number == number:
                    assert infos["valid"] is None or bool(infos["valid"][index, 0]), "a reset's info was logged"
                    seen[index].setdefault(name, []).append(number)
    return seen


@pytest.mark.parametrize("way", list(WAYS))
def test_scalars_of_steps_are_logged_and_those_of_resets_are_not(way: str) -> None:
    first = scalars(WAYS[way](), 25)[0]
    # Text is no number; the reset's "reset_only", and its -1 under "distance", are no part of a step.
    assert set(first) == {"distance", "terms/speed", "success"}
    # The script of environment 0: lengths 3, 2, 4, 1, and only the second episode ends in success.
    assert first["distance"][:10] == [1, 2, 3, 1, 2, 1, 2, 3, 4, 1]
    assert first["terms/speed"][:10] == [0.5, 1, 1.5, 0.5, 1, 0.5, 1, 1.5, 2, 0.5]
    assert first["success"][:4] == [0, 1, 0, 0]


def test_finite_horizon_makes_time_limits_terminal() -> None:
    for wrapper in (
        GymnasiumWrapper(ClockEnv, num_envs=NUMBER, finite_horizon=True),
        GymnasiumWrapper(vector(AutoresetMode.NEXT_STEP), finite_horizon=True),
    ):
        plain, finite = collect(WAYS["id"](), 10)[0], collect(wrapper, 14)[0]
        for ours, theirs in zip(plain, finite):
            assert theirs[:4] == ours[:4] and theirs[4:] == (ours[4] or ours[5], False)


def test_an_explicit_reset_in_the_middle_leaves_no_filler_row() -> None:
    wrapper = GymnasiumWrapper(vector(AutoresetMode.NEXT_STEP))
    states, _ = wrapper.reset(seed=0)
    done = torch.zeros(NUMBER, dtype=torch.bool)
    while not done.any():
        states, _, terminated, truncated, _ = wrapper.step(action_for(states))
        done = (terminated | truncated)[:, 0]
    states, _ = wrapper.reset(seed=0)
    states, _, _, _, infos = wrapper.step(action_for(states))
    assert infos["valid"].all() and (states["state"][:, 1] == 1).all()


@pytest.mark.parametrize("shared_memory", [True, False])
def test_workers_and_a_reset_that_they_forget(shared_memory: bool) -> None:
    environment = AsyncVectorEnv([ClockEnv] * 2, shared_memory=shared_memory)
    wrapper = GymnasiumWrapper(environment)
    try:
        ours, theirs = collect(wrapper, 12), collect(WAYS["id"](), 12)
        for index in range(2):
            assert ours[index] == theirs[index][: len(ours[index])]
        # End an episode of environment 1 alone, then reset from outside.
        states, _ = wrapper.reset(seed=0)
        done = torch.zeros(2, dtype=torch.bool)
        while done.tolist() != [False, True]:
            states, _, terminated, truncated, _ = wrapper.step(action_for(states))
            done = (terminated | truncated)[:, 0]
        before = wrapper.reset(seed=0)[0]["state"].clone()
        after, _, _, _, infos = wrapper.step({"action": torch.zeros(2, 1)})
        # Without shared memory the worker resets once more: that row is no transition.
        assert infos["valid"][:, 0].tolist() == [True, shared_memory]
        assert after["state"][1, 1] == (before[1, 1] + 1 if shared_memory else 0)
    finally:
        wrapper.close()


def test_an_overwritten_last_observation_is_said_once(log_lines: List[str]) -> None:
    environment = SyncVectorEnv([lambda: ClockEnv(overwrite=True)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    collect(GymnasiumWrapper(environment), 20)
    assert len([line for line in log_lines if "return a copy in step()" in line]) == 1


def test_no_false_alarm_about_overwriting(log_lines: List[str]) -> None:
    collect(WAYS["same_step"](), 20)
    assert not log_lines


class HidingVector(SyncVectorEnv):
    """Resets in the same step and hides the last observation, as many simulators do."""

    def step(self, actions: Any) -> Any:
        observations, rewards, terminated, truncated, infos = super().step(actions)
        for name in ("final_obs", "_final_obs", "final_info", "_final_info"):
            infos.pop(name, None)
        return observations, rewards, terminated, truncated, infos


def test_a_hidden_last_observation_is_an_error_unless_declared() -> None:
    silent = GymnasiumWrapper(HidingVector([ClockEnv] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    with pytest.raises(EnvironmentContractError, match=r"Environment 1 ended .*gives_final_observation=False"):
        collect(silent, 10)
    declared = GymnasiumWrapper(
        HidingVector([ClockEnv] * 2, autoreset_mode=AutoresetMode.SAME_STEP), gives_final_observation=False
    )
    assert not declared.gives_final_observation
    states, _ = declared.reset(seed=0)
    for _ in range(10):
        states, _, _, _, infos = declared.step(action_for(states))
        assert infos["final_obs"] is None


def test_missing_metadata_means_next_step_and_is_said(log_lines: List[str]) -> None:
    environment = vector(AutoresetMode.NEXT_STEP)
    environment.metadata = {}
    assert GymnasiumWrapper(environment).autoreset == "next_step"
    assert any("next-step reset is assumed" in line for line in log_lines)


def test_the_mode_can_be_overridden(log_lines: List[str]) -> None:
    environment = vector(AutoresetMode.SAME_STEP)
    environment.metadata = {}
    wrapper = GymnasiumWrapper(environment, autoreset="same_step")
    assert not log_lines and collect(wrapper, 20) == collect(WAYS["same_step"](), 20)


def test_gymnasiums_own_batched_cartpole() -> None:
    wrapper = GymnasiumWrapper(gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="vector_entry_point"))
    wrapper.reset(seed=3)
    fillers = ends = 0
    for _ in range(60):
        _, rewards, terminated, truncated, infos = wrapper.step(torch.ones(4, 1, dtype=torch.int64))
        assert (rewards[infos["valid"]] == 1.0).all()
        fillers += int((~infos["valid"]).sum())
        ends += int((terminated | truncated).sum())
    assert 0 < ends - 4 <= fillers <= ends


def test_statistics_of_gymnasiums_own_wrapper_reach_the_log() -> None:
    single = GymnasiumWrapper(lambda: gymnasium.wrappers.RecordEpisodeStatistics(ClockEnv()), num_envs=2)
    seen = scalars(single, 10)
    assert seen[0]["episode/l"][:3] == [3, 2, 4] and seen[1]["episode/l"][:2] == [2, 5]
    rewards = [row[2] for row in collect(WAYS["id"](), 3)[0]]
    np.testing.assert_allclose(seen[0]["episode/r"][0], sum(rewards), rtol=1e-6)


# Gymnasium's own wrapper loses the mask of a partial reset, so it counts nothing where autoreset is disabled.
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_statistics_around_a_vector_environment_reach_the_log(mode: Any) -> None:
    environment = gymnasium.wrappers.vector.RecordEpisodeStatistics(vector(mode))
    seen = scalars(GymnasiumWrapper(environment), 16)
    # Of later episodes Gymnasium's own count is wrong in some versions.
    assert seen[0]["episode/l"][0] == 3 and seen[1]["episode/l"][0] == 2 and seen[2]["episode/l"][0] == 4
    assert seen[0]["distance"][:6] == [1, 2, 3, 1, 2, 1]
