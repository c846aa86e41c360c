"""Deep Q-networks: exploration, spaces, and everything that other agents keep to."""

import math
from typing import Any, Dict

import gymnasium
import numpy as np
import pytest
import torch
from off_policy_pieces import DiscreteScriptedEnv, bound_agent, linear_agent, seen, space_env
from scripted import SpaceEnv, wrap

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError, ModelError
from AquaML.learning.model import default_q_network
from AquaML.learning.reinforcement.checker import check_agent
from AquaML.learning.reinforcement.exploration import epsilon_greedy
from AquaML.learning.reinforcement.off_policy import DQN, DQNCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

BOX = gymnasium.spaces.Box(-1.0, 1.0, (3,))


def env_of(actions: gymnasium.Space, observations: gymnasium.Space = BOX) -> GymnasiumWrapper:
    return GymnasiumWrapper(lambda: SpaceEnv(observations, actions), num_envs=2)


def train(env: GymnasiumWrapper, agent: DQN, timesteps: int) -> None:
    cfg = TrainerConfig(timesteps=timesteps, seed=1, disable_progressbar=True, tensorboard=False)
    SequentialTrainer(env, agent, cfg).train()


# ---------------------------------------------------------------------- exploration


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_some_actions_are_random(chance: float) -> None:
    best = torch.full((20_000, 1), 2)
    counts = torch.bincount(epsilon_greedy(best, 4, chance)[:, 0], minlength=4).double() / 20_000
    # A random action may be the best one as well.
    expected = torch.full((4,), chance / 4.0, dtype=torch.float64)
    expected[2] += 1.0 - chance
    assert float((counts - expected).abs().max()) < 5.0 * math.sqrt(0.25 / 20_000)
    assert chance > 0.0 or torch.equal(epsilon_greedy(best, 4, 0.0), best)


def test_the_chance_falls_linearly_and_then_stays() -> None:
    agent = bound_agent(DQN, exploration=0.8, final_exploration=0.2, exploration_share=0.5)
    found = [agent.exploration(timestep, 100) for timestep in (0, 25, 50, 75, 100)]
    assert found == pytest.approx([0.8, 0.5, 0.2, 0.2, 0.2])
    states = {"state": torch.zeros(20_000, 1)}
    # Q(0) = 0, 4, 0.5: action 1 is the best.
    for timestep, chance in ((0, 0.8), (25, 0.5), (99, 0.2)):
        share = float((agent.act(states, timestep, 100)["action"] == 1).float().mean())
        assert share == pytest.approx(1.0 - chance * 2.0 / 3.0, abs=0.02)
    assert agent.collect_metrics()["policy/exploration"] == pytest.approx((0.8 + 0.5 + 0.2) / 3.0)


@pytest.mark.parametrize("training, deterministic", [(False, True), (False, False), (True, True)])
def test_evaluation_is_greedy(training: bool, deterministic: bool) -> None:
    agent = bound_agent(DQN, random_timesteps=0)
    agent.set_mode(training=training, deterministic=deterministic)
    states = {"state": torch.linspace(-3.0, 5.0, 500).unsqueeze(1)}
    # Q = s, 4 - s, (s + 1) / 2: the second up to 2, the first above it.
    expected = torch.where(states["state"] > 2.0, 0, 1)
    assert torch.equal(agent.act(states, 0, 10)["action"], expected)


# ---------------------------------------------------------------------- spaces


def test_actions_that_do_not_begin_with_zero() -> None:
    env = wrap("own", [[([1.0] * 3, "truncated")]], kind=DiscreteScriptedEnv)
    agent = DQN(default_q_network(env.getEnvInfo(), hidden_sizes=(8,)), DQNCfg(device="cpu", learning_starts=2))
    train(env, agent, 30)
    # The environment has refused nothing; the memory holds places from 0.
    assert set(seen(agent.memory, "action:action").reshape(-1).tolist()) == {0, 1, 2}
    assert agent.memory.read("action:action", torch.tensor([0])).dtype == torch.int64
    action = agent.predict(np.zeros(2, np.float32))
    states = {"state": torch.zeros(1, 2)}
    best = agent.action_values(agent.q_network, agent.normalize(states)).argmax()
    assert action == 5 + int(best)


WRONG: Dict[str, gymnasium.Space] = {
    "Box": gymnasium.spaces.Box(-1.0, 1.0, (1,)),
    "MultiDiscrete": gymnasium.spaces.MultiDiscrete([2, 3]),
    "MultiBinary": gymnasium.spaces.MultiBinary(2),
    "Dict": gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(2), "b": gymnasium.spaces.Discrete(2)}),
}


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_other_actions_are_refused_and_leave_the_agent_as_it_was(kind: str) -> None:
    agent = linear_agent(DQN)
    with pytest.raises(AgentError, match="DQN learns one Discrete action, but the actions are .*Use PPO or A2C"):
        agent.setup(env_of(WRONG[kind]).getEnvInfo())
    agent.setup(space_env(DQN).getEnvInfo())
    assert agent.categories == 3


def test_a_network_of_another_width() -> None:
    agent = linear_agent(DQN)
    agent.setup(env_of(gymnasium.spaces.Discrete(4), gymnasium.spaces.Box(-1.0, 1.0, (1,))).getEnvInfo())
    with pytest.raises(ModelError, match=r"'values' of shape \(2, 3\); expected \(B, 4\)|\(2, 3\); expected \(2, 4\)"):
        agent.prepare_training()


OBSERVATIONS: Dict[str, gymnasium.Space] = {
    "image": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8),
    "categories": gymnasium.spaces.Discrete(6),
    "nested": gymnasium.spaces.Dict({"b": BOX, "a": gymnasium.spaces.MultiBinary(3)}),
}


@pytest.mark.parametrize("kind", sorted(OBSERVATIONS))
def test_observations_of_all_kinds(kind: str) -> None:
    env = env_of(gymnasium.spaces.Discrete(4), OBSERVATIONS[kind])
    agent = DQN(
        default_q_network(env.getEnvInfo(), hidden_sizes=(8,), dueling=True),
        DQNCfg(device="cpu", learning_starts=3, batch_size=4, memory_size=40, prioritized=True, n_steps=2),
    )
    train(env, agent, 8)
    assert agent.count.gradient_steps == 6
    if kind == "image":
        assert agent.memory.read("state:state", torch.tensor([0])).dtype == torch.uint8
    assert agent.predict(OBSERVATIONS[kind].sample()) in range(4)


def test_predict_needs_only_what_the_network_reads() -> None:
    env = env_of(gymnasium.spaces.Discrete(4), gymnasium.spaces.Dict({"state": BOX, "privileged": BOX}))
    agent = DQN(default_q_network(env.getEnvInfo(), hidden_sizes=(8,)), DQNCfg(device="cpu"))
    agent.setup(env.getEnvInfo())
    agent.prepare_training()
    assert agent.predict({"state": np.zeros(3, np.float32)}) in range(4)
    # Nor does the memory keep what nobody reads.
    assert [name for name in agent.memory.names if name.startswith("state:")] == ["state:state"]


# ---------------------------------------------------------------------- what all agents keep to


@pytest.mark.parametrize("options", [{}, {"double": False}, {"prioritized": True, "n_steps": 3}])
def test_the_contract_of_agents(options: Dict[str, Any]) -> None:
    env = space_env(DQN)
    check_agent(linear_agent(DQN, **options), env)


def test_dueling_networks_have_the_same_best_actions_after_saving() -> None:
    env = env_of(gymnasium.spaces.Discrete(4))
    info = env.getEnvInfo()
    agent = DQN(default_q_network(info, dueling=True), DQNCfg(device="cpu", learning_starts=2, batch_size=4))
    train(env, agent, 10)
    agent.save("dqn.aqua")
    other = DQN(default_q_network(info, dueling=True), DQNCfg(device="cpu"))
    other.load("dqn.aqua")
    for number in range(20):
        observation = np.random.default_rng(number).normal(size=3).astype(np.float32)
        assert agent.predict(observation) == other.predict(observation)
    # Q = V + A - mean A: the mean over actions is the state's value.
    values = agent.q_network.outputs({"state": torch.randn(5, 3)})["values"]
    assert values.shape == (5, 4)
