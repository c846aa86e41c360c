"""What all off-policy agents share, and the targets and steps of SAC, TD3, DDPG and DQN by hand."""

import math
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from off_policy_pieces import (
    CRITICS,
    KINDS,
    DiscreteScriptedEnv,
    batch_of,
    bound_agent,
    linear_agent,
    linear_models,
    seen,
    space_env,
    squashed_log_prob,
)
from scripted import MODES, Episode, ScriptedEnv, drive, parameters_of, wrap

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError, ConfigError, NonFiniteError
from AquaML.learning.model import Model, ModelCfg, default_actor_critic, default_q_network
from AquaML.learning.reinforcement.off_policy import DDPG, DQN, SAC, TD3
from AquaML.learning.reinforcement.off_policy.noise import CorrelatedNoise
from AquaML.learning.reinforcement.off_policy.target_network import TargetUpdate, frozen_copy
from AquaML.learning.reinforcement.off_policy.transitions import gather_transitions
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

GAMMA = 0.9
PLANS: List[List[Episode]] = [
    [([1.0, 2.0, 0.5], "truncated"), ([0.3], "terminated"), ([1.0, -1.0], "both")],
    [([0.1, 0.2], "terminated"), ([1.0, 2.0, 3.0, 4.0], "truncated")],
]


def trained(env: GymnasiumWrapper, agent: Any, timesteps: int) -> Any:
    """Return the agent after a training."""
    cfg = TrainerConfig(timesteps=timesteps, seed=3, disable_progressbar=True, tensorboard=False)
    SequentialTrainer(env, agent, cfg).train()
    return agent


def scripted_env(kind: Any, mode: str = "own", plans: Any = PLANS, **options: Any) -> GymnasiumWrapper:
    return wrap(mode, plans, kind=DiscreteScriptedEnv if kind is DQN else ScriptedEnv, **options)


def network_agent(kind: Any, env: GymnasiumWrapper, **options: Any) -> Any:
    """Return an agent with small ready-made networks that learns from the second step on."""
    settings: Dict[str, Any] = dict(device="cpu", random_timesteps=2, learning_starts=2, batch_size=8, memory_size=64)
    settings.update(options)
    info = env.getEnvInfo()
    if kind is DQN:
        models = default_q_network(info, hidden_sizes=(8,))
    else:
        models = default_actor_critic(info, "squashed" if kind is SAC else "deterministic", hidden_sizes=(8,))
    return kind(models, kind.config_class(**settings))


# ---------------------------------------------------------------------- what is stored


def transitions_by_hand(plan: List[Episode], number: int) -> List[Any]:
    """Return clock, episode, reward, successor's clock and episode, terminated and ended of the first transitions."""
    rows: List[Any] = []
    episode = 0
    while len(rows) < number:
        rewards, ending = plan[episode % len(plan)]
        for clock, reward in enumerate(rewards):
            last = clock == len(rewards) - 1
            terminated = float(last and ending in ("terminated", "both"))
            rows.append((clock, episode, pytest.approx(reward), clock + 1, episode, terminated, float(last)))
        episode += 1
    return rows[:number]


@pytest.mark.parametrize("kind", ["ddpg", "dqn"])
@pytest.mark.parametrize("mode", MODES)
def test_stored_pairs_are_consecutive_whenever_environments_reset(mode: str, kind: str) -> None:
    env = scripted_env(KINDS[kind], mode)
    agent = trained(env, network_agent(KINDS[kind], env, learning_starts=10_000), 20)
    memory = agent.memory
    first, after = seen(memory, "state:state"), seen(memory, "next:state")
    others = [seen(memory, name)[..., 0] for name in ("rewards", "terminated", "ended")]
    has_fillers = mode == "next_step"
    assert ("valid" in memory.names) == has_fillers
    valid = seen(memory, "valid")[..., 0] > 0 if has_fillers else np.ones((2, 20), bool)
    for index, plan in enumerate(PLANS):
        chosen = valid[index]
        columns = [first[index], others[0][index, :, None], after[index], others[1][index, :, None]]
        found = np.concatenate([*columns, others[2][index, :, None]], axis=1)[chosen]
        # The wrapper has reset once before training: the episodes begin at the number of the first row.
        found[:, 1] -= first[index, 0, 1]
        found[:, 4] -= first[index, 0, 1]
        assert [tuple(row) for row in found.tolist()] == transitions_by_hand(plan, int(chosen.sum()))
        assert int(chosen.sum()) == (20 if not has_fillers else len(found)) and len(found) >= 13


def test_batches_hold_consecutive_pairs_and_true_successors_at_time_limits() -> None:
    env = scripted_env(DDPG, "same_step")
    agent = trained(env, network_agent(DDPG, env, observation_normalizer=False, learning_starts=10_000), 30)
    for _ in range(10):
        batch = agent.sample()
        assert torch.equal(batch.next_states["state"][:, 0], batch.states["state"][:, 0] + 1.0)
        assert torch.equal(batch.next_states["state"][:, 1], batch.states["state"][:, 1])


def test_a_hidden_last_observation_is_replaced_by_the_one_before_it(log_lines: List[str]) -> None:
    plan: List[Episode] = [([1.0, 1.0, 1.0], "truncated"), ([1.0, 1.0], "terminated")]
    env = scripted_env(DDPG, "same_step", [plan], gives_final_observation=False)
    agent = trained(env, network_agent(DDPG, env, learning_starts=10_000), 10)
    first, after = (seen(agent.memory, name)[0, :, 0].tolist() for name in ("state:state", "next:state"))
    assert first == [0, 1, 2, 0, 1, 0, 1, 2, 0, 1]
    # At the time limit 2 stands for 3; behind a termination (0: of the next episode) nothing counts.
    assert after == [1, 2, 2, 1, 0, 1, 2, 2, 1, 0]
    assert len([line for line in log_lines if "hides the last observation" in line]) == 1


def test_an_interruption_ends_the_episodes_in_memory() -> None:
    env = scripted_env(DDPG, plans=[[([1.0] * 9, "truncated")]] * 2)
    agent = network_agent(DDPG, env, learning_starts=10_000)
    drive(env, agent, 4)
    agent.on_interruption()
    drive(env, agent, 4)
    assert seen(agent.memory, "ended")[..., 0].tolist() == [[0, 0, 0, 1, 0, 0, 0, 0]] * 2
    # Rows 2, 3 and 4 of environment 0.
    batch = gather_transitions(agent.memory, torch.tensor([4, 6, 8]), 3, 0.5)
    assert batch.rewards[:, 0].tolist() == [1.5, 1.0, 1.75] and batch.discounts[:, 0].tolist() == [0.25, 0.5, 0.125]


# ---------------------------------------------------------------------- rhythm


class Counting(DDPG):
    """Notes at how many stored steps it learns."""

    def learn(self, batch: Any) -> None:
        self.learned_at = getattr(self, "learned_at", []) + [self.memory.written]
        super().learn(batch)


@pytest.mark.parametrize(
    "options, steps, expected",
    [
        (dict(), 4, [1, 2, 3, 4]),
        (dict(learning_starts=3), 5, [3, 4, 5]),
        (dict(learning_starts=4, update_interval=3), 12, [6, 9, 12]),
        (dict(update_interval=2, gradient_steps=3), 4, [2, 2, 2, 4, 4, 4]),
        # Three rows fit; where no more can come, that is enough.
        (dict(memory_size=7, learning_starts=1_000), 5, [3, 4, 5]),
    ],
)
def test_when_it_learns(options: Dict[str, Any], steps: int, expected: List[int]) -> None:
    env = space_env(DDPG)
    agent = trained(env, linear_agent(Counting, **options), steps)
    assert agent.learned_at == expected
    assert agent.count.gradient_steps == len(expected)


def test_every_gradient_step_has_a_batch_of_its_own() -> None:
    places: List[Any] = []

    class Noting(DDPG):
        def learn(self, batch: Any) -> None:
            places.append(tuple(batch.places.tolist()))
            super().learn(batch)

    env = space_env(DDPG)
    trained(env, linear_agent(Noting, learning_starts=20, gradient_steps=4, batch_size=8), 20)
    assert len(places) == len(set(places)) == 4


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_first_steps_are_uniform(kind: str) -> None:
    env = space_env(KINDS[kind], num_envs=50)
    agent = linear_agent(KINDS[kind], random_timesteps=40, learning_starts=10_000, memory_size=5_000)
    trained(env, agent, 40)
    actions = seen(agent.memory, "action:action").reshape(-1).astype(float)
    # 2,000 draws: uniform on -2 … 2, or on 0, 1 and 2.
    edges = [-0.5, 0.5, 1.5, 2.5] if kind == "dqn" else [-2.0, -1.0, 0.0, 1.0, 2.0]
    counts, _ = np.histogram(actions, edges)
    share = 1.0 / len(counts)
    assert np.abs(counts / 2_000 - share).max() < 5 * math.sqrt(share * (1.0 - share) / 2_000)


@pytest.mark.parametrize("kind", ["ddpg", "td3", "dqn"])
def test_after_the_random_steps_and_in_evaluation_the_policy_acts(kind: str) -> None:
    options: Dict[str, Any] = {"exploration": 0.0, "final_exploration": 0.0} if kind == "dqn" else {}
    agent = bound_agent(KINDS[kind], random_timesteps=5, **options)
    states = {"state": torch.linspace(-1.0, 1.0, 40).unsqueeze(1)}
    agent.set_mode(training=False, deterministic=True)
    best = agent.act(states, 0, 10)["action"]
    if kind != "dqn":
        assert torch.equal(best, 0.25 * states["state"])
    for timestep, training, same in ((0, False, True), (4, True, False), (5, True, True), (9, True, True)):
        agent.set_mode(training=training)
        assert torch.equal(agent.act(states, timestep, 10)["action"], best) is same


# ---------------------------------------------------------------------- normalisers


@pytest.mark.parametrize("options", [{}, {"update_interval": 4, "gradient_steps": 3}, {"learning_starts": 1_000}])
@pytest.mark.parametrize("mode", ["own", "next_step"])
def test_statistics_take_every_transition_once(mode: str, options: Dict[str, Any]) -> None:
    env = scripted_env(TD3, mode)
    agent = trained(env, network_agent(TD3, env, **options), 22)
    states = seen(agent.memory, "state:state").reshape(-1, 2)
    if mode == "next_step":
        states = states[seen(agent.memory, "valid").reshape(-1) > 0]
        assert 0 < len(states) < 44
    normalizer = agent.normalizers["state"]
    assert int(normalizer.count) == len(states)
    np.testing.assert_allclose(normalizer.mean.numpy(), states.mean(axis=0), rtol=1e-6)


def test_batches_are_normalised_and_memory_is_not() -> None:
    env = scripted_env(DDPG)
    agent = trained(env, network_agent(DDPG, env, learning_starts=1_000), 20)
    batch = agent.sample()
    raw = agent.memory.read("state:state", batch.places)
    assert float(raw.max()) > 3.0
    assert torch.equal(batch.states["state"], agent.normalizers["state"].normalize(raw))


# ---------------------------------------------------------------------- rows that only reset


def after_training(kind: str, spoil: Any, **options: Any) -> Dict[str, torch.Tensor]:
    torch.manual_seed(7)
    env = scripted_env(KINDS[kind], "next_step")
    agent = network_agent(KINDS[kind], env, **options)
    drive(env, agent, 30, spoil=spoil)
    assert agent.count.gradient_steps == 29
    return parameters_of(agent)


@pytest.mark.parametrize("options", [{}, {"n_steps": 3, "prioritized": True}], ids=["plain", "several prioritised"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_rows_that_only_reset_have_no_influence(kind: str, options: Dict[str, Any]) -> None:
    def spoil(value: torch.Tensor) -> torch.Tensor:
        # An agent's action is a number whatever it saw; observations and rewards may be anything.
        return torch.full_like(value, float("nan") if value.is_floating_point() else 1)

    untouched, spoiled = after_training(kind, None, **options), after_training(kind, spoil, **options)
    assert untouched.keys() == spoiled.keys() and len(untouched) > 4
    for name, value in untouched.items():
        assert bool(torch.isfinite(value.double()).all()), name
        assert torch.equal(value, spoiled[name]), name


# ---------------------------------------------------------------------- numbers that are none


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("key", ["rewards", "next_states"])
def test_rows_with_nan_are_forgotten_even_by_a_full_memory(key: str, prioritized: bool) -> None:
    agent = bound_agent(DDPG, memory_size=20, prioritized=prioritized, n_steps=3)

    def record(step: int, **changes: torch.Tensor) -> None:
        column, no = torch.full((2, 1), 0.1 * step), torch.zeros((2, 1), dtype=torch.bool)
        row: Dict[str, Any] = dict(rewards=column, next_states=column + 0.1)
        row.update(changes)
        states, following = {"state": column}, {"state": row["next_states"]}
        agent.record_transition(states, {"action": column}, row["rewards"], following, no, no, {}, step, 100)
        agent.post_interaction(step, 100)

    for step in range(14):
        record(step)
    before, merged = parameters_of(agent), agent.count.gradient_steps
    with pytest.raises(NonFiniteError, match="reward" if key == "rewards" else "Observation"):
        record(14, **{key: torch.tensor([[0.0], [float("nan")]])})
    assert merged == agent.count.gradient_steps == 14 and agent.memory.size == 9
    for _ in range(50):
        batch = agent.sample()
        # Steps 5 … 13 are left.
        assert float(batch.states["state"].min()) > 0.45 and float(batch.states["state"].max()) < 1.35
        assert bool(torch.isfinite(batch.rewards).all() and torch.isfinite(batch.next_states["state"]).all())
    assert all(torch.equal(value, before[name]) for name, value in parameters_of(agent).items())
    # What follows is no continuation of what was before.
    agent.on_interruption()
    record(20)
    assert seen(agent.memory, "ended")[0, :, 0].tolist() == [0.0] * 8 + [1.0, 0.0]


# ---------------------------------------------------------------------- targets and losses by hand

# Two rows: states 2 and -1, actions 1 and -2 (places 0.5 and -1), successors 4 and 1; the second row terminated.
ROWS: Dict[str, Any] = dict(
    states=[2.0, -1.0], actions=[1.0, -2.0], rewards=[3.0, 5.0], next_states=[4.0, 1.0], discounts=[GAMMA, 0.0]
)


def expected_gradient(values: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the gradient of 0.5 * mean(w * sum over critics of squared errors) by the critics' weights."""
    inputs = torch.tensor([[2.0, 0.5, 1.0], [-1.0, -1.0, 1.0]])
    return torch.einsum("bc,bi->ci", weights * (values - targets), inputs) / 2.0


VALUES = torch.tensor([[2.0 + 2.0 * 0.5, 6.0 - 0.5 + 1.0], [-1.0 - 2.0, -3.0 + 1.0 + 1.0]])


@pytest.mark.parametrize("weights", [None, [1.0, 0.25]])
@pytest.mark.parametrize("kind", ["ddpg", "td3"])
def test_targets_of_deterministic_policies(kind: str, weights: Any) -> None:
    agent = bound_agent(KINDS[kind], policy_interval=1_000, **({"target_noise": 0.0} if kind == "td3" else {}))
    # Learned and target networks must not be mistaken for each other.
    with torch.no_grad():
        agent.policy.weight.fill_(-7.0)
        agent.target_critic.weights.copy_(torch.tensor([[1.0, 2.0, 10.0], [3.0, -1.0, 1.0]]))
    batch = batch_of(weights=weights, **ROWS)
    # mu'(4) = 1, place 0.5: Q' = min(4 + 1 + 10, 12 - 0.5 + 1) = 12.5; mu'(1) = 0.25, place 0.125: min(11.25, 3.875).
    torch.testing.assert_close(agent.next_values(batch), torch.tensor([[12.5], [3.875]]))
    targets = torch.tensor([[3.0 + 0.9 * 12.5], [5.0]])
    agent.count.gradient_steps = 1
    agent.learn(batch)
    factor = torch.ones(2, 1) if weights is None else torch.tensor(weights).reshape(2, 1)
    torch.testing.assert_close(agent.critic.weights.grad, expected_gradient(VALUES, targets, factor))
    figures = agent.collect_metrics()
    assert figures["value/target"] == pytest.approx(float(targets.mean()))
    assert figures["loss/critic"] == pytest.approx(float((factor * (VALUES - targets) ** 2).sum() / 4.0))


def test_targets_of_sac() -> None:
    agent = bound_agent(SAC, policy_interval=1_000, initial_temperature=0.3)
    batch = batch_of(**ROWS)
    torch.manual_seed(11)
    inner = 0.25 * torch.tensor([[4.0], [1.0]]) + math.exp(-0.5) * torch.randn(2, 1)
    places = torch.tanh(inner)
    # The density is that of places in -1 … 1, whatever the action's unit.
    log_prob = squashed_log_prob(0.25 * torch.tensor([[4.0], [1.0]]), torch.full((2, 1), -0.5).exp(), places, 1.0)
    states = torch.tensor([[4.0], [1.0]])
    both = torch.cat([states + 2.0 * places, 3.0 * states - places + 1.0], dim=1)
    expected = both.min(dim=1, keepdim=True).values - 0.3 * log_prob.float()
    torch.manual_seed(11)
    torch.testing.assert_close(agent.next_values(batch), expected, rtol=1e-5, atol=1e-5)
    torch.manual_seed(11)
    agent.count.gradient_steps = 1
    agent.learn(batch)
    targets = torch.tensor([[3.0], [5.0]]) + torch.tensor([[GAMMA], [0.0]]) * expected
    wanted = expected_gradient(VALUES, targets, torch.ones(2, 1))
    torch.testing.assert_close(agent.critic.weights.grad, wanted, rtol=1e-5, atol=1e-5)


def test_policy_and_temperature_of_sac() -> None:
    agent = bound_agent(SAC, initial_temperature=0.3, target_entropy=-0.7)
    weight, log_std = torch.tensor(0.25, requires_grad=True), torch.tensor(-0.5, requires_grad=True)
    states = torch.tensor([[2.0], [-1.0]])
    torch.manual_seed(4)
    noise = torch.randn(2, 1)
    inner = weight * states + log_std.exp() * noise
    places = torch.tanh(inner)
    log_prob = (
        -0.5 * noise**2 - log_std - 0.5 * math.log(2.0 * math.pi) - torch.log(1.0 - places**2)
    )  # the noise's density over the slope of tanh
    both = torch.cat([states + 2.0 * places, 3.0 * states - places + 1.0], dim=1)
    loss = (0.3 * log_prob - both.min(dim=1, keepdim=True).values).mean()
    loss.backward()
    torch.manual_seed(4)
    agent.learn_policy(batch_of(**ROWS))
    assert float(agent.policy.weight.grad) == pytest.approx(float(weight.grad), rel=1e-4)
    assert float(agent.policy.log_std_parameter.grad) == pytest.approx(float(log_std.grad), rel=1e-4)
    # d/d log(alpha) of -log(alpha) * (log pi + target entropy).
    excess = float(log_prob.detach().mean()) - 0.7
    assert float(agent.temperature.logarithm.grad) == pytest.approx(-excess, rel=1e-4)


def test_policy_of_ddpg_climbs_the_first_critic() -> None:
    agent = bound_agent(DDPG)
    agent.learn_policy(batch_of(**ROWS))
    # d/dw of -mean(2 * (w s) / 2): the first critic's slope 2, half width 2.
    assert float(agent.policy.weight.grad) == pytest.approx(-0.5)


@pytest.mark.parametrize("kind", ["ddpg", "td3", "sac"])
def test_the_policys_loss_leaves_nothing_in_the_critic(kind: str) -> None:
    agent = bound_agent(KINDS[kind])
    before = agent.critic.weights.detach().clone()
    agent.learn_policy(batch_of(**ROWS))
    assert agent.critic.weights.grad is None and agent.target_critic.weights.grad is None
    assert agent.policy.weight.grad is not None and torch.equal(agent.critic.weights, before)
    policy = agent.policy.weight.detach().clone()
    agent.count.gradient_steps = 1
    agent.cfg = agent.cfg.copy(policy_interval=1_000)
    agent.policy.weight.grad = None
    agent.learn(batch_of(**ROWS))
    assert agent.policy.weight.grad is None and torch.equal(agent.policy.weight, policy)
    assert all(not item.requires_grad for item in agent.target_critic.parameters())


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0]])
def test_targets_of_dqn(double: bool, weights: Any) -> None:
    agent = bound_agent(DQN, double=double, target_interval=1_000)
    with torch.no_grad():
        agent.target_q_network.weights.copy_(torch.tensor([[0.5, 0.0], [2.0, 1.0], [1.0, 0.0]]))
    rows = dict(ROWS, actions=[0.0, 0.0], discounts=[GAMMA, GAMMA])
    batch = batch_of(weights=weights, **rows)
    batch.actions = {"action": torch.tensor([[0], [2]])}
    # Q(4) = 4, 0, 2.5 and Q'(4) = 2, 9, 4; Q(1) = 1, 3, 1 and Q'(1) = 0.5, 3, 1.
    following = [2.0, 3.0] if double else [9.0, 3.0]
    assert agent.next_values(batch.next_states)[:, 0].tolist() == following
    targets = [3.0 + 0.9 * following[0], 5.0 + 0.9 * following[1]]
    agent.learn(batch)
    # Q(2, 0) = 2 and Q(-1, 2) = 0; both errors are beyond 1, where Huber's slope is the sign.
    errors = [2.0 - targets[0], 0.0 - targets[1]]
    assert min(abs(error) for error in errors) > 1.0
    factor = weights or [1.0, 1.0]
    expected = torch.zeros(3, 2)
    for action, state, error, weight in ((0, 2.0, errors[0], factor[0]), (2, -1.0, errors[1], factor[1])):
        expected[action] += math.copysign(1.0, error) * weight / 2.0 * torch.tensor([state, 1.0])
    torch.testing.assert_close(agent.q_network.weights.grad, expected)
    figures = agent.collect_metrics()
    assert figures["value/target"] == pytest.approx(sum(targets) / 2.0)
    loss = sum(weight * (abs(error) - 0.5) for weight, error in zip(factor, errors)) / 2.0
    assert figures["loss/q_network"] == pytest.approx(loss)


def test_small_errors_of_dqn_are_squared() -> None:
    agent = bound_agent(DQN)
    batch = batch_of(**dict(ROWS, rewards=[2.25, 0.0], discounts=[0.0, 0.0]))
    batch.actions = {"action": torch.tensor([[0], [2]])}
    agent.learn(batch)
    # Errors 2 - 2.25 and 0 - 0.
    expected = torch.zeros(3, 2)
    expected[0] = -0.25 / 2.0 * torch.tensor([2.0, 1.0])
    torch.testing.assert_close(agent.q_network.weights.grad, expected)


# ---------------------------------------------------------------------- target networks


class Normed(Model):
    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.network = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.BatchNorm1d(2))


@pytest.mark.parametrize("smoothing", [0.25, 1.0])
def test_the_target_update(smoothing: float) -> None:
    model = Normed()
    target = frozen_copy(model)
    before = [parameter.clone() for parameter in target.parameters()]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(4.0)
    model.network[1].running_mean.fill_(3.0)
    model.network[1].num_batches_tracked.fill_(9)
    TargetUpdate(target, model, smoothing).move()
    for old, new in zip(before, target.parameters()):
        torch.testing.assert_close(new, old + 4.0 * smoothing, rtol=1e-6, atol=1e-6)
        assert not new.requires_grad
    # Statistics are averages already.
    assert target.network[1].running_mean.tolist() == [3.0, 3.0] and int(target.network[1].num_batches_tracked) == 9


@pytest.mark.parametrize(
    "kind, options, moves",
    [
        ("dqn", {"target_interval": 3}, [3, 6]),
        ("ddpg", {"target_interval": 2}, [2, 4, 6]),
        ("td3", {}, [2, 4, 6]),
        ("sac", {}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_when_targets_move(kind: str, options: Dict[str, Any], moves: List[int]) -> None:
    agent = bound_agent(KINDS[kind], learning_rate=0.1, **options)
    role = "target_q_network" if kind == "dqn" else "target_critic"
    batch = batch_of(**ROWS)
    if kind == "dqn":
        batch.actions = {"action": torch.tensor([[0], [2]])}
    found = []
    for step in range(1, 7):
        before = agent.models[role].weights.clone()
        agent.count.gradient_steps = step
        agent.learn(batch)
        if not torch.equal(before, agent.models[role].weights):
            found.append(step)
            learned = agent.models[role.replace("target_", "")].weights
            tau = agent.cfg.target_smoothing
            torch.testing.assert_close(agent.models[role].weights, before + tau * (learned - before))
    assert found == moves


def test_targets_begin_equal_and_are_restored() -> None:
    agent = bound_agent(SAC)
    assert torch.equal(agent.target_critic.weights, torch.tensor(CRITICS))
    with torch.no_grad():
        agent.target_critic.weights.add_(1.0)
    agent.save("agent.aqua")
    other = linear_agent(SAC)
    other.load("agent.aqua")
    assert torch.equal(other.target_critic.weights, torch.tensor(CRITICS) + 1.0)
    assert torch.equal(other.critic.weights, torch.tensor(CRITICS))


# ---------------------------------------------------------------------- noise on actions


def test_noise_on_td3s_target_actions_is_clipped() -> None:
    agent = bound_agent(TD3, target_noise=0.2, target_noise_clip=0.3)
    states = {"state": torch.zeros(20_000, 1)}
    noise = agent.target_actions(states)["action"][:, 0] / 2.0
    # A normal draw of 0.2 cut at 1.5 deviations, in half widths of the action's range.
    assert float(noise.abs().max()) == pytest.approx(0.3)
    assert float((noise.abs() > 0.2999).float().mean()) == pytest.approx(math.erfc(1.5 / math.sqrt(2.0)), abs=0.01)
    inside = noise[noise.abs() < 0.29]
    assert float(inside.std()) == pytest.approx(0.146, abs=0.005)
    # At the edge of the range the action stays within it.
    edge = agent.target_actions({"state": torch.full((1_000, 1), 8.0)})["action"]
    assert float(edge.max()) == 2.0 and float(edge.min()) >= 2.0 - 0.6 - 1e-6


@pytest.mark.parametrize("kind", ["ddpg", "td3"])
def test_noise_on_tried_actions(kind: str) -> None:
    agent = bound_agent(KINDS[kind], exploration_noise=0.2, final_exploration_noise=0.1)
    states = {"state": torch.zeros(20_000, 1)}
    for timestep, deviation in ((0, 0.4), (50, 0.3), (100, 0.2)):
        tried = agent.act(states, timestep, 100)["action"]
        assert float(tried.std()) == pytest.approx(deviation, rel=0.03)
    agent.set_mode(training=True, deterministic=True)
    assert not agent.act(states, 0, 100)["action"].any()
    agent.set_mode(training=True)
    edge = agent.act({"state": torch.full((1_000, 1), 8.0)}, 0, 100)["action"]
    assert float(edge.max()) == 2.0 and float(edge.min()) < 1.9


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
def test_correlated_noise(correlation: float) -> None:
    noise, steps = CorrelatedNoise(correlation), []
    for _ in range(60):
        steps.append(noise.follow("action", torch.randn(4_000, 1)))
    values = torch.stack(steps)[..., 0].double()
    # Every step has variance 1 (the deviation of that estimate is 0.022), from the first on.
    assert float((values.var(dim=1) - 1.0).abs().max()) < 0.1
    for lag in (1, 2, 5):
        found = float((values[lag:] * values[:-lag]).mean())
        assert found == pytest.approx(correlation**lag, abs=0.03)


def test_correlated_noise_begins_anew_with_episodes() -> None:
    noise = CorrelatedNoise(0.9)
    first = noise.follow("action", torch.ones(2, 1))
    noise.reset(torch.tensor([[True], [False]]))
    white = torch.tensor([[-3.0], [-3.0]])
    second = noise.follow("action", white)
    assert float(second[0]) == -3.0
    assert float(second[1]) == pytest.approx(0.9 * float(first[1]) - 3.0 * math.sqrt(1.0 - 0.81))
    third = noise.follow("action", white)
    torch.testing.assert_close(third, 0.9 * second - 3.0 * math.sqrt(1.0 - 0.81))
    again = CorrelatedNoise(0.9)
    state = noise.state_dict()
    again.validate_state(state)
    again.load_state_dict(state)
    assert torch.equal(noise.follow("action", white), again.follow("action", white))


def test_an_agents_correlated_noise_follows_its_episodes() -> None:
    env = scripted_env(DDPG, plans=[[([1.0] * 30, "truncated")], [([1.0], "truncated")]])
    agent = linear_agent(
        DDPG, noise_correlation=0.97, exploration_noise=0.1, final_exploration_noise=0.1, learning_starts=1_000
    )
    with torch.no_grad():
        agent.policy.weight.zero_()
    trained(env, agent, 30)
    tried = seen(agent.memory, "action:action")[..., 0]
    # One environment never resets, the other after every step.
    changes = np.abs(np.diff(tried, axis=1)).mean(axis=1)
    assert changes[0] < 0.5 * changes[1]


# ---------------------------------------------------------------------- prioritised sampling


def test_errors_become_priorities_and_weights_reach_the_batch() -> None:
    env = space_env(DQN)
    agent = trained(env, linear_agent(DQN, prioritized=True, learning_starts=1_000, importance_exponent=1.0), 8)
    batch = agent.sample()
    assert batch.weights is not None and float(batch.weights.max()) == 1.0
    agent.take_notice(batch, torch.full((4, 1), 3.0))
    powers = agent.memory.priorities.state_dict(16)["powers"]
    expected = torch.ones(16, dtype=torch.float64)
    expected[batch.places] = (3.0 + 1e-6) ** 0.6
    torch.testing.assert_close(powers, expected)
    # A learning step does so by itself, with its own errors.
    agent.learn(batch)
    assert not torch.equal(powers, agent.memory.priorities.state_dict(16)["powers"])


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("kind, role", [("ddpg", "policy"), ("sac", "critic"), ("dqn", "q_network")])
def test_models_that_are_none(kind: str, role: str) -> None:
    models: Dict[str, Any] = dict(linear_models(KINDS[kind]))
    models[role] = torch.nn.Linear(1, 1)
    with pytest.raises(AgentError, match="the model '{}' is a Linear; expected a Model".format(role)):
        KINDS[kind](models)
    del models[role]
    with pytest.raises(AgentError, match="'{}' is missing".format(role)):
        KINDS[kind](models)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_configurations_that_cannot_be(kind: str) -> None:
    config = KINDS[kind].config_class
    with pytest.raises(ConfigError, match="memory_size is 2; expected at least n_steps = 3"):
        config(memory_size=2, n_steps=3).validate()
    with pytest.raises(ConfigError, match="learning_rate_scheduler_kwargs"):
        config(learning_rate_scheduler_kwargs={"gamma": 0.5}).validate()
    with pytest.raises(ConfigError, match="off-policy learning measures no divergence"):
        config(learning_rate_scheduler="KLAdaptiveLR").validate()


def test_seeds_decide_everything() -> None:
    def once(kind: str) -> Dict[str, torch.Tensor]:
        AquaML.seed_everything(5)
        env = scripted_env(KINDS[kind])
        return parameters_of(trained(env, network_agent(KINDS[kind], env, prioritized=True), 20))

    for kind in KINDS:
        first, second = once(kind), once(kind)
        assert all(torch.equal(first[name], second[name]) for name in first), kind
