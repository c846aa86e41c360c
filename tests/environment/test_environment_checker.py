"""``check_env`` passes what keeps the contract and names all that breaks it."""

from typing import Any, Callable, Dict, List, Optional, Tuple

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted_envs import ClockEnv, OneSpaceEnv

import AquaML
from AquaML.environment.base import EnvironmentWrapper
from AquaML.environment.checker import check_env
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.spaces import layout_of
from AquaML.errors import EnvironmentContractError


class GoodWrapper(EnvironmentWrapper):
    """A hand-written wrapper that keeps the contract: a counter with two observations, episodes of 5 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.num_envs = 2
        self.name = "counter"
        space = spaces.Dict({"state": spaces.Box(0.0, 10.0, (2,)), "extra": spaces.Discrete(9)})
        self.observation_layout = layout_of(space, "state")
        self.action_layout = layout_of(spaces.Box(-1.0, 1.0, (1,)), "action")
        self._clock = torch.zeros(2, 1)

    def observe(self) -> Dict[str, torch.Tensor]:
        return {"extra": self._clock.to(torch.int64), "state": self._clock.repeat(1, 2)}

    def reset(self, seed: Optional[int] = None) -> Any:
        self._clock = torch.zeros(2, 1)
        return self.observe(), {"final_obs": None, "valid": None, "log": {}}

    def step(self, actions: Any) -> Any:
        self._clock = self._clock + 1
        truncated = self._clock >= 5
        final = self.observe() if bool(truncated.any()) else None
        self._clock = torch.where(truncated, torch.zeros(2, 1), self._clock)
        infos = {"final_obs": final, "valid": None, "log": {"height": self._clock.clone()}}
        rewards = actions["action"].clone()
        return self.observe(), rewards, torch.zeros(2, 1, dtype=torch.bool), truncated, infos


@pytest.mark.parametrize(
    "make",
    [
        GoodWrapper,
        lambda: GymnasiumWrapper("Pendulum-v1", num_envs=3),
        lambda: GymnasiumWrapper("CartPole-v1", num_envs=2),
        lambda: GymnasiumWrapper("Pendulum-v1", num_envs=2, action_bounds="rescale"),
        lambda: GymnasiumWrapper("MountainCar-v0", finite_horizon=True),
        lambda: GymnasiumWrapper(lambda: ClockEnv(overwrite=True), num_envs=3),
        lambda: GymnasiumWrapper(SyncVectorEnv([ClockEnv] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)),
        lambda: GymnasiumWrapper(SyncVectorEnv([ClockEnv] * 3, autoreset_mode=AutoresetMode.SAME_STEP, copy=False)),
        lambda: GymnasiumWrapper(SyncVectorEnv([ClockEnv] * 3, autoreset_mode=AutoresetMode.DISABLED)),
        lambda: GymnasiumWrapper(gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point")),
        lambda: GymnasiumWrapper(OneSpaceEnv(action_space=spaces.MultiDiscrete([2, 3]))),
        lambda: GymnasiumWrapper(OneSpaceEnv(action_space=spaces.Box(np.array([0, -np.inf]), np.inf, (2,)))),
    ],
)
def test_what_keeps_the_contract_passes(make: Callable[[], EnvironmentWrapper], log_lines: List[str]) -> None:
    AquaML.check_env(make(), steps=60)
    assert any("keeps the step contract (60 steps of" in line for line in log_lines)


def test_a_hint_if_no_episode_ended(log_lines: List[str]) -> None:
    check_env(GymnasiumWrapper("Pendulum-v1"), steps=20)
    assert "no episode ended within 20 steps" in log_lines[-1] and log_lines[-1].startswith("WARNING")
    del log_lines[:]
    check_env(GymnasiumWrapper("Pendulum-v1"), steps=201)
    assert "1 episodes ended" in log_lines[-1] and not any(line.startswith("WARNING") for line in log_lines)


Change = Callable[[Any], Any]


def broken(**changes: Change) -> EnvironmentWrapper:
    """Return the good wrapper with parts of what ``step`` returns changed."""

    class Broken(GoodWrapper):
        def step(self, actions: Any) -> Any:
            names = ("observations", "rewards", "terminated", "truncated", "infos")
            parts = dict(zip(names, super().step(actions)))
            for name, change in changes.items():
                parts[name] = change(parts[name])
            return tuple(parts.values())

    return Broken()


def replaced(key: str, change: Change) -> Change:
    return lambda values: {name: change(value) if name == key else value for name, value in values.items()}


def without(key: str) -> Change:
    return lambda values: {name: value for name, value in values.items() if name != key}


def put(row: int, value: float) -> Change:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor[row] = value
        return tensor

    return change


CASES: List[Tuple[Dict[str, Change], str]] = [
    (dict(observations=lambda o: o["state"]), r"observations are Tensor, expected a dict"),
    (dict(observations=without("state")), r"have the keys 'extra', expected 'extra', 'state' in this order"),
    (dict(observations=lambda o: dict(reversed(list(o.items())))), r"keys 'state', 'extra', expected 'extra', 'state'"),
    (dict(observations=replaced("state", lambda v: v[:, :1])), r"\['state'\] has shape \(2, 1\), expected \(2, 2\)"),
    (
        dict(observations=replaced("state", lambda v: v.double())),
        r"\['state'\] is torch.float64, expected torch.float32",
    ),
    (dict(observations=replaced("extra", lambda v: v.numpy())), r"\['extra'\] is ndarray, expected a tensor"),
    (dict(observations=replaced("state", put(1, float("nan")))), r"\['state'\] of environment 1 holds nan"),
    (dict(observations=replaced("state", put(0, float("inf")))), r"\['state'\] of environment 0 holds inf"),
    (dict(observations=replaced("state", put(1, 11.0))), r"environment 1 is 11 at index \[0\], outside .* 0 … 10"),
    (dict(observations=replaced("extra", put(1, 9))), r"'extra'\] of environment 1 is 9 at index \[0\], outside"),
    (dict(observations=replaced("state", lambda v: v.to("meta"))), r"'state'\] lives on meta, expected cpu"),
    (dict(rewards=lambda r: r[:, 0]), r"rewards has shape \(2,\), expected \(2, 1\)"),
    (dict(rewards=lambda r: r.double()), r"rewards is torch.float64, expected torch.float32"),
    (dict(rewards=put(1, float("nan"))), r"rewards of environment 1 holds nan"),
    (dict(terminated=lambda t: t.float()), r"terminated is torch.float32, expected torch.bool"),
    (dict(truncated=lambda t: t[:, 0]), r"truncated has shape \(2,\), expected \(2, 1\)"),
    (dict(terminated=lambda t: ~t), r"environment \d is both terminated and truncated"),
    (dict(infos=lambda i: None), r"infos are NoneType, expected a dict"),
    (dict(infos=without("final_obs")), r"infos have no 'final_obs'"),
    (dict(infos=without("valid")), r"infos have no 'valid'"),
    (dict(infos=without("log")), r"infos have no 'log'"),
    (
        dict(infos=replaced("final_obs", lambda v: None)),
        r"step 4: an episode of environment 0 ended, but final_obs is None",
    ),
    (dict(infos=replaced("final_obs", lambda v: v and without("state")(v))), r"final_obs have the keys 'extra'"),
    (
        dict(infos=replaced("final_obs", lambda v: v and replaced("state", put(1, float("nan")))(v))),
        r"final_obs\['state'\] of environment 1 holds nan",
    ),
    (
        dict(infos=replaced("valid", lambda v: torch.ones(2, dtype=torch.bool))),
        r"'valid'\] has shape \(2,\), expected \(2, 1\)",
    ),
    (dict(infos=replaced("valid", lambda v: torch.zeros(2, 1, dtype=torch.bool))), r"has_invalid_rows is False"),
    (dict(infos=replaced("log", lambda v: 5)), r"infos\['log'\] is int, expected a dict"),
    (dict(infos=replaced("log", replaced("height", lambda v: v[:, 0]))), r"\['log'\]\['height'\] has shape \(2,\)"),
    (dict(rewards=lambda r: r + torch.rand(2, 1)), r"'rewards' differ.* two runs with reset\(seed=0\)"),
]


@pytest.mark.parametrize("changes, message", CASES)
def test_what_breaks_the_contract_is_named(changes: Dict[str, Change], message: str) -> None:
    with pytest.raises(EnvironmentContractError, match=message) as caught:
        check_env(broken(**changes), steps=30)
    assert "'counter' breaks the step contract in" in str(caught.value)


def test_all_problems_are_told_at_once_and_each_once() -> None:
    wrapper = broken(rewards=lambda r: r[:, 0], terminated=lambda t: t.float(), infos=without("log"))
    with pytest.raises(EnvironmentContractError) as caught:
        check_env(wrapper, steps=30)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4 and "in 3 way(s)" in lines[0]


def test_overwritten_results_are_found() -> None:
    class Reuses(GoodWrapper):
        buffer = torch.zeros(2, 2)

        def observe(self) -> Dict[str, torch.Tensor]:
            self.buffer.copy_(self._clock.repeat(1, 2))
            return {"extra": self._clock.to(torch.int64), "state": self.buffer}

    with pytest.raises(EnvironmentContractError, match=r"'state' as returned by reset was overwritten; it must stay"):
        check_env(Reuses(), steps=4)


@pytest.mark.parametrize("part", ["rewards", "log/height"])
def test_overwritten_parts_of_a_step_are_found(part: str) -> None:
    class Reuses(GoodWrapper):
        buffer = torch.zeros(2, 1)

        def step(self, actions: Any) -> Any:
            observations, rewards, terminated, truncated, infos = super().step(actions)
            self.buffer.copy_(rewards)
            if part == "rewards":
                rewards = self.buffer
            else:
                infos["log"]["height"] = self.buffer
            return observations, rewards, terminated, truncated, infos

    with pytest.raises(EnvironmentContractError, match=r"step 1: '{}' as returned by step 0 was overwr".format(part)):
        check_env(Reuses(), steps=4)


def test_changed_actions_are_found() -> None:
    class Mutates(GoodWrapper):
        def step(self, actions: Any) -> Any:
            result = super().step(actions)
            actions["action"].clamp_(-0.1, 0.1)
            return result

    with pytest.raises(EnvironmentContractError, match=r"step 0: the action 'action' handed to step\(\) was changed"):
        check_env(Mutates(), steps=4)


def test_unseeded_resets_are_found() -> None:
    class Unseeded(GoodWrapper):
        def reset(self, seed: Optional[int] = None) -> Any:
            super().reset(seed)
            self._clock = torch.rand(2, 1)
            return self.observe(), {"final_obs": None, "valid": None, "log": {}}

    with pytest.raises(EnvironmentContractError, match=r"reset: 'state' differ\(s\) between two runs"):
        check_env(Unseeded(), steps=4)


@pytest.mark.parametrize(
    "attributes, message",
    [
        (dict(num_envs=0), r"num_envs is 0, expected an integer >= 1"),
        (dict(num_envs=None), r"num_envs is None"),
        (dict(name=None), r"name is None, expected a string"),
        (dict(observation_layout=None), r"observation_layout is no SpaceLayout"),
        (dict(action_layout={}), r"action_layout is no SpaceLayout"),
        (dict(autoreset="never"), r"autoreset is 'never', expected 'same_step' or 'next_step'"),
        (dict(autoreset="next_step"), r"has_invalid_rows is False"),
    ],
)
def test_wrong_attributes_are_named(attributes: Dict[str, Any], message: str) -> None:
    wrapper = GoodWrapper()
    for name, value in attributes.items():
        setattr(wrapper, name, value)
    with pytest.raises(EnvironmentContractError, match=message):
        check_env(wrapper, steps=4)


def test_a_short_env_info_is_found() -> None:
    class Short(GoodWrapper):
        def getEnvInfo(self) -> Dict[str, Any]:
            info = super().getEnvInfo()
            del info["max_episode_length"]
            return dict(info, action_cfg={})

    with pytest.raises(EnvironmentContractError) as caught:
        check_env(Short(), steps=4)
    assert "'max_episode_length' missing" in str(caught.value) and "'action_cfg' has the keys" in str(caught.value)


@pytest.mark.parametrize("result, message", [((1, 2), r"returned a tuple of 2, expected"), (5, r"returned int")])
def test_other_numbers_of_results(result: Any, message: str) -> None:
    class Other(GoodWrapper):
        def step(self, actions: Any) -> Any:
            return result

    with pytest.raises(EnvironmentContractError, match=message):
        check_env(Other(), steps=4)


def test_what_the_wrapper_finds_itself_is_listed() -> None:
    made = iter([OneSpaceEnv(), OneSpaceEnv(observation=np.full(3, np.nan))])
    with pytest.raises(EnvironmentContractError, match=r"'OneSpaceEnv' breaks the step contract in 1 way.*\n.*envi"):
        check_env(GymnasiumWrapper(lambda: next(made), num_envs=2))


def test_an_observation_outside_of_its_bounds() -> None:
    wrapper = GymnasiumWrapper(OneSpaceEnv(observation=np.array([0.0, 0.0, 1.5])))
    with pytest.raises(EnvironmentContractError, match=r"'state'\] of environment 0 is 1.5 at index \[2\].*-1 … 1"):
        check_env(wrapper)


@pytest.mark.parametrize(
    "wrapper, message", [(ClockEnv(), r"check_env got ClockEnv; .*GymnasiumWrapper"), (3, r"got int")]
)
def test_what_is_no_wrapper(wrapper: Any, message: str) -> None:
    with pytest.raises(EnvironmentContractError, match=message):
        check_env(wrapper)


def test_steps_must_be_positive() -> None:
    with pytest.raises(EnvironmentContractError, match=r"steps is 0; expected an integer of at least 1"):
        check_env(GoodWrapper(), steps=0)
