"""Classic control in one batch: Gymnasium's trajectories to the last bit, through every keyword and reset."""

from typing import Any, Dict, List, Tuple

import gymnasium
import numpy as np
import pytest

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.spaces import layout_of
from AquaML.environment.step_arrays import StepArrays, array_shapes
from AquaML.environment.vectorization import classic_control
from AquaML.environment.vectorization.backend import Unsuited
from AquaML.environment.vectorization.sync import SyncVector

SAME_SCALARS = (np.float32(1.0) * 1.0).dtype == np.float32
"""Before NumPy 2, scalars and arrays of float32 have different arithmetic, and equality holds to rounding."""

TASKS: List[Tuple[str, Dict[str, Any]]] = [
    ("Pendulum-v1", {}),
    ("Pendulum-v1", {"g": 9.81, "max_episode_steps": 70}),
    ("CartPole-v0", {}),
    ("CartPole-v1", {}),
    ("MountainCar-v0", {}),
    ("MountainCar-v0", {"goal_velocity": 0.02}),
    ("MountainCarContinuous-v0", {}),
    ("MountainCarContinuous-v0", {"goal_velocity": 0.01, "max_episode_steps": 120}),
    ("Acrobot-v1", {}),
]
if int(gymnasium.__version__.split(".")[0]) >= 1:
    TASKS.append(("CartPole-v1", {"sutton_barto_reward": True}))

NUM_ENVS = 4


def pair(name: str, kwargs: Dict[str, Any], bounds: str = "clip") -> Tuple[Any, SyncVector, List[StepArrays], Any]:
    environments = [gymnasium.make(name, **kwargs) for _ in range(NUM_ENVS)]
    layout = layout_of(environments[0].observation_space, "state")
    transform = ActionTransform(layout_of(environments[0].action_space, "action"), bounds)
    shapes = array_shapes(layout.specs, NUM_ENVS).items()
    arrays = [StepArrays({key: np.zeros(shape, kind) for key, (shape, kind) in shapes}) for _ in range(2)]
    batch = classic_control.make(gymnasium.spec(name), NUM_ENVS, kwargs)
    return batch, SyncVector(environments, layout, transform), arrays, transform.layout.specs["action"]


def choose(name: str, spec: Any, observations: np.ndarray, generator: np.random.Generator, reach: float) -> np.ndarray:
    if name.startswith("MountainCar") and generator.random() < 0.9:
        # Pushing along with the motion reaches the goal.
        along = np.sign(observations[:, 1])
        return (along + 1).astype(np.int64) if spec.kind == "discrete" else along[:, None].astype(np.float32) * reach
    if spec.kind == "discrete":
        return generator.integers(0, spec.sizes[0], NUM_ENVS)
    return generator.uniform(spec.low * reach, spec.high * reach, (NUM_ENVS, 1)).astype(np.float32)


def assert_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    if SAME_SCALARS:
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name, kwargs, reach",
    [(name, kwargs, 1.0) for name, kwargs in TASKS]
    # Forces beyond the bounds, which a wrapper lets through by action_bounds="none".
    + [("Pendulum-v1", {}, 1.5), ("MountainCarContinuous-v0", {}, 1.5)],
)
def test_a_thousand_steps_are_gymnasiums(name: str, kwargs: Dict[str, Any], reach: float) -> None:
    batch, reference, (ours, theirs), spec = pair(name, kwargs)
    generator = np.random.default_rng(1)
    ended = 0
    for seed in (11, None):
        batch.reset(seed, ours)
        reference.reset(seed, theirs)
        assert_equal(ours.observations["state"], theirs.observations["state"])
        for _ in range(500):
            native = {"action": choose(name, spec, theirs.observations["state"], generator, reach)}
            assert batch.step(native, ours) == reference.step(native, theirs)
            done = (theirs.terminated | theirs.truncated)[:, 0]
            ended += int(done.sum())
            np.testing.assert_array_equal(ours.terminated, theirs.terminated)
            np.testing.assert_array_equal(ours.truncated, theirs.truncated)
            assert_equal(ours.observations["state"], theirs.observations["state"])
            assert_equal(ours.final["state"][done], theirs.final["state"][done])
            np.testing.assert_allclose(ours.rewards, theirs.rewards, rtol=1e-6)
    assert ended >= (1 if name == "Acrobot-v1" else 8)


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1", "MountainCarContinuous-v0", "Acrobot-v1"])
def test_the_state_is_exact_in_another_batch(name: str) -> None:
    kwargs = {"max_episode_steps": 23}
    first, _, (ours, theirs), spec = pair(name, kwargs)
    assert first.get_state() is None
    first.reset(5, ours)
    generator = np.random.default_rng(2)
    rows = [{"action": choose(name, spec, ours.observations["state"], generator, 1.0)} for _ in range(80)]
    for native in rows[:30]:
        first.step(native, ours)
    state = first.get_state()
    second = classic_control.make(gymnasium.spec(name), NUM_ENVS, kwargs)
    assert second.set_state(state, theirs)
    np.testing.assert_array_equal(ours.observations["state"], theirs.observations["state"])
    for native in rows[30:]:
        first.step(native, ours)
        second.step(native, theirs)
        np.testing.assert_array_equal(ours.observations["state"], theirs.observations["state"])
        np.testing.assert_array_equal(ours.rewards, theirs.rewards)
    assert not classic_control.make(gymnasium.spec(name), NUM_ENVS + 1, kwargs).set_state(state, theirs)


def test_a_hand_computed_pendulum() -> None:
    # theta = 1, velocity = 0.5, torque = 2 (cut from 3): Gymnasium's documentation gives the equations.
    batch = classic_control.make(gymnasium.spec("Pendulum-v1"), 1, {})
    arrays = {
        "rewards": np.zeros((1, 1), np.float32),
        "observation/state": np.zeros((1, 3), np.float32),
        "final/state": np.zeros((1, 3), np.float32),
    }
    arrays.update({name: np.zeros((1, 1), bool) for name in ("terminated", "truncated", "valid")})
    out = StepArrays(arrays)
    batch.reset(0, out)
    batch.state[:, 0] = (1.0, 0.5)
    assert not batch.step({"action": np.array([[3.0]], np.float32)}, out)
    velocity = 0.5 + (15.0 * np.sin(1.0) + 3.0 * 2.0) * 0.05
    angle = 1.0 + velocity * 0.05
    np.testing.assert_allclose(out.observations["state"][0], [np.cos(angle), np.sin(angle), velocity], rtol=1e-6)
    np.testing.assert_allclose(out.rewards[0, 0], -(1.0 + 0.1 * 0.25 + 0.001 * 4.0), rtol=1e-6)


def test_what_has_no_batch_is_refused() -> None:
    with pytest.raises(Unsuited, match=r"no keyword 'colour', 'size'"):
        classic_control.make(gymnasium.spec("Pendulum-v1"), 1, {"size": 1, "colour": 2})
    gymnasium.register("OtherPendulum-v0", entry_point="elsewhere:Pendulum")
    with pytest.raises(Unsuited, match=r"no batched form of elsewhere:Pendulum"):
        classic_control.make(gymnasium.spec("OtherPendulum-v0"), 1, {})
