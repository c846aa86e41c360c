"""PPO learns to a known score through every wrapper, and what it has learned acts in every other simulator."""

from typing import Any

import pytest
import torch
from cases import CASES
from worlds import PointMass

import AquaML
from AquaML.environment.base import EnvironmentWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

LIMIT = 40
FEEDBACK, UNTRAINED = -5.0, -15.0
"""Mean return of the controller ``force = -2 x - 2 v`` within ±1, and what an untrained policy does not exceed."""
MUST = -4.0
QUICK = (
    "isaac_gym post_physics",
    "isaac_gym same_step",
    "isaac_gym manual",
    "legged_gym 5",
    "rsl_rl groups",
    "isaac_lab direct",
    "isaac_lab manager final_obs",
    "mjlab manual",
    "maniskill state",
    "pettingzoo",
    "brax",
)
"""One way of resetting of each wrapper; the others are slow tests."""


def make(name: str) -> EnvironmentWrapper:
    return CASES[name].make(64, world=PointMass, limit=LIMIT)


def ppo(env: EnvironmentWrapper) -> PPO:
    cfg = PPOCfg(device="cpu", rollouts=20, learning_epochs=6, mini_batches=4, learning_rate=2e-3)
    return PPO(default_models(env.getEnvInfo(), hidden_sizes=(32,), value_inputs=["state"]), cfg)


def learned(name: str) -> PPO:
    AquaML.seed_everything(0)
    env = make(name)
    agent = ppo(env)
    settings = TrainerConfig(
        timesteps=800, seed=0, disable_progressbar=True, tensorboard=False, learning_curve=False, system_monitor=False
    )
    SequentialTrainer(env, agent, settings).train()
    return agent


def score(name: str, agent: Any) -> float:
    return evaluate(make(name), agent, episodes=64, seed=1).return_mean


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_ppo_beats_the_controller_through_every_wrapper(name: str) -> None:
    assert score(name, ppo(make(name))) < UNTRAINED
    assert score(name, learned(name)) > MUST


def test_the_score_to_beat_is_the_controllers() -> None:
    world = PointMass(1000)
    world.begin(torch.arange(1000))
    total = torch.zeros(1000)
    for _ in range(LIMIT):
        force = (-2.0 * world.observe().sum(dim=1, keepdim=True)).clamp(-1.0, 1.0)
        total += world.advance(force)
    assert float(total.mean()) == pytest.approx(FEEDBACK, abs=0.2)


def test_one_policy_file_acts_in_every_simulator() -> None:
    learned("isaac_gym post_physics").save("policy.aqua")
    for name in CASES:
        env = make(name)
        agent = ppo(env)
        agent.setup(env.getEnvInfo())
        # Where a simulator shows the critic less, what the policy needs is loaded by name.
        same = list(env.observation_layout.specs) == ["state", "privileged"]
        agent.load("policy.aqua", only=None if same else ["policy", "observation_normalizer/state"])
        assert score(name, agent) > MUST, name
        # Without a simulator as well: a point far out and at rest is pushed back.
        observation = {"state": torch.tensor([0.8, 0.0]).numpy()}
        assert float(agent.predict(observation)[0]) < -0.3, name
