"""Bootstrapping through the real wrapper, memory and PPO, whenever the simulator resets."""

from typing import Any, Dict, List, Tuple

import pytest
import torch
from scripted import MODES, drive, known_agent, parameters_of, small_agent, wrap

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.reinforcement.on_policy.ppo import PPO


def collected(env: GymnasiumWrapper, agent: PPO, rows: int) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fill one rollout; return states, advantages and returns of its transitions, environment by environment."""
    drive(env, agent, rows, learn=False)
    rollout = agent.memory.rollout()
    batch = agent.prepare_batch(rollout)
    shape = (rows, env.num_envs)
    valid = rollout.get("valid", torch.ones(shape + (1,), dtype=torch.bool))[..., 0].T
    states = batch.states["state"].reshape(shape + (2,)).transpose(0, 1)
    found = [item.reshape(shape).T[valid] for item in (batch.advantages, batch.returns)]
    return states[valid], found[0], found[1]


# One environment, gamma = lambda = 1/2, V = clock + 10 * episode, rewards 1, 2 | 3, 4 | ...
# cut off:    V 0 1 10 11, V(s') 1 2 11 12; errors 1.5, 2, -1.5, (-1 cut off | -7 terminated)
HAND: Dict[str, Tuple[List[Any], List[float], List[float]]] = {
    "truncated": (
        [([1.0, 2.0], "truncated"), ([3.0, 4.0], "truncated")],
        [2.0, 2.0, -1.75, -1.0],
        [2.0, 3.0, 8.25, 10.0],
    ),
    "terminated": (
        [([1.0, 2.0], "terminated"), ([3.0, 4.0], "terminated")],
        [1.75, 1.0, -3.25, -7.0],
        [1.75, 2.0, 6.75, 4.0],
    ),
    "both": (
        [([1.0, 2.0], "both"), ([3.0, 4.0], "both")],
        [1.75, 1.0, -3.25, -7.0],
        [1.75, 2.0, 6.75, 4.0],
    ),
    "mixed": (
        [([1.0, 2.0], "truncated"), ([3.0, 4.0], "terminated")],
        [2.0, 2.0, -3.25, -7.0],
        [2.0, 3.0, 6.75, 4.0],
    ),
    "neither": (
        [([1.0, 2.0, 3.0, 4.0, 0.0, 0.0], "terminated")],
        [2.203125, 2.8125, 3.25, 3.0],
        [2.203125, 3.8125, 5.25, 6.0],
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", sorted(HAND))
def test_hand_computed_table(mode: str, case: str) -> None:
    plan, advantages, returns = HAND[case]
    # A next-step reset costs one row between the two episodes; the end of the second one is the last row.
    rows = 5 if mode == "next_step" and case != "neither" else 4
    env = wrap(mode, [plan])
    agent = known_agent(lambda s: s[:, :1] + 10.0 * s[:, 1:], rollouts=rows, discount_factor=0.5, gae_lambda=0.5)
    _, found_advantages, found_returns = collected(env, agent, rows)
    torch.testing.assert_close(found_advantages, torch.tensor(advantages), rtol=0.0, atol=1e-5)
    torch.testing.assert_close(found_returns, torch.tensor(returns), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("value_normalizer", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("gamma, reward", [(0.99, 0.01), (0.9, 1.0)])
def test_calibrated_constant_critic_has_no_advantage(
    mode: str, gamma: float, reward: float, value_normalizer: bool
) -> None:
    plans = [[([reward] * 3, "truncated")], [([reward] * 5, "truncated"), ([reward], "truncated")]]
    env = wrap(mode, plans)
    value = reward / (1.0 - gamma)
    agent = known_agent(
        lambda s: torch.full_like(s[:, :1], value),
        rollouts=17,
        discount_factor=gamma,
        gae_lambda=0.95,
        value_normalizer=value_normalizer,
    )
    _, advantages, _ = collected(env, agent, 17)
    assert float(advantages.abs().max()) <= 1e-5


@pytest.mark.parametrize("mode", MODES)
def test_calibrated_critic_that_depends_on_the_state_has_no_advantage(mode: str) -> None:
    # V(clock) = clock solves V(s) = r(s) + gamma V(s') for r = clock - gamma (clock + 1).
    gamma = 0.9
    plans = [
        [([clock - gamma * (clock + 1) for clock in range(length)], "truncated") for length in lengths]
        for lengths in ([3, 1, 4], [2, 2, 5], [6])
    ]
    env = wrap(mode, plans)
    agent = known_agent(lambda s: s[:, :1].clone(), rollouts=16, discount_factor=gamma, gae_lambda=0.95)
    _, advantages, returns = collected(env, agent, 16)
    assert float(advantages.abs().max()) <= 1e-5


def test_hidden_final_observation_falls_back_on_the_value_before_it(log_lines: list) -> None:
    gamma = 0.9
    plan = [([clock - gamma * (clock + 1) for clock in range(3)], "truncated")]
    env = wrap("same_step", [plan], gives_final_observation=False)
    agent = known_agent(lambda s: s[:, :1].clone(), rollouts=6, discount_factor=gamma, gae_lambda=0.0)
    states, advantages, _ = collected(env, agent, 6)
    # V(s_t) = 2 stands in for V(s_final) = 3 in the third and sixth row.
    expected = torch.where(states[:, 0] == 2.0, torch.tensor(-gamma * 1.0), torch.tensor(0.0))
    torch.testing.assert_close(advantages, expected, rtol=0.0, atol=1e-5)
    said = [line for line in log_lines if "hides the last observation" in line]
    assert len(said) == 1


PLANS = [
    [([1.0, 2.0, 0.5], "truncated"), ([0.3], "terminated"), ([1.0, -1.0], "both")],
    [([0.1, 0.2], "terminated"), ([1.0, 2.0, 3.0, 4.0], "truncated")],
]


def trained_with(spoil: Any, **options: Any) -> Dict[str, torch.Tensor]:
    torch.manual_seed(7)
    env = wrap("next_step", PLANS)
    agent = small_agent(env, rollouts=7, **options)
    drive(env, agent, 5 * 7, spoil=spoil)
    return parameters_of(agent)


@pytest.mark.parametrize("options", [{}, {"advantage_normalization": "minibatch", "reward_shaper": None}])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: torch.full_like(value, float("nan")),
        lambda value: torch.full_like(value, 1e30),
        lambda value: torch.full_like(value, -123.0),
    ],
    ids=["nan", "huge", "numbers"],
)
def test_reset_only_rows_have_no_influence(spoil: Any, options: Dict[str, Any]) -> None:
    untouched, spoiled = trained_with(None, **options), trained_with(spoil, **options)
    assert untouched.keys() == spoiled.keys()
    for name, value in untouched.items():
        assert torch.equal(value, spoiled[name]), name
        assert bool(torch.isfinite(value.double()).all()), name


def test_a_reward_shaper_does_not_mix_reset_only_rows_in() -> None:
    def centred(rewards: torch.Tensor) -> torch.Tensor:
        return rewards - rewards.mean()

    untouched = trained_with(None, reward_shaper=centred)
    spoiled = trained_with(lambda value: torch.full_like(value, float("nan")), reward_shaper=centred)
    for name, value in untouched.items():
        assert torch.equal(value, spoiled[name]), name


def test_statistics_count_transitions_only() -> None:
    env = wrap("next_step", [[([1.0, 1.0], "truncated")]])
    agent = small_agent(env, rollouts=6, mini_batches=1)
    drive(env, agent, 6)
    # Rows: step, step, reset, step, step, reset.
    assert int(agent.normalizers["state"].count) == 4
    assert int(agent.value_normalizer.count) == 4


def test_a_rollout_of_reset_only_rows_changes_nothing() -> None:
    env = wrap("next_step", [[([1.0], "truncated")]])
    agent = small_agent(env, rollouts=1, mini_batches=1)
    drive(env, agent, 1)
    before = parameters_of(agent)
    torch.manual_seed(0)
    env = wrap("next_step", [[([1.0], "truncated")]])
    drive(env, agent, 2)
    after = parameters_of(agent)
    # Of the two rows the second only resets: one more sample, and every weight is finite.
    assert int(after["value_normalizer.count"]) == int(before["value_normalizer.count"]) + 1
    assert all(bool(torch.isfinite(value.double()).all()) for value in after.values())


def test_fewer_transitions_than_minibatches() -> None:
    env = wrap("next_step", [[([1.0], "truncated")]])
    agent = small_agent(env, rollouts=4, mini_batches=4)
    drive(env, agent, 8)
    assert all(bool(torch.isfinite(value.double()).all()) for value in parameters_of(agent).values())
