"""FastSAC: distributions of values, the scale of rewards, and targets, against numbers by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import ModelError
from AquaML.learning.model import default_actor_critic
from AquaML.learning.reinforcement.off_policy import FastSAC, FastSACCfg
from AquaML.learning.reinforcement.off_policy.return_scale import ReturnScale
from AquaML.learning.reinforcement.off_policy.transitions import Transitions
from AquaML.learning.reinforcement.off_policy.value_distribution import ValueDistribution
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

CPU = torch.device("cpu")


def test_projection_by_hand():
    # Atoms -2, -1, 0, 1, 2; all probability on the value 1.
    distribution = ValueDistribution(2.0, 5, CPU)
    certain = torch.tensor([[0.0, 0.0, 0.0, 1.0, 0.0]]).repeat(4, 1)
    offsets = torch.tensor([[0.0], [0.25], [5.0], [-0.4]])
    discounts = torch.tensor([[1.0], [0.5], [1.0], [0.0]])
    expected = torch.tensor(
        [
            [0.0, 0.0, 0.0, 1.0, 0.0],  # 0 + 1 * 1 = 1, an atom
            [0.0, 0.0, 0.25, 0.75, 0.0],  # 0.25 + 0.5 * 1 = 0.75
            [0.0, 0.0, 0.0, 0.0, 1.0],  # 6, beyond the limit
            [0.0, 0.4, 0.6, 0.0, 0.0],  # -0.4: terminated, the offset alone
        ]
    )
    torch.testing.assert_close(distribution.projected(certain, offsets, discounts), expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.floats(-0.4, 0.4), st.floats(0.0, 0.5), st.integers(0, 2**16))
def test_projection_keeps_probability_and_mean(atoms, offset, discount, seed):
    """Within the limits the mean of what is projected is that of the distribution that was moved."""
    distribution = ValueDistribution(1.0, atoms, CPU)
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.softmax(torch.randn(3, atoms, generator=generator), dim=1)
    projected = distribution.projected(probabilities, torch.full((3, 1), offset), torch.full((3, 1), discount))
    torch.testing.assert_close(projected.sum(dim=1), torch.ones(3))
    assert bool((projected >= 0.0).all())
    moved = offset + discount * (probabilities @ distribution.values)
    torch.testing.assert_close(projected @ distribution.values, moved, atol=1e-5, rtol=1e-5)


def test_expected_value_and_cross_entropy_by_hand():
    distribution = ValueDistribution(1.0, 3, CPU)
    logits = torch.log(torch.tensor([[[0.2, 0.3, 0.5], [0.5, 0.5, 1e-30]]]))
    torch.testing.assert_close(distribution.expected(logits), torch.tensor([[0.3, -0.5]]))
    target = torch.tensor([[0.0, 0.5, 0.5]])
    first = -(0.5 * math.log(0.3) + 0.5 * math.log(0.5))
    assert distribution.cross_entropy(logits, target)[0, 0].item() == pytest.approx(first, rel=1e-5)


def test_cross_entropy_is_least_at_the_target():
    distribution = ValueDistribution(1.0, 4, CPU)
    target = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    logits = torch.log(target).unsqueeze(1).requires_grad_()
    distribution.cross_entropy(logits, target).sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-6, rtol=0.0)


def test_return_scale_by_hand():
    scale = ReturnScale(0.5, limit=4.0, num_envs=2, device=CPU)
    ended = torch.tensor([[False], [False]])
    scale.follow(torch.tensor([[1.0], [0.0]]), ended)  # sums 1, 0
    scale.follow(torch.tensor([[1.0], [2.0]]), torch.tensor([[True], [False]]))  # sums 1.5, 2
    scale.follow(torch.tensor([[1.0], [2.0]]), ended)  # the first episode terminated: sums 1, 3
    deviation = float(np.std([1.0, 0.0, 1.5, 2.0, 1.0, 3.0]))
    assert scale.factor().item() == pytest.approx(1.0 / max(deviation, 3.0 / 4.0), rel=1e-5)


def test_the_largest_return_stays_within_the_limit():
    scale = ReturnScale(1.0, limit=2.0, num_envs=1, device=CPU)
    no = torch.tensor([[False]])
    for reward in [0.0] * 999 + [100.0]:
        scale.follow(torch.tensor([[reward]]), no)
    # The deviation alone (3.2) would leave a return of 31.6.
    assert scale.factor().item() * 100.0 == pytest.approx(2.0)


def test_a_sum_goes_on_across_a_time_limit():
    """Rewards of 1 for ever are worth 1 / (1 - gamma), however short the episodes are cut."""
    env, agent = make_agent(num_envs=2, discount_factor=0.5, value_limit=4.0)
    agent.setup(env.getEnvInfo())
    agent.prepare_training()
    ones, no, yes = torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.bool), torch.ones(2, 1, dtype=torch.bool)
    states = {"state": torch.zeros(2, 3)}
    for step in range(30):
        infos = {"final_obs": None, "valid": None, "log": {}}
        cut = yes if step % 2 else no
        agent.record_transition(states, {"action": torch.zeros(2, 1)}, ones, states, no, cut, infos, step, 30)
        agent._take_fresh(agent.memory)
    assert agent.return_scale.factor().item() == pytest.approx(1.0 / max(0.5, 2.0 / 4.0), abs=0.05)
    assert agent.return_scale._largest.item() == pytest.approx(2.0, abs=1e-6)


def test_reset_rows_have_no_influence_on_the_scale():
    plain, filled = (ReturnScale(0.9, 5.0, 1, CPU) for _ in range(2))
    no, yes = torch.tensor([[False]]), torch.tensor([[True]])
    for reward, ended in ((1.0, no), (2.0, yes), (3.0, no)):
        plain.follow(torch.tensor([[reward]]), ended)
        filled.follow(torch.tensor([[reward]]), ended, yes)
        if bool(ended):
            filled.follow(torch.tensor([[1e6]]), no, no)
    assert filled.factor() == plain.factor()


def make_agent(num_envs=4, **options):
    AquaML.seed_everything(0)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=num_envs)
    settings_ = dict(atoms=5, value_limit=2.0, batch_size=16, learning_starts=8, random_timesteps=8, memory_size=400)
    cfg = FastSACCfg(**dict(settings_, **options))
    models = default_actor_critic(env.getEnvInfo(), hidden_sizes=(16,), layer_norm=True, atoms=cfg.atoms)
    return env, FastSAC(models, cfg)


def test_target_goes_on_from_the_critic_with_the_smaller_mean():
    env, agent = make_agent(initial_temperature=1e-9)
    agent.setup(env.getEnvInfo())
    low, high = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0])
    logits = torch.log(torch.stack([high, low]) + 1e-20)  # values 1 and -1
    agent.critic_outputs = lambda critic, states, actions: {"logits": logits.expand(2, 2, 5)}
    states = {"state": torch.zeros(2, 3)}
    batch = Transitions(
        states, {"action": torch.zeros(2, 1)}, torch.tensor([[0.5], [0.5]]), states,
        torch.tensor([[0.5], [0.0]]), None, torch.arange(2),
    )  # fmt: skip
    # 0.5 + 0.5 * -1 = 0, an atom; after a termination the reward alone, between 0 and 1.
    expected = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5, 0.0]])
    torch.testing.assert_close(agent.target_distribution(batch), expected, atol=1e-5, rtol=0.0)


def test_a_critic_without_distribution_is_refused_before_training():
    env, agent = make_agent(atoms=5)
    models = default_actor_critic(env.getEnvInfo(), hidden_sizes=(16,))
    other = FastSAC(models, FastSACCfg(atoms=5))
    other.setup(env.getEnvInfo())
    with pytest.raises(ModelError, match="'logits' of shape .2, any, 5."):
        other.prepare_training()


def test_a_run_that_is_resumed_equals_the_uninterrupted_one(tmp_path):
    def train(folder, stop_at=None):
        env, agent = make_agent()
        cfg = TrainerConfig(
            timesteps=40, seed=0, run_directory=str(folder), tensorboard=False, disable_progressbar=True, resume=True
        )
        trainer = SequentialTrainer(env, agent, cfg)
        trainer.begin()
        while trainer.timestep < (stop_at or 40):
            trainer.step()
            trainer.after_step()
        trainer.save_last()
        trainer._claimed.release()
        return agent

    whole = train(tmp_path / "whole")
    train(tmp_path / "parts", stop_at=23)
    resumed = train(tmp_path / "parts")
    for name, value in whole.critic.state_dict().items():
        assert torch.equal(value, resumed.critic.state_dict()[name]), name
    assert whole.return_scale.factor() == resumed.return_scale.factor()
    assert torch.equal(whole.temperature.logarithm, resumed.temperature.logarithm)
