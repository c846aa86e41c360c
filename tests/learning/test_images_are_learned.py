"""Pictures reach the policy through convolutions: a score that nobody reaches who does not see."""

from typing import Any, Optional

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from tasks import Matching

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.history import HistoryWrapper
from AquaML.learning.model import ImageEncoder, default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig


class BrightPixel(Matching):
    """One pixel among noise is bright; its quarter of the picture is the right action. Best return 10, blind 2.5."""

    def __init__(self, shape: Any = (6, 6, 1)) -> None:
        self.observation_space = gymnasium.spaces.Dict(
            {"camera": Box(0, 255, shape, np.uint8), "noise": Box(-1.0, 1.0, (1,), np.float32)}
        )
        self.action_space = Discrete(4)
        self.shape = shape

    def draw(self) -> Any:
        picture = self.np_random.integers(0, 100, self.shape).astype(np.uint8)
        row, column = self.np_random.integers(0, 6, 2)
        place = (row, column, 0) if self.shape[-1] == 1 else (0, row, column)
        picture[place] = 255
        self.quarter = 2 * int(row >= 3) + int(column >= 3)
        return {"camera": picture, "noise": self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32)}

    def score(self, action: Any) -> float:
        return float(action == self.quarter)


def score_of(make: Any, stack: Optional[int] = None, **options: Any) -> float:
    def wrapped(num_envs: int) -> Any:
        env = GymnasiumWrapper(make, num_envs=num_envs)
        return env if stack is None else HistoryWrapper(env, stack, names=["camera"])

    AquaML.seed_everything(0)
    env = wrapped(32)
    models = default_models(env.getEnvInfo(), hidden_sizes=(32,), shared=True, **options)
    cfg = PPOCfg(device="cpu", rollouts=16, learning_epochs=4, mini_batches=4, learning_rate=2e-3, discount_factor=0.0)
    agent = PPO(models, cfg)
    settings = TrainerConfig(timesteps=400, seed=0, disable_progressbar=True, tensorboard=False)
    SequentialTrainer(env, agent, settings).train()
    return evaluate(wrapped(50), agent, episodes=100, seed=77).return_mean


@pytest.mark.parametrize("shape", [(6, 6, 1), (1, 6, 6)])
def test_a_policy_with_convolutions_sees(shape: Any) -> None:
    assert score_of(lambda: BrightPixel(shape)) >= 9.5


def test_the_present_picture_of_a_history_is_found() -> None:
    assert score_of(BrightPixel, stack=2) >= 9.0


def test_a_policy_that_is_not_given_the_picture_does_not() -> None:
    assert score_of(BrightPixel, policy_inputs=["noise"]) < 4.0


def test_an_encoder_of_ones_own_sees() -> None:
    assert (
        score_of(BrightPixel, encoders={"camera": lambda spec: ImageEncoder(spec, features=32, activation="elu")}) > 9
    )
