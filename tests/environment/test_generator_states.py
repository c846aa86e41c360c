"""Random streams of a batch as one array."""

from pathlib import Path

import numpy as np
import pytest

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.vectorization.generator_states import get_generator_states, set_generator_states
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig


def test_streams_go_on_to_the_bit_from_an_array() -> None:
    ours = [np.random.default_rng(seed) for seed in range(5)]
    for index, generator in enumerate(ours):
        generator.random(index)
        # An odd number of half words leaves one over.
        generator.integers(0, 2**31, index, dtype=np.int32)
    states = get_generator_states(ours)
    assert states.shape == (5, 6) and states.dtype == np.uint64
    assert states[:, 4].tolist() == [0, 1, 0, 1, 0]
    theirs = [np.random.default_rng(99) for _ in range(5)]
    set_generator_states(theirs, states)
    assert [a.bit_generator.state == b.bit_generator.state for a, b in zip(ours, theirs)] == [True] * 5
    assert get_generator_states([]).shape == (0, 6)


def test_tens_of_thousands_of_environments_fit_into_a_checkpoint() -> None:
    pytest.importorskip("gymnasium", minversion="1.0", reason="batched CartPole equals Gymnasium 1")
    env = GymnasiumWrapper("CartPole-v1", num_envs=20_000)
    agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=(4,)), PPOCfg(device="cpu", rollouts=1))
    cfg = TrainerConfig(timesteps=1, run_name="many", seed=0, disable_progressbar=True, learning_curve=False)
    SequentialTrainer(env, agent, cfg).train()
    assert Path("runs/many/checkpoints/last.aqua").is_file()
