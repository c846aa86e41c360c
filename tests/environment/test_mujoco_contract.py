"""Robots of one's own: seeds, saved state and the contract of environments."""

from typing import Any, Dict

import numpy as np
import pytest
import torch

from AquaML.environment.checker import check_env
from AquaML.errors import EnvironmentContractError, StateError

pytest.importorskip("mujoco")

from mujoco_robots import CART, EVERYTHING, GRAVITY, STEP, Ball, Cart, actions_for, play

from AquaML.environment.mujoco import MujocoVectorEnv

# ---------------------------------------------------------------------- seeds, threads, saved state


def test_seeds_repeat_and_threads_do_not_matter() -> None:
    def run(seed: int, threads: int) -> torch.Tensor:
        env = Cart(16, threads=threads, **EVERYTHING)
        env.reset(seed=seed)
        result = play(env, actions_for(env, 60))
        env.close()
        return result

    one = run(0, 1)
    assert torch.equal(one, run(0, 4))
    assert not torch.equal(one, run(1, 1))


def test_a_saved_state_goes_on_bit_by_bit_with_every_option_on() -> None:
    env = Cart(5, **EVERYTHING)
    env.reset(seed=0)
    play(env, actions_for(env, 23))
    state = env.state_dict()
    expected = play(env, actions_for(env, 60, seed=1))
    other = Cart(5, **EVERYTHING)
    other.reset(seed=9)
    play(other, actions_for(other, 7, seed=2))
    for target in (env, other, Cart(5, **EVERYTHING)):
        target.validate_state(state)
        target.load_state_dict(state)
        assert target.restored_exactly
        assert torch.equal(play(target, actions_for(env, 60, seed=1)), expected)


def test_a_state_of_another_robot_is_refused() -> None:
    class More(Cart):
        def prepare(self) -> None:
            super().prepare()
            self.extra_state["phase"] = np.zeros(self.num_envs)

    env = Cart(3)
    env.reset(seed=0)
    with pytest.raises(StateError, match="phase"):
        More(3).set_state(env.get_state())
    with pytest.raises(EnvironmentContractError, match="reaches back 0 steps, this one 4"):
        Cart(3, action_delay=4).set_state(env.get_state())
    with pytest.raises(StateError, match="saved from 3 of 'Cart', this is 2 of 'Cart'"):
        Cart(2).validate_state(env.state_dict())


# ---------------------------------------------------------------------- the contract


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "everything"])
def test_the_checker_finds_nothing(options: Dict[str, Any]) -> None:
    check_env(Cart(3, **dict({"max_episode_steps": 20}, **options)))


def test_shapes_names_and_types_of_the_spaces() -> None:
    env = Cart(2)
    info = env.getEnvInfo()
    assert {name: spec.shape for name, spec in info["observation_cfg"].items()} == {"state": (6,), "privileged": (3,)}
    action = info["action_cfg"]["action"]
    assert (action.low.tolist(), action.high.tolist(), action.shape) == ([-1.0], [1.0], (1,))
    assert (env.name, env.max_episode_length, env.action_bounds) == ("Cart", None, "rescale")

    class Pixels(Ball):
        def observation(self) -> Any:
            return {"image": np.full((self.num_envs, 4, 4), 200, np.uint8), "touch": self.qpos > 0.0}

    image, touch = Pixels().getEnvInfo()["observation_cfg"].values()
    assert (image.dtype, image.shape, image.high.max(), touch.dtype) == ("uint8", (4, 4), 255.0, "bool")
    assert Pixels().reset()[0]["image"].max() == 200


def test_making_robots_leaves_no_trace_in_their_own_arrays() -> None:
    class Counting(Cart):
        def reward(self, actions: np.ndarray) -> Any:
            self.extra_state["target"] += 1.0
            return super().reward(actions)

    env = Counting(2)
    assert not env.extra_state["target"].any()


def test_actions_and_their_bounds() -> None:
    for bounds, sent, arrives in (("rescale", 0.5, 25.0), ("clip", 60.0, 50.0), ("none", 60.0, 60.0)):
        env = Ball(1, action_bounds=bounds)
        env.reset(seed=0)
        env.step(torch.full((1, 1), sent))
        assert env.actions.tolist() == [[arrives]]
        # MuJoCo itself holds controls in their range.
        np.testing.assert_allclose(env.qvel, (min(arrives, 50.0) / 2.0 - GRAVITY) * STEP, rtol=1e-12)

    class Above(Ball):
        def action_range(self) -> Any:
            return np.array([2.0]), np.array([4.0])

    assert Above().idle_action.tolist() == [2.0]


def test_spawned_robots_are_of_the_same_kind() -> None:
    env = Cart(3, CART, **EVERYTHING)
    other = env.spawn(7)
    assert (type(other), other.num_envs, other.max_episode_length) == (Cart, 7, 17)
    for one in (env.spawn(3), env):
        one.reset(seed=4)
        result = play(one, actions_for(one, 30))
    assert torch.equal(result, play_fresh(env.spawn(3)))

    class Fixed(Ball):
        def __init__(self) -> None:
            super().__init__(3)

    with pytest.raises(EnvironmentContractError, match="takes no num_envs"):
        Fixed().spawn(1)


def play_fresh(env: MujocoVectorEnv) -> torch.Tensor:
    env.reset(seed=4)
    return play(env, actions_for(env, 30))


def test_an_unstable_robot_ends_its_episode_and_is_said_once(log_lines: list) -> None:
    class Wild(Ball):
        def controls(self, actions: np.ndarray) -> np.ndarray:
            if self.elapsed[1] == 2:
                self.simulation.data[1].qvel[:] = np.inf
            return actions

    env = Wild(3)
    env.reset(seed=0)
    for step in range(1, 10):
        seen, rewards, terminated, _, infos = env.step(torch.zeros(3, 1))
        assert terminated[:, 0].tolist() == [False, step % 3 == 0, False]
        assert torch.isfinite(rewards).all() and torch.isfinite(seen["state"]).all()
        if step % 3 == 0:
            assert infos["final_obs"]["state"][1].tolist() == [0.0, 0.0]
    warned = [line for line in log_lines if "MuJoCo warns" in line]
    assert len(warned) == 1 and "Environment 1" in warned[0]
