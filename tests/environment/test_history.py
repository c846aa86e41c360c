"""Histories against lists that are kept by hand, in every autoreset mode."""

import math
from typing import Any, Callable, Dict, List

import gymnasium
import gymnasium.vector
import numpy as np
import pytest
import torch
from scripted_envs import ClockEnv, OneSpaceEnv, action_for

import AquaML
from AquaML.environment.checker import check_env
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.history import HistoryWrapper, ObservationHistory
from AquaML.environment.saved_spaces import read_layout
from AquaML.errors import EnvironmentContractError, StateError
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

spaces = gymnasium.spaces
NUMBER, LENGTH = 3, 3


def vector(mode: str) -> GymnasiumWrapper:
    modes = getattr(gymnasium.vector, "AutoresetMode", None)
    if modes is None:
        # Older ones cannot be asked for a mode; environments that are built by name are stacked there, too.
        pytest.skip("autoreset modes came with Gymnasium 1.1")
    return GymnasiumWrapper(
        gymnasium.vector.SyncVectorEnv([ClockEnv] * NUMBER, autoreset_mode=getattr(modes, mode)),
    )


WAYS: Dict[str, Callable[[], GymnasiumWrapper]] = {
    "built": lambda: GymnasiumWrapper("Clock-v0", num_envs=NUMBER),
    "next step": lambda: vector("NEXT_STEP"),
    "same step": lambda: vector("SAME_STEP"),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_every_history_is_that_of_its_episode(way: str) -> None:
    plain, stacked = WAYS[way](), HistoryWrapper(WAYS[way](), LENGTH)
    assert stacked.autoreset == plain.autoreset and stacked.has_invalid_rows == plain.has_invalid_rows
    states, _ = plain.reset(seed=0)
    histories, _ = stacked.reset(seed=0)
    # By hand: a list per environment, begun anew with its first observation.
    lists: List[List[Any]] = [[row] * LENGTH for row in states["state"].tolist()]
    ended = 0
    before = torch.zeros((NUMBER, 1), dtype=torch.bool)
    for _ in range(40):
        assert histories["state"].tolist() == lists
        actions = action_for(states)
        states, rewards, terminated, truncated, infos = plain.step(actions)
        histories, *others, stacked_infos = stacked.step(actions)
        for mine, theirs in zip(others, (rewards, terminated, truncated)):
            assert torch.equal(mine, theirs)
        done = terminated | truncated
        for row in range(NUMBER):
            present = states["state"][row].tolist()
            if plain.autoreset == "same_step" and done[row, 0]:
                last = infos["final_obs"]["state"][row].tolist()
                assert stacked_infos["final_obs"]["state"][row].tolist() == lists[row][1:] + [last]
                lists[row] = [present] * LENGTH
                ended += 1
            elif plain.autoreset == "next_step" and before[row, 0]:
                assert not infos["valid"][row, 0] and not stacked_infos["valid"][row, 0]
                lists[row] = [present] * LENGTH
                ended += 1
            else:
                lists[row] = lists[row][1:] + [present]
        before = done.clone()
    assert ended > 20


@pytest.mark.parametrize("way", list(WAYS))
def test_the_contract_is_kept(way: str) -> None:
    check_env(HistoryWrapper(WAYS[way](), LENGTH), steps=60)


MIXED = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (4, 4, 3), np.uint8),
        "mode": spaces.Discrete(4, start=2),
        "inner": spaces.Dict({"state": spaces.Box(-1.0, 1.0, (2,), np.float32), "on": spaces.MultiBinary(3)}),
    }
)


def test_every_kind_of_space_is_stacked() -> None:
    env = HistoryWrapper(GymnasiumWrapper(lambda: OneSpaceEnv(MIXED), num_envs=2), 4)
    specs = env.getEnvInfo()["observation_cfg"]
    assert specs == env.observation_layout.specs and env.getEnvInfo()["vectorization"]["backend"] == "sync"
    assert {name: (spec.kind, spec.shape, spec.native_shape, spec.dtype) for name, spec in specs.items()} == {
        "camera": ("box", (4, 4, 4, 3), (4, 4, 4, 3), "uint8"),
        "mode": ("multi_discrete", (4, 1), (4,), "int64"),
        "inner/state": ("box", (4, 2), (4, 2), "float32"),
        "inner/on": ("multi_binary", (4, 3), (4, 3), "int8"),
    }
    assert specs["mode"].sizes == (4,) * 4 and specs["mode"].start == (2,) * 4 and specs["mode"].one_hot_size == 16
    assert float(specs["camera"].high.max()) == 255.0 and specs["camera"].high.shape == (4, 4, 4, 3)
    check_env(env, steps=20)
    # A checkpoint tells of the space.
    assert not env.observation_layout.differences(read_layout(env.observation_layout.to_dict(), 10**6))


def test_chosen_keys_alone_are_stacked() -> None:
    env = HistoryWrapper(GymnasiumWrapper(lambda: OneSpaceEnv(MIXED), num_envs=2), 4, names=["inner/state"])
    states, _ = env.reset(seed=0)
    assert {name: tuple(value.shape) for name, value in states.items()} == {
        "camera": (2, 4, 4, 3),
        "mode": (2, 1),
        "inner/state": (2, 4, 2),
        "inner/on": (2, 3),
    }
    check_env(env, steps=20)


def test_what_a_caller_writes_does_not_come_back() -> None:
    env = HistoryWrapper(WAYS["built"](), LENGTH)
    states, _ = env.reset(seed=0)
    kept = states["state"].clone()
    states["state"].fill_(7.0)
    following = env.step({"action": torch.zeros(NUMBER, 1)})[0]
    assert torch.equal(following["state"][:, :2], kept[:, 1:])


def test_a_length_of_one_only_adds_an_axis() -> None:
    plain, stacked = WAYS["built"](), HistoryWrapper(WAYS["built"](), 1)
    assert torch.equal(plain.reset(seed=0)[0]["state"].unsqueeze(1), stacked.reset(seed=0)[0]["state"])
    for _ in range(10):
        actions = torch.zeros(NUMBER, 1)
        assert torch.equal(plain.step(actions)[0]["state"].unsqueeze(1), stacked.step(actions)[0]["state"])


def trainer_of(timesteps: int, **settings: Any) -> SequentialTrainer:
    AquaML.seed_everything(1)
    env = HistoryWrapper(GymnasiumWrapper("Pendulum-v1", num_envs=3), LENGTH)
    models = default_models(env.getEnvInfo(), hidden_sizes=(16,))
    agent = PPO(models, PPOCfg(rollouts=16, mini_batches=2, learning_epochs=2, device="cpu"))
    options = dict(timesteps=timesteps, seed=5, disable_progressbar=True, tensorboard=False, checkpoint_interval=0)
    return SequentialTrainer(env, agent, TrainerConfig(**dict(options, **settings)))


def test_a_resumed_run_equals_the_uninterrupted_one() -> None:
    whole = trainer_of(270)
    whole.train()
    # In the middle of a rollout and of an episode.
    first = trainer_of(203)
    first.train()
    second = trainer_of(270, resume=str(first.run_folder))
    second.train()
    assert second.env.restored_exactly
    for name, parameter in whole.agent.policy.state_dict().items():
        assert torch.equal(parameter, second.agent.policy.state_dict()[name]), name
    assert torch.equal(whole.env._history["state"], second.env._history["state"])


def test_states_that_do_not_fit_are_refused() -> None:
    env, longer = (HistoryWrapper(WAYS["built"](), length) for length in (LENGTH, LENGTH + 1))
    env.reset(seed=0)
    state = env.state_dict()
    with pytest.raises(StateError, match=r"history of 'state' was saved as torch.float32 \(3, 3, 4\), this has .*4, 4"):
        longer.validate_state(state)
    plain = WAYS["built"]()
    plain.reset(seed=0)
    with pytest.raises(StateError, match=r"missing \['environment', 'history'\]"):
        env.validate_state(plain.state_dict())
    env.validate_state(state)
    env.validate_state(dict(state, simulator=None))


def test_restored_environments_go_on_alike() -> None:
    one, other = (HistoryWrapper(GymnasiumWrapper("Pendulum-v1", num_envs=NUMBER), LENGTH) for _ in range(2))
    one.reset(seed=0)
    for _ in range(205):
        states = one.step(torch.ones(NUMBER, 1))[0]
    other.load_state_dict(one.state_dict())
    assert other.restored_exactly
    for _ in range(10):
        states, restored = one.step(torch.ones(NUMBER, 1))[0], other.step(torch.ones(NUMBER, 1))[0]
        assert torch.equal(states["state"], restored["state"])


def test_spawned_environments_are_stacked_and_evaluations_are_told_to_the_inside() -> None:
    env = HistoryWrapper(GymnasiumWrapper("Pendulum-v1", num_envs=3), LENGTH, names=["state"])
    spawned = env.spawn(2)
    assert spawned.num_envs == 2 and spawned.length == LENGTH and spawned.names == ["state"]
    agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=(8,)), PPOCfg(rollouts=16, device="cpu"))
    agent.setup(env.getEnvInfo())
    told: List[bool] = []

    class Listening(GymnasiumWrapper):
        def step(self, actions: Any) -> Any:
            told.append(self.evaluating)
            return super().step(actions)

    listening = HistoryWrapper(Listening("Pendulum-v1", num_envs=2), LENGTH)
    summary = evaluate(listening, agent, episodes=2, seed=3)
    assert summary.return_mean == evaluate(spawned, agent, episodes=2, seed=3).return_mean
    assert told and all(told) and not listening.evaluating and not listening.env.evaluating


def test_a_robot_stacks_by_itself() -> None:
    """What predict gets from single observations equals what the policy saw in the environment."""
    env = HistoryWrapper(GymnasiumWrapper("Pendulum-v1", num_envs=1), LENGTH)
    agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=(8,)), PPOCfg(rollouts=16, device="cpu"))
    agent.setup(env.getEnvInfo())
    agent.set_mode(training=False, deterministic=True)
    history = ObservationHistory(LENGTH)
    states, _ = env.reset(seed=0)
    for step in range(205):
        if step == 200:
            history.reset()
        single = states["state"][0, -1].numpy()
        stack = history.stack(single)
        assert np.array_equal(stack, states["state"][0].numpy())
        actions = agent.act(states, step, 205)
        expected = np.clip(actions["action"][0].numpy(), -2.0, 2.0)
        assert agent.predict(stack) == pytest.approx(expected)
        states = env.step(actions)[0]


def test_a_robot_stacks_nested_observations() -> None:
    env = HistoryWrapper(GymnasiumWrapper(lambda: OneSpaceEnv(MIXED)), 2, names=["mode", "inner/state"])
    agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=(8,)), PPOCfg(rollouts=16, device="cpu"))
    agent.setup(env.getEnvInfo())
    history = ObservationHistory(2, names=["mode", "inner/state"])
    first, second = MIXED.sample(), MIXED.sample()
    assert np.array_equal(history.stack(first)["mode"], [first["mode"]] * 2)
    stacked = history.stack(second)
    assert np.array_equal(stacked["mode"], [first["mode"], second["mode"]])
    assert np.array_equal(stacked["inner"]["state"], [first["inner"]["state"], second["inner"]["state"]])
    assert stacked["camera"] is second["camera"] and stacked["inner"]["on"] is second["inner"]["on"]
    assert agent.predict(stacked) in (0, 1)
    # Single parts of a tuple and an array that is overwritten by its sensor.
    array = np.zeros(2)
    pair = ObservationHistory(2)
    pair.stack((array, 1))
    array += 1.0
    parts = pair.stack((array, 2))
    assert parts[0].tolist() == [[0.0, 0.0], [1.0, 1.0]] and parts[1].tolist() == [1, 2]


class HiddenVelocity(gymnasium.ObservationWrapper):
    """A pendulum without its velocity: one observation does not tell which way it swings."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("Pendulum-v1"))
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation[:2]


def test_a_history_is_flattened_by_ready_made_networks() -> None:
    env = HistoryWrapper(GymnasiumWrapper(HiddenVelocity, num_envs=4), 5)
    models = default_models(env.getEnvInfo(), hidden_sizes=(8,))
    assert models["policy"].heads.trunk[0].in_features == 10
    cfg = TrainerConfig(timesteps=40, seed=0, disable_progressbar=True, tensorboard=False)
    agent = PPO(models, PPOCfg(rollouts=16, device="cpu"))
    SequentialTrainer(env, agent, cfg).train()
    assert math.isfinite(evaluate(env, agent, episodes=4, seed=0).return_mean)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: HistoryWrapper(gymnasium.make("Pendulum-v1"), 3), "HistoryWrapper got .*; expected an AquaML wrapper"),
        (lambda: HistoryWrapper(WAYS["built"](), 0), "length is 0; expected an integer of at least 1"),
        (lambda: HistoryWrapper(WAYS["built"](), 2, ["stat"]), "names holds 'stat'.*Did you mean 'state'"),
        (lambda: HistoryWrapper(WAYS["built"](), 2, []), "names is empty"),
        (lambda: HistoryWrapper(WAYS["built"](), 2).step(torch.zeros(NUMBER, 1)), "before its first reset"),
        (lambda: ObservationHistory(True), "length is True"),
    ],
)
def test_mistakes(make: Any, words: str) -> None:
    with pytest.raises(EnvironmentContractError, match=words):
        make()
