"""Robots of one's own: how episodes begin and end, and what their steps earn."""

from typing import Any

import numpy as np
import pytest
import torch

from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate

pytest.importorskip("mujoco")

from mujoco_robots import BLOCK, GRAVITY, STEP, Ball, Block, Cart, Clock


def test_time_limit_termination_and_final_observation() -> None:
    class Faller(Ball):
        def terminated(self) -> np.ndarray:
            # 4 steps of free fall: 0.001 * 9.81 * 10 / 10.
            return self.qpos[:, 0] < -0.0097

        def initial_state(self, rows: np.ndarray, generator: np.random.Generator) -> Any:
            # The second one starts higher and never gets there.
            return 5.0 * (rows[:, None] == 1), np.zeros((len(rows), 1))

    env = Faller(max_episode_steps=6, frame_skip=1)
    first, _ = env.reset(seed=0)
    assert first["state"].tolist() == [[0.0, 0.0], [5.0, 0.0]]
    flags = []
    for step in range(1, 13):
        seen, _, terminated, truncated, infos = env.step(torch.zeros(2, 1))
        flags.append((terminated[:, 0].tolist(), truncated[:, 0].tolist()))
        for row, age in ((0, (step - 1) % 4 + 1), (1, (step - 1) % 6 + 1)):
            height = 5.0 * row - GRAVITY * STEP**2 * age * (age + 1) / 2
            ended = bool(terminated[row] | truncated[row])
            assert ended == (age == (4, 6)[row])
            if ended:
                assert infos["final_obs"]["state"][row, 0].item() == pytest.approx(height, rel=1e-6)
                assert seen["state"][row].tolist() == [5.0 * row, 0.0]
            else:
                assert seen["state"][row, 0].item() == pytest.approx(height, rel=1e-6)
    assert flags[3] == ([True, False], [False, False])
    assert flags[5] == ([False, False], [False, True])


def test_termination_wins_over_the_time_limit_and_a_finite_horizon_terminates() -> None:
    class Short(Ball):
        def terminated(self) -> np.ndarray:
            return self.elapsed == np.array([2, 5])

    env = Short(max_episode_steps=2)
    env.reset(seed=0)
    env.step(torch.zeros(2, 1))
    _, _, terminated, truncated, _ = env.step(torch.zeros(2, 1))
    assert (terminated[:, 0].tolist(), truncated[:, 0].tolist()) == ([True, False], [False, True])
    env = Ball(max_episode_steps=1, finite_horizon=True)
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(torch.zeros(2, 1))
    assert terminated.all() and not truncated.any()


def test_initial_noise_moves_hinges_and_slides_and_leaves_quaternions() -> None:
    env = Block(400, BLOCK, initial_noise=0.3)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.qpos, np.tile(env.model.qpos0, (400, 1)))
    assert 0.29 < np.abs(env.qvel).max() <= 0.3
    cart = Cart(400, keyframe="aside", initial_noise=0.3)
    cart.reset(seed=0)
    moved = cart.qpos - [3.0, 0.2]
    assert 0.29 < np.abs(moved).max() <= 0.3 and np.abs(moved.mean(0)).max() < 0.04
    # The standard deviation of a uniform distribution of half width 0.3.
    np.testing.assert_allclose(moved.std(0), 0.3 / np.sqrt(3), rtol=0.1)


def test_terms_of_the_reward_are_added_and_logged() -> None:
    env = Cart(2)
    env.reset(seed=0)
    target = env.extra_state["target"].copy()
    _, rewards, _, _, infos = env.step(torch.tensor([[0.5], [-1.0]]))
    near = 1.0 - np.abs(env.qpos[:, :1] - target)
    effort = -0.1 * np.array([[0.25], [1.0]])
    np.testing.assert_allclose(infos["log"]["reward/near"].numpy(), near, rtol=1e-6)
    np.testing.assert_allclose(infos["log"]["reward/effort"].numpy(), effort, rtol=1e-6)
    np.testing.assert_allclose(rewards.numpy(), near + effort, rtol=1e-6)
    np.testing.assert_allclose(infos["log"]["speed"].numpy()[:, 0], env.qvel[:, 0], rtol=1e-6)


def test_first_episodes_of_random_age_end_spread_out_and_later_ones_are_whole() -> None:
    limit, count = 5, 200
    env = Clock(count, max_episode_steps=limit, random_initial_length=True)
    first, _ = env.reset(seed=0)
    ages = first["state"][:, 0].clone()
    assert set(ages.tolist()) == set(range(limit))
    # 40 of each age are expected, with a standard deviation of 5.7.
    assert np.bincount(ages.long().numpy()).min() > 20
    ends = torch.zeros(3 * limit, count, dtype=torch.bool)
    for step in range(3 * limit):
        _, _, _, truncated, infos = env.step(torch.zeros(count, 1))
        ends[step] = truncated[:, 0]
        assert (infos["final_obs"]["state"][truncated] == limit).all()
    for row in range(count):
        when = (torch.nonzero(ends[:, row])[:, 0] + 1).tolist()
        assert when == [limit - int(ages[row]) + limit * turn for turn in range(3)]


def test_evaluations_play_whole_episodes() -> None:
    env = Clock(8, max_episode_steps=10, random_initial_length=True)
    agent = PPO(default_models(env.getEnvInfo()), PPOCfg(rollouts=4))
    assert evaluate(env, agent, episodes=16, seed=0).lengths == [10] * 16
    env.reset(seed=0)
    assert env.elapsed.max() > 0
