"""Agents with recurrent models: what is stored, judged again, valued, carried on and forgotten."""

import math
from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from recurrent_pieces import KINDS, Policy, Sum, Value, models_of, recurrent_agent
from scripted import MODES, SpaceEnv, drive, parameters_of, wrap
from scripted import PlainPolicy as ConstantPolicy

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError, ConfigError, NonFiniteError
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.reinforcement.checker import check_agent
from AquaML.learning.reinforcement.on_policy.a2c import A2C, A2CCfg
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.reinforcement.on_policy.rpo import RPO
from AquaML.learning.reinforcement.on_policy.trpo import TRPO, TRPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

AGENTS = [PPO, A2C, RPO]
PLANS = [
    [([1.0, 2.0, 0.5], "truncated"), ([0.3], "terminated"), ([1.0, -1.0], "both"), ([0.5] * 6, "truncated")],
    [([0.1, 0.2], "terminated"), ([1.0, 2.0, 3.0, 4.0], "truncated")],
]


def blocks_of(agent: Any) -> Batch:
    """Return the whole rollout as one minibatch of blocks."""
    batch = agent.prepare_batch(agent.memory.rollout())
    return batch.select_blocks(batch.blocks())


def counted(minibatch: Batch) -> torch.Tensor:
    rows = minibatch.transitions()
    return torch.arange(len(minibatch.log_prob)) if rows is None else rows


# ------------------------------------------------------------------ what is stored is what was acted on


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("agent_class", AGENTS)
def test_the_update_judges_what_the_rollout_did(agent_class: Any, kind: str, cell: str, mode: str) -> None:
    torch.manual_seed(0)
    env = wrap(mode, PLANS)
    options = {"perturbation": 0.0} if agent_class is RPO else {}
    agent = recurrent_agent(agent_class, kind, cell, rollouts=12, value_normalizer=False, **options)
    drive(env, agent, 12)
    # The second rollout goes on with the states of the first.
    drive(env, agent, 12, learn=False)
    minibatch = blocks_of(agent)
    inside = minibatch.resets.reshape(-1, 4)[:, 1:]
    assert int(inside.sum()) >= 3
    with torch.no_grad():
        evaluated, values = agent.evaluate(minibatch)
    rows = counted(minibatch)
    torch.testing.assert_close(evaluated["log_prob"][rows], minibatch.log_prob[rows], rtol=0.0, atol=1e-5)
    torch.testing.assert_close(values[rows], minibatch.values[rows], rtol=0.0, atol=1e-5)
    assert float(minibatch.values[rows].std()) > 1e-3


SPACES = {
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "discrete": spaces.Discrete(3),
    "multi discrete": spaces.MultiDiscrete([2, 3]),
    "dict": spaces.Dict({"move": spaces.Box(-1.0, 1.0, (2,), np.float32), "grip": spaces.Discrete(3)}),
}
MIXED = spaces.Dict({"category": spaces.Discrete(3), "vector": spaces.Box(-1.0, 1.0, (2,), np.float32)})


@pytest.mark.parametrize("actions", sorted(SPACES))
@pytest.mark.parametrize("agent_class", [PPO, A2C])
def test_every_action_space(agent_class: Any, actions: str) -> None:
    torch.manual_seed(0)
    env = GymnasiumWrapper(lambda: SpaceEnv(MIXED, SPACES[actions], limit=3), num_envs=2)
    models = default_models(env.getEnvInfo(), hidden_sizes=(8,), recurrent="gru", recurrent_size=6)
    cfg = agent_class.config_class(device="cpu", rollouts=8, sequence_length=4, value_normalizer=False)
    agent = agent_class(models, cfg)
    drive(env, agent, 8, learn=False)
    minibatch = blocks_of(agent)
    with torch.no_grad():
        evaluated, values = agent.evaluate(minibatch)
    torch.testing.assert_close(evaluated["log_prob"], minibatch.log_prob, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(values, minibatch.values, rtol=0.0, atol=1e-5)
    before = parameters_of(agent)
    agent.update()
    changed = {name for name, value in parameters_of(agent).items() if not torch.equal(value, before[name])}
    assert any("encoder.net.weight_hh" in name for name in changed)


def test_the_state_that_went_in_is_stored() -> None:
    # The state is the sum of the clock over the episode. One environment, five steps of an episode, cut into blocks of
    # two: before steps 0, 2 and 4 the sums are 0, 0 + 1 and 0 + 1 + 2 + 3; one step late they were 0, 3 and 10.
    env = wrap("own", [[([0.0] * 6, "truncated")]])
    agent = summing_agent(PPO, rollouts=6, sequence_length=2)
    drive(env, agent, 6, learn=False)
    batch = agent.prepare_batch(agent.memory.rollout())
    assert batch.recurrent["value"]["sum"].flatten().tolist() == [0.0, 1.0, 6.0]
    assert batch.block_rows.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert batch.resets.flatten().tolist() == [True, False, False, False, False, False]


def test_blocks_begin_in_the_middle_of_episodes_and_of_rollouts() -> None:
    # Episodes of three and of two steps; the second rollout takes up the sums at which the first ended.
    env = wrap("own", [[([0.0] * 3, "truncated"), ([0.0] * 2, "terminated")], [([0.0] * 9, "truncated")]])
    agent = summing_agent(PPO, rollouts=4, sequence_length=2)
    drive(env, agent, 4, learn=False)
    batch = agent.prepare_batch(agent.memory.rollout())
    # Before steps 0 and 2, of the first and of the second environment.
    assert batch.recurrent["value"]["sum"].flatten().tolist() == [0.0, 0.0, 1.0, 1.0]
    assert batch.block_rows.tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert batch.resets.flatten().tolist() == [True, True, False, False, False, False, True, False]
    states = agent._recurrent.enter("training", 2)["value"]
    # The second episode of the first environment is at its second step; both its sums so far are 0.
    assert states["sum"].flatten().tolist() == [0.0, 6.0] and not bool(states["resets"].any())


def summing_agent(kind: Any, **options: Any) -> Any:
    """An agent whose value function is the sum of the clock over the episode, in units of reward."""
    settings: Dict[str, Any] = dict(observation_normalizer=False, value_normalizer=False, mini_batches=1, device="cpu")
    settings.update(options)
    return kind({"policy": ConstantPolicy(), "value": Sum()}, kind.config_class(**settings))


# ------------------------------------------------------------------ values


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [PPO, A2C])
def test_advantages_by_hand_with_a_value_that_remembers(kind: Any, mode: str) -> None:
    # gamma = lambda = 1/2, rewards 1, 2 | 3, 4; the first episode is cut off, the other ends. The value is the sum of
    # the clock over the episode: 0, 1, and 3 at the last observation, which the state before the reset must tell; were
    # it forgotten, that were 2. Then 0 and 1.
    env = wrap(mode, [[([1.0, 2.0], "truncated"), ([3.0, 4.0], "terminated")]])
    rows = 5 if mode == "next_step" else 4
    agent = summing_agent(kind, rollouts=rows, discount_factor=0.5, gae_lambda=0.5)
    drive(env, agent, rows, learn=False)
    rollout = agent.memory.rollout()
    chosen = rollout["valid"].reshape(-1) if "valid" in rollout else slice(None)
    found = agent.prepare_batch(rollout).advantages[chosen]
    torch.testing.assert_close(found.flatten(), torch.tensor([2.125, 2.5, 4.25, 3.0]), rtol=0.0, atol=1e-6)


def test_the_end_of_a_rollout_is_valued_from_the_state_after_its_last_step() -> None:
    # Values 0, 1, 3 and then 6 beyond the rollout; lambda = 0, gamma = 1/2.
    env = wrap("own", [[([1.0] * 9, "truncated")]])
    agent = summing_agent(PPO, rollouts=3, discount_factor=0.5, gae_lambda=0.0)
    drive(env, agent, 3, learn=False)
    found = agent.prepare_batch(agent.memory.rollout()).advantages
    assert found.flatten().tolist() == [1.0 + 0.5 - 0.0, 1.0 + 1.5 - 1.0, 1.0 + 3.0 - 3.0]


def test_a_shared_network_values_final_observations_from_its_state() -> None:
    torch.manual_seed(0)
    env = wrap("own", [[([1.0, 2.0, 0.5], "truncated"), ([0.3] * 5, "terminated")]])
    agent = recurrent_agent(
        PPO, "shared", rollouts=4, value_normalizer=False, observation_normalizer=False, mini_batches=1
    )
    drive(env, agent, 4, learn=False)
    agent.prepare_batch(agent.memory.rollout())
    observations = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    block = dict(state=observations, hidden=torch.zeros(1, 1, 8), resets=torch.zeros(4, 1, dtype=torch.bool))
    with torch.no_grad():
        expected = agent.policy.outputs(block)["values"]
    values = agent.memory.rollout()["values"][:, 0]
    torch.testing.assert_close(values[:3], expected[:3], rtol=0.0, atol=1e-6)
    next_values = agent._next_values(values.unsqueeze(1), agent.memory.rollout()["truncated"])
    torch.testing.assert_close(next_values[2, 0], expected[3], rtol=0.0, atol=1e-6)


# ------------------------------------------------------------------ the update


def test_gradients_flow_through_a_block_and_not_beyond() -> None:
    torch.manual_seed(0)
    env = wrap("own", [[([0.0] * 6, "truncated"), ([0.0] * 2, "terminated"), ([0.0] * 8, "truncated")]])
    agent = recurrent_agent(PPO, rollouts=12, value_normalizer=False)
    drive(env, agent, 12, learn=False)
    minibatch = blocks_of(agent)
    assert minibatch.resets.flatten().nonzero().flatten().tolist() == [0, 6, 8]
    assert not any(state.requires_grad for named in minibatch.recurrent.values() for state in named.values())
    minibatch.states["state"].requires_grad_()
    evaluated, values = agent.evaluate(minibatch)
    for output in (evaluated["log_prob"], values):
        for row, reached in ((3, [0, 1, 2, 3]), (5, [4, 5]), (7, [6, 7]), (11, [8, 9, 10, 11])):
            (gradient,) = torch.autograd.grad(output[row, 0], minibatch.states["state"], retain_graph=True)
            assert gradient.abs().sum(dim=1).nonzero().flatten().tolist() == reached


def test_the_sequence_length_decides_how_far_gradients_reach_back() -> None:
    trained = []
    for length in (1, 4, 8):
        torch.manual_seed(0)
        agent = recurrent_agent(PPO, sequence_length=length, mini_batches=1)
        drive(wrap("own", PLANS), agent, 8)
        trained.append(parameters_of(agent)["policy.encoder.net.weight_hh_l0"])
    assert not torch.equal(trained[0], trained[1]) and not torch.equal(trained[1], trained[2])


def test_every_block_is_in_one_minibatch_of_a_pass_and_its_rows_in_order() -> None:
    env = wrap("own", PLANS)
    agent = recurrent_agent(PPO, rollouts=12, mini_batches=4)
    drive(env, agent, 12, learn=False)
    batch = agent.prepare_batch(agent.memory.rollout())
    # Marks each row with its place in the rollout, (step, environment).
    batch.returns = torch.arange(24.0).reshape(-1, 1)
    minibatches = list(agent._minibatches(batch, torch.arange(24)))
    assert sorted(len(minibatch.returns) for minibatch in minibatches) == [4, 4, 8, 8]
    seen: List[float] = []
    for minibatch in minibatches:
        for block in minibatch.returns.reshape(-1, 4):
            assert (block[1:] - block[:-1]).tolist() == [2.0, 2.0, 2.0] and float(block[0]) // 2 % 4 == 0
            seen += block.tolist()
    assert sorted(seen) == list(range(24))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("agent_class", AGENTS)
def test_what_a_row_that_only_resets_holds_reaches_nothing(agent_class: Any, kind: str) -> None:
    trained = []
    for spoil in (None, lambda value: torch.full_like(value, math.nan)):
        torch.manual_seed(7)
        env = wrap("next_step", PLANS)
        agent = recurrent_agent(agent_class, kind, advantage_normalization="minibatch")
        drive(env, agent, 5 * 8, spoil=spoil)
        trained.append(parameters_of(agent))
    for name, value in trained[0].items():
        assert torch.equal(value, trained[1][name]), name
        assert bool(torch.isfinite(value.double()).all()), name


def test_a_block_without_a_transition_is_left_out() -> None:
    # Episodes of one step: every second row only resets, and with blocks of one step so does every second block.
    env = wrap("next_step", [[([1.0], "terminated")], [([1.0], "terminated")]])
    agent = recurrent_agent(PPO, rollouts=8, sequence_length=1, mini_batches=8)
    drive(env, agent, 8, learn=False)
    batch = agent.prepare_batch(agent.memory.rollout())
    assert len(batch.block_rows) == 16 and len(batch.blocks()) == 8
    agent.update()
    assert all(math.isfinite(value) for value in agent.collect_metrics().values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("non_finite", ["raise", "skip"])
def test_nan_in_an_update_leaves_the_networks_as_they_were(non_finite: str, kind: str) -> None:
    torch.manual_seed(0)
    agent = recurrent_agent(PPO, kind, non_finite=non_finite)
    env = wrap("own", PLANS)
    drive(env, agent, 8)
    drive(env, agent, 8, learn=False)
    before = parameters_of(agent)
    agent.value_loss = lambda minibatch, values: values.mean() * math.nan
    with pytest.raises(NonFiniteError):
        agent.update()
    assert all(torch.equal(value, before[name]) for name, value in parameters_of(agent).items())


def test_a_single_spoiled_minibatch_is_skipped_and_learning_goes_on() -> None:
    torch.manual_seed(0)
    agent = recurrent_agent(PPO, non_finite="skip", mini_batches=4)
    env = wrap("own", PLANS)
    drive(env, agent, 8, learn=False)
    calls: List[int] = []
    right = agent.value_loss

    def wrong_once(minibatch: Batch, values: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return right(minibatch, values) * (math.nan if len(calls) == 2 else 1.0)

    agent.value_loss = wrong_once
    before = parameters_of(agent)
    agent.update()
    after = parameters_of(agent)
    assert all(bool(torch.isfinite(value.double()).all()) for value in after.values())
    assert any(not torch.equal(value, before[name]) for name, value in after.items())


class Fragile(gymnasium.Env):
    """Shows NaN in one step of its first episode."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    broken = True

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.clock = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.clock += 1
        wrong, type(self).broken = self.broken and self.clock == 3, self.broken and self.clock != 3
        return np.full(2, math.nan if wrong else self.clock, np.float32), 1.0, False, self.clock == 9, {}


def test_states_that_took_up_nan_are_forgotten_and_training_goes_on() -> None:
    AquaML.seed_everything(0)
    Fragile.broken = True
    env = GymnasiumWrapper(Fragile, num_envs=1)
    agent = recurrent_agent(PPO, non_finite="skip")
    trainer_of(env, agent, timesteps=32).train()
    assert not Fragile.broken
    states = agent._recurrent.enter("training", 1)
    assert all(bool(torch.isfinite(state).all()) for named in states.values() for state in named.values())
    assert all(bool(torch.isfinite(value.double()).all()) for value in parameters_of(agent).values())


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision(kind: str) -> None:
    torch.manual_seed(0)
    agent = recurrent_agent(PPO, kind, mixed_precision="bf16")
    drive(wrap("own", PLANS), agent, 24)
    assert agent.memory.completed == 3
    assert all(math.isfinite(value) for value in agent.collect_metrics().values())


# ------------------------------------------------------------------ who acts


def trainer_of(env: GymnasiumWrapper, agent: Any, **options: Any) -> SequentialTrainer:
    settings: Dict[str, Any] = dict(
        timesteps=48, seed=5, disable_progressbar=True, tensorboard=False, learning_curve=False, checkpoint_interval=0
    )
    settings.update(options)
    return SequentialTrainer(env, agent, TrainerConfig(**settings))


def trained(kind: str, tamper: Any = None, **options: Any) -> Any:
    """A training on CartPole, with something done after each step."""
    AquaML.seed_everything(1)
    env = GymnasiumWrapper("CartPole-v1", num_envs=3)
    shared = kind == "shared"
    models = default_models(env.getEnvInfo(), hidden_sizes=(8,), recurrent="lstm", recurrent_size=6, shared=shared)
    agent = PPO(models, PPOCfg(device="cpu", rollouts=8, sequence_length=4, mini_batches=2, learning_epochs=2))
    trainer = trainer_of(env, agent, **options)
    trainer.begin()
    while trainer.timestep < 48:
        trainer.step()
        trainer.after_step()
        if tamper is not None:
            tamper(agent)
    return agent


@pytest.mark.parametrize("kind", ["separate", "shared"])
def test_neither_evaluation_nor_prediction_disturbs_training(kind: str) -> None:
    whole = trained(kind)
    evaluated = trained(kind, evaluation_interval=5, evaluation_episodes=2)
    predicted = trained(kind, lambda agent: [agent.predict(np.zeros(4, np.float32)) for _ in range(2)])
    for other in (evaluated, predicted):
        for name, value in parameters_of(whole).items():
            assert torch.equal(value, parameters_of(other)[name]), name
        ours, theirs = (agent._recurrent.state_dict()["states"] for agent in (whole, other))
        assert all(torch.equal(ours[role][name], theirs[role][name]) for role in ours for name in ours[role])


def test_predicting_equals_evaluating_step_by_step() -> None:
    agent = trained("separate")
    env = GymnasiumWrapper("CartPole-v1", num_envs=1, max_episode_steps=12)
    agent.set_mode(training=False, deterministic=True)
    states, _ = env.reset(seed=0)
    agent.on_reset(torch.ones(1, 1, dtype=torch.bool))
    begins, past = True, []
    for _ in range(30):
        observation = states["state"][0].numpy().copy()
        acted = agent.name_actions(agent.act(states, 0, 1))["action"]
        parameters = agent._recurrent.of("evaluation", "policy")["hidden"].clone()
        assert agent.predict(observation, begin=begins) == int(acted)
        assert torch.equal(parameters, agent._recurrent.of("prediction", "policy")["hidden"])
        past.append(parameters)
        states, _, terminated, truncated, _ = env.step({"action": acted})
        begins = bool(terminated | truncated)
        agent.on_reset(terminated | truncated)
    assert len({tuple(state.flatten().tolist()) for state in past}) == 30


def test_predicting_carries_its_state_until_an_episode_begins() -> None:
    agent = trained("shared")
    agent.models["policy"].heads.heads.output.weight.data.mul_(100.0)
    observations = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)

    def hidden() -> torch.Tensor:
        return agent._recurrent.of("prediction", "policy")["hidden"].clone()

    first = []
    for index, observation in enumerate(observations):
        agent.predict(observation, begin=index == 0)
        first.append(hidden())
    agent.predict(observations[0])
    assert not torch.equal(hidden(), first[0])
    for index, observation in enumerate(observations):
        agent.predict(observation, begin=index == 0)
        assert torch.equal(hidden(), first[index])


def test_loading_forgets_the_states_of_the_former_networks() -> None:
    agent = trained("separate")
    agent.save("agent.aqua")
    agent.predict(np.ones(4, np.float32))
    agent.load("agent.aqua")
    agent.predict(np.ones(4, np.float32))
    continued = agent._recurrent.of("prediction", "policy")["hidden"]
    agent.predict(np.ones(4, np.float32), begin=True)
    assert torch.equal(continued, agent._recurrent.of("prediction", "policy")["hidden"])


def test_a_loaded_agent_predicts_alike() -> None:
    agent = trained("shared")
    agent.save("agent.aqua")
    env = GymnasiumWrapper("CartPole-v1")
    models = default_models(env.getEnvInfo(), hidden_sizes=(8,), recurrent="lstm", recurrent_size=6, shared=True)
    other = PPO(models, PPOCfg(device="cpu", rollouts=8, sequence_length=4, mini_batches=2))
    other.load("agent.aqua")
    for index, observation in enumerate(np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)):
        assert agent.predict(observation, begin=index == 0) == other.predict(observation, begin=index == 0)
        states = [one._recurrent.of("prediction", "policy")["cell"] for one in (agent, other)]
        assert torch.equal(states[0], states[1])


def test_the_checker_has_nothing_to_say() -> None:
    AquaML.seed_everything(1)
    env = GymnasiumWrapper("CartPole-v1", num_envs=2)
    models = default_models(env.getEnvInfo(), hidden_sizes=(8,), recurrent="gru", recurrent_size=6)
    check_agent(PPO(models, PPOCfg(device="cpu", rollouts=8, sequence_length=4, mini_batches=2)), env)


# ------------------------------------------------------------------ mistakes


class Memoryless(Agent):
    """An agent that knows nothing of recurrent states."""

    def act(self, states: Any, timestep: int, timesteps: int) -> Any:
        return self.models["policy"].act(states)["actions"]

    def record_transition(self, *arguments: Any, **named: Any) -> None:
        pass

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        pass


def test_agents_that_do_not_keep_states_refuse_recurrent_models() -> None:
    with pytest.raises(AgentError, match=r"TRPO: models\['policy'\] has a recurrent state, which this agent does not"):
        TRPO(models_of("separate"), TRPOCfg(device="cpu"))
    with pytest.raises(AgentError, match=r"TRPO: models\['value'\] has a recurrent state"):
        TRPO(models_of("feed-forward policy"), TRPOCfg(device="cpu"))
    with pytest.raises(AgentError, match=r"Memoryless: models\['policy'\] has a recurrent state, .*PPO, A2C or RPO"):
        Memoryless({"policy": Policy()})
    with pytest.raises(AgentError, match=r"PPO: models\['other'\] has a recurrent state"):
        PPO(dict(models_of("separate"), other=Value()), PPOCfg(device="cpu"))


def test_a_sequence_length_that_means_nothing_or_does_not_fit() -> None:
    env = wrap("own", PLANS)
    with pytest.raises(ConfigError, match=r"PPOCfg.sequence_length is 4, but no model has a recurrent state"):
        PPO(default_models(env.getEnvInfo()), PPOCfg(device="cpu", sequence_length=4))
    with pytest.raises(ConfigError, match=r"sequence_length.*a divisor of rollouts = 8"):
        recurrent_agent(PPO, rollouts=8, sequence_length=3)
    agent = recurrent_agent(PPO, rollouts=8, sequence_length=4, mini_batches=5)
    message = r"PPOCfg.mini_batches is 5; expected at most rollouts \* num_envs / sequence_length = 4, for recurrent"
    with pytest.raises(ConfigError, match=message):
        agent.setup(env.getEnvInfo())
    with pytest.raises(ConfigError, match=r"mini_batches is 3; .* = 2"):
        A2C(models_of("shared"), A2CCfg(device="cpu", mini_batches=3)).setup(env.getEnvInfo())


def test_other_environments_without_a_reset() -> None:
    agent = trained("separate")
    agent.set_mode(training=False)
    agent.act({"state": torch.zeros(2, 4)}, 0, 1)
    with pytest.raises(AgentError, match=r"of evaluation are those of 2 environments, but 3 are to act; call on_reset"):
        agent.act({"state": torch.zeros(3, 4)}, 0, 1)
    agent.on_reset(torch.ones(3, 1, dtype=torch.bool))
    agent.act({"state": torch.zeros(3, 4)}, 0, 1)
