"""An environment's state is how its running episodes began and what was done since; replaying it is exact."""

from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from scripted_envs import ClockEnv, action_for

from AquaML.coordinator.checkpoint_format import Checkpoint, read_checkpoint, write_checkpoint
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.vectorization.sync import SyncVector
from AquaML.errors import StateError


def random_actions(wrapper: GymnasiumWrapper, generator: torch.Generator) -> Dict[str, torch.Tensor]:
    actions = {}
    for name, spec in wrapper.action_layout.specs.items():
        shape = (wrapper.num_envs,) + spec.shape
        if spec.kind == "box":
            actions[name] = torch.rand(shape, generator=generator) * 2 - 1
        else:
            actions[name] = torch.randint(0, spec.sizes[0], shape, generator=generator)
    return actions


def play(wrapper: GymnasiumWrapper, steps: int, seed: int) -> List[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(steps):
        observations, rewards, terminated, truncated, _ = wrapper.step(random_actions(wrapper, generator))
        rows.append(torch.cat([observations["state"], rewards, terminated.float(), truncated.float()], 1).clone())
    return rows


@pytest.mark.parametrize(
    "name, steps, length",
    [
        ("CartPole-v1", 33, {}),  # episodes of different lengths, all in the middle
        ("Pendulum-v1", 30, {"max_episode_steps": 20}),  # one limit passed
        ("Pendulum-v1", 20, {"max_episode_steps": 20}),  # exactly on the limit
        ("MountainCarContinuous-v0", 25, {}),  # the seeded first episode
        ("Pendulum-v1", 0, {}),
    ],
)
@pytest.mark.parametrize("vectorization", ["sync", "batched"])
def test_replay_in_a_new_wrapper_is_exact(name: str, steps: int, length: Dict[str, int], vectorization: str) -> None:
    first = GymnasiumWrapper(name, num_envs=3, vectorization=vectorization, **length)
    first.reset(seed=11)
    play(first, steps, seed=1)
    state = first.state_dict()
    expected = play(first, 40, seed=2)

    second = GymnasiumWrapper(name, num_envs=3, vectorization=vectorization, **length)
    second.validate_state(state)
    second.load_state_dict(state)
    assert second.restored_exactly
    for ours, theirs in zip(expected, play(second, 40, seed=2)):
        assert torch.equal(ours, theirs)


def test_environments_that_end_at_different_times() -> None:
    first = GymnasiumWrapper(ClockEnv, num_envs=3)
    states, _ = first.reset(seed=0)
    for step in range(20):
        # Every moment is a good one to save.
        second = GymnasiumWrapper(ClockEnv, num_envs=3)
        assert second.set_state(first.get_state() or {}) == (step == 0 or _has_no_counter(first))
        states = first.step(action_for(states))[0]


def _has_no_counter(wrapper: GymnasiumWrapper) -> bool:
    # The clock's episode number is state outside of its generator, known only to environments in their first episode.
    state = wrapper.get_state()
    assert state is not None
    return all("seed" in episode["start"] for episode in state["episodes"])


def test_what_cannot_be_replayed_is_told() -> None:
    first = GymnasiumWrapper(ClockEnv)
    states, _ = first.reset(seed=0)
    for _ in range(4):
        states = first.step(action_for(states))[0]
    second = GymnasiumWrapper(ClockEnv)
    second.load_state_dict(first.state_dict())
    assert not second.restored_exactly


def test_the_state_survives_a_checkpoint_file(tmp_path: Any) -> None:
    first = GymnasiumWrapper("CartPole-v1", num_envs=2)
    first.reset(seed=5)
    play(first, 20, seed=1)
    part = {"role": "run", "class": "GymnasiumWrapper", "state": first.state_dict()}
    write_checkpoint(tmp_path / "run.pt", Checkpoint({}, {"environment": part}))
    state = read_checkpoint(tmp_path / "run.pt").parts["environment"]["state"]
    expected = play(first, 20, seed=2)
    second = GymnasiumWrapper("CartPole-v1", num_envs=2)
    second.load_state_dict(state)
    assert second.restored_exactly
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(expected, play(second, 20, seed=2)))


class Mutating(gymnasium.Env):
    """Integrates its actions, and changes in place what it is given."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._position = self.np_random.random(2).astype(np.float32)
        return self._position.copy(), {}

    def step(self, action: np.ndarray) -> Any:
        self._position += action
        action *= 10.0
        return self._position.copy(), 0.0, False, False, {}


def test_environments_that_change_their_actions_replay_exactly() -> None:
    first = GymnasiumWrapper(Mutating)
    first.reset(seed=0)
    play(first, 5, seed=1)
    second = GymnasiumWrapper(Mutating)
    assert second.set_state(first.get_state() or {})


def test_an_unseeded_start_is_replayed_from_the_generator() -> None:
    first = GymnasiumWrapper("Pendulum-v1", num_envs=2)
    first.reset()
    play(first, 5, seed=1)
    second = GymnasiumWrapper("Pendulum-v1", num_envs=2)
    assert second.set_state(first.get_state() or {})


def test_a_restored_state_can_be_saved_again() -> None:
    first = GymnasiumWrapper("CartPole-v1", num_envs=3)
    first.reset(seed=11)
    play(first, 25, seed=1)
    second, third = (GymnasiumWrapper("CartPole-v1", num_envs=3) for _ in range(2))
    assert second.set_state(first.get_state() or {})
    for wrapper in (first, second):
        play(wrapper, 17, seed=2)
    assert third.set_state(second.get_state() or {})
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(play(first, 20, 3), play(third, 20, 3)))


def test_only_running_episodes_are_kept() -> None:
    wrapper = GymnasiumWrapper("Pendulum-v1", num_envs=2, max_episode_steps=10, vectorization="sync")
    wrapper.reset(seed=0)
    play(wrapper, 34, seed=1)
    state = wrapper.get_state()
    assert state is not None and state["actions"]["action"].shape == (4, 2, 1)


def test_an_episode_beyond_the_limit_has_no_state(monkeypatch: Any) -> None:
    monkeypatch.setattr(SyncVector, "REPLAY_LIMIT", 6)
    wrapper = GymnasiumWrapper("Pendulum-v1", max_episode_steps=9, vectorization="sync")
    wrapper.reset(seed=0)
    play(wrapper, 6, seed=1)
    assert wrapper.get_state() is not None
    play(wrapper, 1, seed=1)
    assert wrapper.get_state() is None
    play(wrapper, 4, seed=1)  # the next episode began
    assert wrapper.get_state() is not None


def test_before_the_first_reset_and_for_foreign_vectors_there_is_none() -> None:
    assert GymnasiumWrapper("Pendulum-v1").get_state() is None
    vector = GymnasiumWrapper(gymnasium.vector.SyncVectorEnv([ClockEnv]))
    vector.reset(seed=0)
    assert vector.get_state() is None
    vector.load_state_dict(vector.state_dict())
    assert not vector.restored_exactly


def test_states_of_other_environments_are_refused() -> None:
    state = GymnasiumWrapper("CartPole-v1", num_envs=2).state_dict()
    for other in (GymnasiumWrapper("CartPole-v1", num_envs=3), GymnasiumWrapper("Pendulum-v1", num_envs=2)):
        with pytest.raises(StateError, match=r"saved from 2 of 'CartPole-v1', this is"):
            other.validate_state(state)


def test_states_of_other_spaces_are_not_replayed() -> None:
    first = GymnasiumWrapper("CartPole-v1", vectorization="sync")
    first.reset(seed=0)
    play(first, 3, seed=1)
    state = first.get_state()
    assert state is not None
    for part, name in (("observations", "other"), ("actions", "other")):
        changed = dict(state, **{part: {name: next(iter(state[part].values()))}})
        assert not GymnasiumWrapper("CartPole-v1", vectorization="sync").set_state(changed)


class Unrepeatable(ClockEnv):
    """Ends earlier each time that it is made."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        Unrepeatable.made += 1
        self._length = 10 - Unrepeatable.made

    def step(self, action: np.ndarray) -> Any:
        assert self._step < self._length, "stepped after its end"
        observation, reward, _, _, info = super().step(action)
        return observation, reward, self._step >= self._length, False, info


def test_an_environment_that_does_not_repeat_itself_is_no_error() -> None:
    first = GymnasiumWrapper(Unrepeatable)
    states, _ = first.reset(seed=0)
    for _ in range(8):
        states = first.step(action_for(states))[0]
    assert not GymnasiumWrapper(Unrepeatable).set_state(first.get_state() or {})


class HiddenChance(Mutating):
    """Shows the same observations each time, but has used its generator more often."""

    made = 0

    def __init__(self) -> None:
        HiddenChance.made += 1

    def step(self, action: np.ndarray) -> Any:
        self.np_random.random(HiddenChance.made)
        return super().step(action)


def test_generators_must_stand_where_they_stood() -> None:
    first = GymnasiumWrapper(HiddenChance)
    first.reset(seed=0)
    play(first, 3, seed=1)
    state = first.get_state() or {}
    assert first.set_state(state)
    assert not GymnasiumWrapper(HiddenChance).set_state(state)
