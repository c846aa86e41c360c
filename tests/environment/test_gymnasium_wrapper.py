"""The wrapper around real Gymnasium environments: contract, errors, rendering."""

import os
import subprocess
import sys
from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted_envs import ClockEnv, OneSpaceEnv, action_for

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import (
    AquaMLError,
    EnvironmentContractError,
    EnvironmentFailedError,
    MissingDependencyError,
    SpaceError,
)

ZERO = {"action": torch.zeros(1, 1)}


def started(env: Any, **kwargs: Any) -> GymnasiumWrapper:
    wrapper = GymnasiumWrapper(env, **kwargs)
    wrapper.reset(seed=0)
    return wrapper


# ------------------------------------------------------------------ the contract


def test_what_the_wrapper_says_of_itself() -> None:
    wrapper = GymnasiumWrapper("Pendulum-v1", num_envs=3)
    info = wrapper.getEnvInfo()
    assert info["name"] == "Pendulum-v1" and info["num_envs"] == 3 and info["max_episode_length"] == 200
    assert list(info["observation_cfg"]) == ["state"] and list(info["action_cfg"]) == ["action"]
    assert info["observation_cfg"]["state"].shape == (3,) and info["action_cfg"]["action"].high.tolist() == [2.0]
    assert info["autoreset"] == "same_step" and not info["has_invalid_rows"] and info["gives_final_observation"]


def test_shapes_and_types_of_a_step() -> None:
    wrapper = GymnasiumWrapper("Pendulum-v1", num_envs=3)
    states, infos = wrapper.reset(seed=1)
    assert states["state"].shape == (3, 3) and states["state"].dtype == torch.float32
    assert infos == {"final_obs": None, "valid": None, "log": {}}
    states, rewards, terminated, truncated, infos = wrapper.step({"action": torch.zeros(3, 1)})
    assert rewards.shape == terminated.shape == truncated.shape == (3, 1)
    assert rewards.dtype == torch.float32 and terminated.dtype == truncated.dtype == torch.bool
    assert set(infos) == {"final_obs", "valid", "log"}


def test_rewards_and_observations_are_gymnasiums_own() -> None:
    plain = gymnasium.make("Pendulum-v1")
    observation, _ = plain.reset(seed=5)
    wrapper = GymnasiumWrapper("Pendulum-v1", num_envs=2)
    states, _ = wrapper.reset(seed=4)
    for _ in range(30):
        np.testing.assert_array_equal(states["state"][1].numpy(), observation)
        observation, reward, _, _, _ = plain.step(np.array([0.3], np.float32))
        states, rewards, _, _, _ = wrapper.step(torch.full((2, 1), 0.3))
        assert float(rewards[1, 0]) == np.float32(reward)


def test_results_stay_until_the_second_next_step() -> None:
    for env in ("Clock-v0", SyncVectorEnv([ClockEnv] * 1, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)):
        wrapper = GymnasiumWrapper(env)
        states, _ = wrapper.reset(seed=0)
        held, copies = [states["state"]], [states["state"].clone()]
        for _ in range(12):
            observations, rewards, terminated, truncated, infos = wrapper.step(ZERO)
            for value, copy in zip(held, copies):
                assert torch.equal(value, copy)
            held = [observations["state"], rewards, terminated, truncated, infos["log"]["distance"]]
            if infos["final_obs"] is not None:
                held.append(infos["final_obs"]["state"])
            copies = [value.clone() for value in held]


def test_actions_are_clipped_on_a_copy() -> None:
    env = ClockEnv()
    wrapper = started(env)
    actions = {"action": torch.tensor([[7.0]])}
    _, rewards, _, _, _ = wrapper.step(actions)
    assert env.received[0].tolist() == [2.0] and float(rewards) == 1 + 2.0
    # The environment wrote 99 into what it was given.
    assert actions["action"].tolist() == [[7.0]]


@pytest.mark.parametrize("mode, given, received", [("clip", 7.0, 2.0), ("rescale", 0.5, 1.0), ("none", 7.0, 7.0)])
@pytest.mark.parametrize("vector", [False, True])
def test_bounds_of_actions(mode: str, given: float, received: float, vector: bool) -> None:
    env = ClockEnv()
    wrapper = started(SyncVectorEnv([lambda: env]) if vector else env, action_bounds=mode)
    wrapper.step(torch.tensor([[given]]))
    assert env.received[0].tolist() == [received] and env.received[0].dtype == np.float32


def test_seeds() -> None:
    wrapper = GymnasiumWrapper("Clock-v0", num_envs=2, seed=3)
    first = wrapper.reset()[0]["state"].clone()
    second = wrapper.reset()[0]["state"].clone()
    assert not torch.equal(first, second)
    assert torch.equal(wrapper.reset(seed=3)[0]["state"], first)
    # Environment i has the seed + i, alone as well.
    assert torch.equal(GymnasiumWrapper("Clock-v0", seed=4).reset()[0]["state"][0], first[1])


@pytest.mark.parametrize(
    "action_space, action, received",
    [
        (spaces.Discrete(3, start=5), torch.tensor([[2]]), 7),
        (spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])), torch.tensor([[[1, 2], [3, 4]]]), [[1, 2], [3, 4]]),
        (spaces.MultiBinary((2, 2)), torch.tensor([[[1, 0], [0, 1]]]), [[1, 0], [0, 1]]),
        (spaces.Box(-1.0, 1.0, (), np.float32), torch.tensor([[0.5]]), 0.5),
        (spaces.Box(-1.0, 1.0, (2, 2), np.float64), torch.full((1, 2, 2), 0.5), [[0.5, 0.5], [0.5, 0.5]]),
    ],
)
@pytest.mark.parametrize("vector", [False, True])
def test_every_kind_of_action_arrives_in_its_space(action_space: Any, action: Any, received: Any, vector: bool) -> None:
    env = OneSpaceEnv(action_space=action_space)
    wrapper = started(SyncVectorEnv([lambda: env]) if vector else env)
    wrapper.step(action)  # The environment asserts that its space contains the action.
    assert np.asarray(env.received[0]).tolist() == received


NESTED = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (4, 4, 3), np.uint8),
        "joints": spaces.Dict({"angle": spaces.Box(-1.0, 1.0, (2,), np.float64), "mode": spaces.Discrete(3, start=1)}),
        "pair": spaces.Tuple([spaces.MultiBinary(2), spaces.Box(-np.inf, np.inf, ())]),
    }
)


@pytest.mark.parametrize("mode", [None] + list(AutoresetMode))
def test_nested_observations_and_actions(mode: Any) -> None:
    action_space = spaces.Dict({"move": spaces.Box(-1.0, 1.0, (2,)), "grip": spaces.Tuple([spaces.Discrete(2)])})

    def make() -> OneSpaceEnv:
        return OneSpaceEnv(NESTED, action_space, length=3)

    env = make if mode is None else SyncVectorEnv([make, make], autoreset_mode=mode)
    wrapper = started(env, **({"num_envs": 2} if mode is None else {}))
    expected = {
        "camera": ((4, 4, 3), torch.uint8),
        "joints/angle": ((2,), torch.float32),
        "joints/mode": ((1,), torch.int64),
        "pair/0": ((2,), torch.int8),
        "pair/1": ((1,), torch.float32),
    }
    assert list(wrapper.action_layout.specs) == ["grip/0", "move"]
    for _ in range(7):
        actions = {"move": torch.rand(2, 2), "grip/0": torch.ones(2, 1, dtype=torch.int64)}
        observations, _, _, _, infos = wrapper.step(actions)
        for values in (observations, infos["final_obs"] or observations):
            assert {key: (tuple(value.shape[1:]), value.dtype) for key, value in values.items()} == expected
        assert int(observations["joints/mode"].min()) >= 0 and int(observations["joints/mode"].max()) <= 2


class BatchedVector(gymnasium.vector.VectorEnv):
    """A simulator's own vector environment: batched spaces, float32 rewards, torch-like habits."""

    def __init__(self, rows: int = 2) -> None:
        self.num_envs = 2
        self.rows = rows
        self.single_observation_space = spaces.Tuple([spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(4)])
        self.single_action_space = spaces.Box(-1.0, 1.0, (2,))
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, 2)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, 2)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def _observe(self) -> Any:
        return np.zeros((self.rows, 3), np.float32), np.arange(2)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self._observe(), {}

    def step(self, actions: Any) -> Any:
        false = np.zeros(2, bool)
        return self._observe(), actions.sum(axis=1).astype(np.float32), false, false, {"height": np.array([1, 2])}


def test_a_custom_vector_environment() -> None:
    wrapper = started(BatchedVector())
    observations, rewards, _, _, infos = wrapper.step(torch.ones(2, 2))
    assert observations["0"].shape == (2, 3) and observations["1"].tolist() == [[0], [1]]
    assert rewards.tolist() == [[2.0], [2.0]] and infos["log"]["height"].tolist() == [[1.0], [2.0]]
    with pytest.raises(EnvironmentContractError, match=r"BatchedVector of 2 .*'0' has shape \(5, 3\).*\(2, 3\)"):
        GymnasiumWrapper(BatchedVector(rows=5)).reset()


# ------------------------------------------------------------------ life


def test_close_twice_and_use_after_close() -> None:
    wrapper = started("CartPole-v1")
    wrapper.close()
    wrapper.close()
    for use in (wrapper.reset, lambda: wrapper.step(ZERO)):
        with pytest.raises(EnvironmentContractError, match=r"'CartPole-v1' is closed; make a new wrapper"):
            use()


def test_spawned_environments_are_independent_and_alike() -> None:
    wrapper = started("Clock-v0", num_envs=2, action_bounds="rescale", overwrite=True)
    state = wrapper.step(torch.zeros(2, 1))[0]["state"].clone()
    spawned = wrapper.spawn(3)
    assert spawned.num_envs == 3 and spawned.action_bounds == "rescale" and spawned.name == wrapper.name
    spawned.reset(seed=0)
    spawned.close()
    assert (wrapper.step(torch.zeros(2, 1))[0]["state"][:, 1] == state[:, 1] + 1).any()


def test_made_environments_cannot_be_spawned() -> None:
    with pytest.raises(EnvironmentContractError, match=r"evaluation_env="):
        GymnasiumWrapper(gymnasium.make("CartPole-v1")).spawn(2)


# ------------------------------------------------------------------ rendering


def test_pictures() -> None:
    wrapper = GymnasiumWrapper("Clock-v0", num_envs=2, render_mode="rgb_array")
    wrapper.reset(seed=0)
    assert wrapper.render().shape == (2, 2, 3)


def test_rendering_without_a_render_mode_says_what_to_do() -> None:
    with pytest.raises(EnvironmentContractError, match=r"render_mode='human'"):
        started("Clock-v0").render()


NO_DISPLAY = """
import torch
from loguru import logger
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
lines = []
logger.remove()
logger.add(lambda line: lines.append(str(line)))
def play(**kwargs):
    wrapper = GymnasiumWrapper("CartPole-v1", num_envs=2, **kwargs)
    wrapper.reset()
    states, _ = wrapper.reset(seed=3)
    rows = [states["state"].clone()]
    for step in range(40):
        rows.append(wrapper.step(torch.full((2, 1), step % 3 // 2))[0]["state"].clone())
    wrapper.render() if kwargs else None
    wrapper.close()
    return torch.stack(rows)
assert torch.equal(play(render_mode="human"), play())
lines = [line for line in lines if "WARNING" in line]
assert len(lines) == 1 and "cannot be shown" in lines[0] and "gymnasium[classic-control]" in lines[0], lines
"""


def test_no_display_never_ends_a_run() -> None:
    pytest.importorskip("pygame")
    environment = dict(os.environ, SDL_VIDEODRIVER="there-is-no-such-driver")
    done = subprocess.run(
        [sys.executable, "-c", NO_DISPLAY],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


class LosesItsDisplay(ClockEnv):
    """Shows itself for three steps; then the display is gone."""

    metadata = {"render_modes": ["human"]}

    def step(self, action: np.ndarray) -> Any:
        result = super().step(action)
        if self.render_mode == "human" and len(self.received) == 3:
            raise OSError("the display is gone")
        return result


class HasNoWindow(ClockEnv):
    def __init__(self, render_mode: Any = None) -> None:
        if render_mode is not None:
            raise ValueError("this environment draws nothing")
        super().__init__()


class BreaksAtOnce(ClockEnv):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        raise OSError("the simulator is missing")


for made in (LosesItsDisplay, HasNoWindow, BreaksAtOnce):
    gymnasium.register("{}-v0".format(made.__name__), entry_point=made, disable_env_checker=True)


@pytest.mark.parametrize("name", ["LosesItsDisplay-v0", "HasNoWindow-v0"])
def test_the_episode_goes_on_without_the_window(name: str, log_lines: List[str]) -> None:
    rows: List[torch.Tensor] = []
    for env in (GymnasiumWrapper(name, num_envs=2, render_mode="human"), GymnasiumWrapper(ClockEnv, num_envs=2)):
        states, _ = env.reset(seed=2)
        for _ in range(9):
            states, rewards, _, _, _ = env.step(action_for(states))
            rows.append(torch.cat([states["state"], rewards], dim=1).clone())
    assert torch.equal(torch.stack(rows[:9]), torch.stack(rows[9:]))
    assert len([line for line in log_lines if "cannot be shown" in line]) == 1
    assert len([line for line in log_lines if line.startswith("WARNING")]) == 1


def test_a_failure_that_has_nothing_to_do_with_a_window_is_raised() -> None:
    with pytest.raises(
        EnvironmentFailedError, match=r"Environment 0 raised OSError in reset\(\): the simulator is missing"
    ):
        GymnasiumWrapper("BreaksAtOnce-v0", render_mode="human").reset()


# ------------------------------------------------------------------ misuse


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(env="NoSuchTask-v0"), r"no environment 'NoSuchTask-v0'"),
        (dict(env="CartPol-v1"), r"CartPole"),
        (dict(env=5), r"5 is no environment: expected an id, a function"),
        (dict(env=None), r"None is no environment"),
        (dict(env=lambda: 5), r"returned 5; expected a gymnasium.Env"),
        (dict(env="CartPole-v1", num_envs=0), r"num_envs is 0; expected an integer of at least 1"),
        (dict(env="CartPole-v1", num_envs=2.0), r"num_envs is 2.0"),
        (dict(env="CartPole-v1", seed=-1), r"seed is -1; expected None or an integer"),
        (dict(env="CartPole-v1", seed="zero"), r"seed is 'zero'"),
        (dict(env="CartPole-v1", render_mode="humna"), r"render_mode is 'humna'. Did you mean 'human'"),
        (dict(env="CartPole-v1", colour=3), r"'CartPole-v1' cannot be made with the keywords \['colour'\]"),
        (dict(env="CartPole-v1", autoreset="same_step"), r"describe a made vector environment"),
        (dict(env=ClockEnv, colour=3), r"colour goes into the function that makes the environment"),
        (dict(env=ClockEnv, render_mode="human"), r"render_mode goes into the function"),
        (dict(env="CartPole-v1", action_bounds="cut"), r"action_bounds is 'cut'"),
    ],
)
def test_misuse_at_construction(arguments: Dict[str, Any], message: str) -> None:
    with pytest.raises(AquaMLError, match=message):
        GymnasiumWrapper(**arguments)


def test_keywords_for_made_environments() -> None:
    with pytest.raises(EnvironmentContractError, match=r"is made already, so num_envs=2"):
        GymnasiumWrapper(ClockEnv(), num_envs=2)
    vector = SyncVectorEnv([ClockEnv])
    with pytest.raises(EnvironmentContractError, match=r"num_envs, render_mode and \['colour'\] have no effect"):
        GymnasiumWrapper(vector, colour=3)
    with pytest.raises(EnvironmentContractError, match=r"autoreset is 'sometimes'; expected"):
        GymnasiumWrapper(vector, autoreset="sometimes")


def test_one_environment_twice_and_different_ones() -> None:
    env = ClockEnv()
    with pytest.raises(EnvironmentContractError, match=r"must make a new one on each call"):
        GymnasiumWrapper(lambda: env, num_envs=2)
    sizes = iter([2, 3])
    with pytest.raises(EnvironmentContractError, match=r"Environment 1 has other spaces.*state.shape is \[3\]"):
        GymnasiumWrapper(lambda: OneSpaceEnv(spaces.Box(0.0, 1.0, (next(sizes),))), num_envs=2)


def test_unsupported_spaces() -> None:
    with pytest.raises(SpaceError, match=r"Text is not supported"):
        GymnasiumWrapper(OneSpaceEnv(spaces.Dict({"words": spaces.Text(4)})))
    with pytest.raises(SpaceError, match=r"'action'.*OneOf is not supported"):
        GymnasiumWrapper(OneSpaceEnv(action_space=spaces.OneOf([spaces.Discrete(2)])))


def test_environments_that_reset_themselves() -> None:
    with pytest.raises(EnvironmentContractError, match=r"leave that wrapper out"):
        GymnasiumWrapper(gymnasium.wrappers.Autoreset(ClockEnv()))


def test_a_missing_package() -> None:
    pytest.importorskip("gymnasium")
    try:
        import mujoco  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match=r"(?i)'Ant-v4' cannot be made.*mujoco"):
            GymnasiumWrapper("Ant-v4")


def test_a_step_before_the_first_reset() -> None:
    with pytest.raises(EnvironmentContractError, match=r"before its first reset; call reset\(\)"):
        GymnasiumWrapper("Clock-v0").step(ZERO)


@pytest.mark.parametrize(
    "actions, message",
    [
        ({"acton": torch.zeros(1, 1)}, r"gave actions 'acton'; expected 'action'"),
        ({"action": torch.zeros(2, 1)}, r"shape \(2, 1\); expected \(1, 1\)"),
        (torch.zeros(1), r"shape \(1,\); expected \(1, 1\)"),
        (0.5, r"gave float; expected a dict of tensors with the keys 'action', or that tensor"),
        (torch.tensor([[float("nan")]]), r"'action' holds NaN for environment 0"),
    ],
)
def test_misuse_of_step(actions: Any, message: str) -> None:
    with pytest.raises(EnvironmentContractError, match=message):
        started("Clock-v0").step(actions)


BAD = [
    (dict(observation=np.zeros(4, np.float32)), r"Environment 1 .*'state' has shape \(4,\).*declares \(3,\)"),
    (dict(observation={"x": 1}), r"Environment 1 .*'state'"),
    (dict(observation=np.array([0, np.nan, 0])), r"Observation of environment 1 holds nan \('state'\)"),
    (dict(observation=np.array([0, 0, -np.inf])), r"Observation of environment 1 holds -inf \('state'\)"),
    (dict(observation=np.full(3, np.nan), length=1), r"last observation of environment 1 holds nan \('state'\)"),
    (dict(reward=np.nan), r"The reward of environment 1 holds nan"),
    (dict(reward=None), r"Environment 1: step\(\) returned None as reward; expected one number"),
    (dict(reward=np.zeros(2)), r"returned ndarray of shape \(2,\) as reward"),
]


@pytest.mark.parametrize("arguments, message", BAD)
def test_environments_that_break_their_word(arguments: Dict[str, Any], message: str) -> None:
    made = iter([OneSpaceEnv(), OneSpaceEnv(**arguments)])
    wrapper = started(lambda: next(made), num_envs=2)
    with pytest.raises(EnvironmentContractError, match=message):
        wrapper.step(torch.zeros(2, 1))


def test_a_nan_from_a_foreign_vector_environment() -> None:
    made = [OneSpaceEnv, lambda: OneSpaceEnv(observation=np.full(3, np.nan, np.float32))]
    wrapper = started(SyncVectorEnv(made))
    with pytest.raises(EnvironmentContractError, match=r"Observation of environment 1 holds nan \('state'\)"):
        wrapper.step(torch.zeros(2, 1))


class OldStyle(ClockEnv):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0]


class FourValues(ClockEnv):
    def step(self, action: np.ndarray) -> Any:
        return super().step(action)[:4]


def test_environments_of_the_old_gym() -> None:
    with pytest.raises(EnvironmentContractError, match=r"reset\(\) returned ndarray of shape \(4,\); expected"):
        GymnasiumWrapper(OldStyle()).reset()
    with pytest.raises(EnvironmentContractError, match=r"step\(\) returned a tuple of 4; expected \(observation, rew"):
        started(FourValues()).step(ZERO)
