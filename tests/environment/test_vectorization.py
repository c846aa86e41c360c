"""The choice of a backend: the fastest that is proven equal, and why not another."""

import json
from typing import Any, Dict, List, Tuple

import gymnasium
import numpy as np
import pytest
import torch
from scripted_envs import ClockEnv

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.vectorization import classic_control
from AquaML.environment.vectorization.backend import Unsuited
from AquaML.environment.vectorization.classic_control import Pendulum
from AquaML.errors import EnvironmentContractError

BY_NAME_ONLY = {"sharded", "envpool"}


def chosen(env: Any, **kwargs: Any) -> Tuple[str, Dict[str, str]]:
    info = GymnasiumWrapper(env, **kwargs).getEnvInfo()["vectorization"]
    assert json.loads(json.dumps(info)) == info
    return info["backend"], info["passed_over"]


def test_classic_control_is_batched_and_the_choice_is_told_once(log_lines: List[str]) -> None:
    wrapper = GymnasiumWrapper("Pendulum-v1", num_envs=3)
    assert wrapper.vectorization["backend"] == "batched" and set(wrapper.vectorization["passed_over"]) == BY_NAME_ONLY
    wrapper.reset(seed=0)
    wrapper.step(torch.zeros(3, 1))
    assert len(log_lines) == 1 and log_lines[0].startswith("INFO 3 x Pendulum-v1: vectorization is 'batched', proven")
    assert "Passed over: sharded: it starts processes" in log_lines[0] and "envpool: it has other rand" in log_lines[0]


@pytest.mark.parametrize(
    "env, kwargs, reason",
    [
        ("Clock-v0", {}, "there is no batched form of it"),
        (ClockEnv, {}, "only environments given by id"),
        ("CartPole-v1", {"render_mode": "rgb_array"}, "a batch shows no picture"),
        ("CartPole-v1", {"disable_env_checker": True}, None),
        ("CartPole-v1", {"max_episode_steps": 9}, None),
    ],
)
def test_where_there_is_no_batch(env: Any, kwargs: Dict[str, Any], reason: Any) -> None:
    backend, passed_over = chosen(env, **kwargs)
    assert backend == ("batched" if reason is None else "sync")
    assert (reason or "") in passed_over.get("batched", "")
    if reason is not None:
        with pytest.raises(EnvironmentContractError, match=r"vectorization='batched' cannot be had.*" + reason):
            GymnasiumWrapper(env, vectorization="batched", **kwargs)


def test_wrapped_registrations_are_left_alone() -> None:
    wrapped = gymnasium.wrappers.TransformReward(gymnasium.make("Pendulum-v1"), lambda reward: 2 * reward)
    assert chosen(wrapped) == ("sync", {})
    vector = gymnasium.vector.SyncVectorEnv([ClockEnv])
    assert chosen(vector) == ("adapter", {})
    for made in (wrapped, vector):
        with pytest.raises(EnvironmentContractError, match=r"vectorization='batched' makes environments itself"):
            GymnasiumWrapper(made, vectorization="batched")


def test_sync_by_name() -> None:
    assert chosen("Pendulum-v1", vectorization="sync") == ("sync", {})


class HeavyPendulum(Pendulum):
    def advance(self, actions: np.ndarray) -> Any:
        rewards, terminated = super().advance(actions)
        self.state[1] += 1e-5
        return rewards, terminated


class ForgetfulPendulum(Pendulum):
    def draw(self, generator: np.random.Generator) -> np.ndarray:
        return np.zeros(2) if self.elapsed.any() else super().draw(generator)


class LatePendulum(Pendulum):
    def __init__(self, num_envs: int, max_episode_steps: Any, **kwargs: Any) -> None:
        super().__init__(num_envs, max_episode_steps + 1, **kwargs)


class DearPendulum(Pendulum):
    def advance(self, actions: np.ndarray) -> Any:
        rewards, terminated = super().advance(actions)
        return rewards * 1.00001, terminated


class BrokenPendulum(Pendulum):
    def advance(self, actions: np.ndarray) -> Any:
        raise AttributeError("no such field")


@pytest.mark.parametrize(
    "task, reason",
    [
        (HeavyPendulum, r"observation 'state' of environment \d at step \d after reset 0 is .* instead of"),
        (ForgetfulPendulum, r"observation 'state' of environment 0 at step 5 after reset 0"),
        (LatePendulum, r"whether an episode ended, at step 5 after reset 0"),
        (DearPendulum, r"rewards of environment"),
        (BrokenPendulum, r"it fails with what is installed \(AttributeError: no such field\)"),
    ],
)
def test_a_batch_that_differs_is_passed_over(task: Any, reason: str, monkeypatch: Any) -> None:
    place = "gymnasium.envs.classic_control.pendulum:PendulumEnv"
    monkeypatch.setitem(classic_control._TASKS, place, (task, ("g",)))
    wrapper = GymnasiumWrapper("Pendulum-v1", num_envs=2)
    assert wrapper.vectorization["backend"] == "sync"
    with pytest.raises(Unsuited, match=reason):
        raise Unsuited(wrapper.vectorization["passed_over"]["batched"])
    with pytest.raises(EnvironmentContractError, match=reason):
        GymnasiumWrapper("Pendulum-v1", num_envs=2, vectorization="batched")


@pytest.mark.parametrize("num_envs", [1, 5])
def test_batched_and_sync_are_one_environment(num_envs: int) -> None:
    wrappers = [GymnasiumWrapper("CartPole-v1", num_envs=num_envs, vectorization=name) for name in ("batched", "sync")]
    generator = torch.Generator().manual_seed(0)
    ours, theirs = [wrapper.reset(seed=3)[0]["state"] for wrapper in wrappers]
    assert torch.equal(ours, theirs)
    for _ in range(100):
        actions = torch.randint(0, 2, (num_envs, 1), generator=generator)
        one, other = [wrapper.step(actions) for wrapper in wrappers]
        assert torch.equal(one[0]["state"], other[0]["state"])
        assert all(torch.equal(mine, yours) for mine, yours in zip(one[1:4], other[1:4]))


def test_what_another_backend_saved_is_not_exact(log_lines: List[str]) -> None:
    first = GymnasiumWrapper("CartPole-v1", num_envs=2, vectorization="sync")
    first.reset(seed=0)
    second = GymnasiumWrapper("CartPole-v1", num_envs=2)
    second.load_state_dict(first.state_dict())
    assert not second.restored_exactly
    assert "saved by vectorization='sync', these are 'batched'" in log_lines[-1]


def test_spawned_environments_keep_the_choice() -> None:
    sync = GymnasiumWrapper("CartPole-v1", num_envs=4, vectorization="sync").spawn(2)
    assert sync.num_envs == 2 and sync.vectorization["backend"] == "sync"
    batched = GymnasiumWrapper("CartPole-v1", num_envs=4, max_episode_steps=7).spawn(2)
    assert batched.vectorization["backend"] == "batched" and batched.max_episode_length == 7


def test_mujoco_is_batched_and_equal() -> None:
    pytest.importorskip("mujoco")
    # There is nothing to stand in for then; that "auto" takes "sync" for what is unknown is tested above.
    if "Hopper-v5" not in gymnasium.registry:
        pytest.skip("Gymnasium before 1.0 has no tasks of version 5")
    wrappers = [GymnasiumWrapper("Hopper-v5", num_envs=2, vectorization=name) for name in ("auto", "sync")]
    assert wrappers[0].vectorization["backend"] == "batched"
    generator = torch.Generator().manual_seed(0)
    ours, theirs = [wrapper.reset(seed=3)[0]["state"] for wrapper in wrappers]
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    for _ in range(60):
        actions = torch.rand(2, 3, generator=generator) * 2 - 1
        one, other = [wrapper.step(actions) for wrapper in wrappers]
        torch.testing.assert_close(one[0]["state"], other[0]["state"], rtol=1e-6, atol=1e-6)
        assert torch.equal(one[2], other[2]) and torch.equal(one[3], other[3])
