"""What must hold with every supported version of Gymnasium; ``tests/run_gymnasium_versions.py`` runs it with the old.

Nothing here may need more than Gymnasium 0.28 has.
"""

import os
import warnings
from typing import Any, Callable, Dict, List

import gymnasium
import gymnasium.vector
import numpy as np
import pytest
import torch
from gymnasium import spaces
from scripted_envs import SCRIPTS, ClockEnv, OneSpaceEnv, action_for, collect, expected_transitions

from AquaML.environment.checker import check_env
from AquaML.environment.gymnasium_envs import GymnasiumWrapper

BEFORE_1_0 = issubclass(gymnasium.vector.VectorEnv, gymnasium.Env)
AUTORESET_MODE = getattr(gymnasium.vector, "AutoresetMode", None)
NUMBER = 3


def sync_vector() -> Any:
    return gymnasium.vector.SyncVectorEnv([ClockEnv] * NUMBER)


def made_vector() -> Any:
    if BEFORE_1_0:
        return gymnasium.vector.make("Clock-v0", num_envs=NUMBER, asynchronous=False)
    return gymnasium.make_vec("Clock-v0", num_envs=NUMBER, vectorization_mode="sync")


WAYS: Dict[str, Callable[[], GymnasiumWrapper]] = {
    "id": lambda: GymnasiumWrapper("Clock-v0", num_envs=NUMBER),
    "factory": lambda: GymnasiumWrapper(lambda: ClockEnv(overwrite=True), num_envs=NUMBER),
    "vector": lambda: GymnasiumWrapper(sync_vector()),
    "made vector": lambda: GymnasiumWrapper(made_vector()),
}
if AUTORESET_MODE is not None:
    for mode in AUTORESET_MODE:
        WAYS[mode.value] = lambda mode=mode: GymnasiumWrapper(
            gymnasium.vector.SyncVectorEnv([ClockEnv] * NUMBER, autoreset_mode=mode)
        )


def test_the_expected_version_is_used() -> None:
    assert gymnasium.__version__ == os.environ.get("EXPECTED_GYMNASIUM", gymnasium.__version__)


@pytest.mark.parametrize("way", list(WAYS))
def test_hand_computed_transitions(way: str) -> None:
    rows = collect(WAYS[way](), 30)
    for index, script in enumerate(SCRIPTS):
        for row, expected in zip(rows[index], expected_transitions(script, len(rows[index]))):
            state, action, reward, successor, terminated, truncated = row
            assert (state[0], state[1], reward, terminated, truncated) == expected
            assert successor[:2] == (state[0], state[1] + 1) and successor[3] == state[3]
    assert all(ours[: len(theirs)] == theirs[: len(ours)] for ours, theirs in zip(rows, collect(WAYS["id"](), 30)))


def test_a_made_single_environment() -> None:
    assert collect(GymnasiumWrapper(ClockEnv()), 30) == collect(WAYS["id"](), 30)[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = gymnasium.make("Clock-v0")
    assert collect(GymnasiumWrapper(made), 30) == collect(WAYS["id"](), 30)[:1]


def test_the_mode_of_a_vector_environment_is_found(log_lines: List[str]) -> None:
    wrapper = WAYS["vector"]()
    assert wrapper.autoreset == ("same_step" if BEFORE_1_0 else "next_step")
    assert wrapper.has_invalid_rows != BEFORE_1_0 and wrapper.gives_final_observation
    assert not log_lines


@pytest.mark.parametrize("way", list(WAYS))
def test_scalars(way: str) -> None:
    wrapper = WAYS[way]()
    states, _ = wrapper.reset(seed=0)
    seen: Dict[str, List[float]] = {}
    for _ in range(20):
        states, _, _, _, infos = wrapper.step(action_for(states))
        for name, values in infos["log"].items():
            if not torch.isnan(values[0]):
                seen.setdefault(name, []).append(float(values[0, 0]))
    assert set(seen) == {"distance", "terms/speed", "success"}
    assert seen["distance"][:10] == [1, 2, 3, 1, 2, 1, 2, 3, 4, 1]
    assert seen["terms/speed"][:6] == [0.5, 1, 1.5, 0.5, 1, 0.5] and seen["success"][:4] == [0, 1, 0, 0]


def test_wrapped_vector_environments_are_no_single_ones() -> None:
    if BEFORE_1_0:
        wrapped = gymnasium.wrappers.RecordEpisodeStatistics(sync_vector())
    else:
        wrapped = gymnasium.wrappers.vector.RecordEpisodeStatistics(sync_vector())
    wrapper = GymnasiumWrapper(wrapped)
    assert wrapper.num_envs == NUMBER
    assert collect(wrapper, 20) == collect(WAYS["vector"](), 20)
    states, _ = wrapper.reset(seed=0)
    lengths: List[float] = []
    for _ in range(8):
        states, _, _, _, infos = wrapper.step(action_for(states))
        if "episode/l" in infos["log"] and not torch.isnan(infos["log"]["episode/l"][0]):
            lengths.append(float(infos["log"]["episode/l"][0, 0]))
    assert lengths[:2] == [3, 2]


OBSERVATION = spaces.Dict(
    {
        "image": spaces.Box(0, 255, (4, 4, 3), np.uint8),
        "inner": spaces.Dict({"angle": spaces.Box(-1.0, 1.0, (2,), np.float64), "mode": spaces.Discrete(3)}),
        "pair": spaces.Tuple([spaces.MultiBinary(2), spaces.Box(-np.inf, np.inf, ())]),
    }
)
ACTIONS = [
    spaces.Discrete(3),
    spaces.Box(-1.0, 1.0, (2,), np.float64),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(3),
    spaces.Dict({"move": spaces.Box(-1.0, 1.0, (2,)), "grip": spaces.Discrete(2)}),
    spaces.Tuple([spaces.Discrete(2), spaces.Box(-1.0, 1.0, ())]),
]


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("space", ACTIONS, ids=lambda space: type(space).__name__)
def test_all_kinds_of_spaces_keep_the_contract(space: Any, vector: bool) -> None:
    def make() -> OneSpaceEnv:
        return OneSpaceEnv(OBSERVATION, space, length=4)

    env = GymnasiumWrapper(gymnasium.vector.SyncVectorEnv([make, make]) if vector else make, **_two(vector))
    check_env(env, steps=12)
    assert list(env.observation_layout.specs) == ["image", "inner/angle", "inner/mode", "pair/0", "pair/1"]


def _two(vector: bool) -> Dict[str, int]:
    return {} if vector else {"num_envs": 2}


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "FrozenLake-v1"])
def test_gymnasiums_own_environments_keep_the_contract(name: str) -> None:
    check_env(GymnasiumWrapper(name, num_envs=2), steps=60)
    check_env(GymnasiumWrapper(gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(name)] * 2)), steps=60)


def test_replay_is_exact() -> None:
    first, second = (GymnasiumWrapper("CartPole-v1", num_envs=3) for _ in range(2))
    first.reset(seed=11)
    actions = [torch.randint(0, 2, (3, 1)) for _ in range(60)]
    for row in actions[:33]:
        first.step(row)
    assert second.set_state(first.get_state() or {})
    for row in actions[33:]:
        ours, theirs = first.step(row), second.step(row)
        assert torch.equal(ours[0]["state"], theirs[0]["state"]) and torch.equal(ours[2], theirs[2])


def test_seeds_of_vector_environments_are_those_of_single_ones() -> None:
    ours, _ = GymnasiumWrapper("Pendulum-v1", num_envs=2).reset(seed=9)
    theirs, _ = GymnasiumWrapper(gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("Pendulum-v1")] * 2)).reset(
        seed=9
    )
    assert torch.equal(ours["state"], theirs["state"])
