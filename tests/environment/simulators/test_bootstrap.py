"""What the agent makes of time limits and of rows that only reset, through every wrapper, memory and PPO."""

from typing import Any, Dict, List

import pytest
import torch
from cases import CASES
from conformance import clock_actions

from AquaML.environment.rows import true_successors
from AquaML.learning.model.base import Model
from AquaML.learning.model.gaussian import GaussianModel
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg

NUMBER, ROWS, GAMMA = 3, 24, 0.5


class Policy(GaussianModel):
    """Does what :func:`conformance.clock_actions` does, with a narrow spread."""

    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"]))
        self.offset = torch.nn.Parameter(torch.zeros(1))

    def compute(self, data_dict: Any) -> Any:
        mean = clock_actions(data_dict) + self.offset
        return {"mean_actions": mean, "log_std": torch.full_like(mean, -4.0)}


class Value(Model):
    """``V = 7 * age + episode % 5``, known by heart."""

    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"]))
        self.scale = torch.nn.Parameter(torch.ones(1))

    def compute(self, data_dict: Any) -> Any:
        return {"values": self.scale * value_of(data_dict["state"])}


def value_of(state: torch.Tensor) -> torch.Tensor:
    return 7.0 * state[:, 2:3] + torch.remainder(state[:, 1:2], 5.0)


def known_agent(env: Any, **settings: Any) -> PPO:
    options: Dict[str, Any] = dict(
        device="cpu",
        rollouts=ROWS,
        discount_factor=GAMMA,
        gae_lambda=0.0,
        observation_normalizer=False,
        value_normalizer=False,
        learning_epochs=1,
        mini_batches=1,
    )
    options.update(settings)
    agent = PPO({"policy": Policy(), "value": Value()}, PPOCfg(**options))
    agent.setup(env.getEnvInfo())
    agent.prepare_training()
    agent.set_mode(training=True)
    return agent


def play(env: Any, agent: PPO, spoil: float = 0.0) -> List[Dict[str, torch.Tensor]]:
    """Fill one rollout; return its rows. ``spoil`` is added to all that rows that only reset hold."""
    states, _ = env.reset(seed=0)
    rows = []
    ended = torch.zeros((NUMBER, 1), dtype=torch.bool)
    for step in range(ROWS):
        actions = agent.name_actions(agent.act(states, step, ROWS))
        following, rewards, terminated, truncated, infos = env.step(actions)
        done = terminated | truncated
        successors = true_successors(following, done, infos["final_obs"])
        valid = torch.ones_like(done) if infos["valid"] is None else infos["valid"]
        # Where the simulator resets in the next step, that is known here without the wrapper's word.
        only_resets = ended if env.autoreset == "next_step" else ~valid
        ended = done.clone()
        given = {name: value + spoil * only_resets for name, value in states.items()}
        rewards = rewards + spoil * only_resets
        agent.record_transition(given, actions, rewards, successors, terminated, truncated, infos, step, ROWS)
        rows.append(
            {
                "state": given["state"].clone(),
                "successor": successors["state"].clone(),
                "reward": rewards.clone(),
                "terminated": terminated.clone(),
                "truncated": truncated.clone(),
                "valid": valid.clone(),
            }
        )
        states = following
    return rows


@pytest.mark.parametrize("name", list(CASES))
def test_advantages_are_those_computed_by_hand(name: str) -> None:
    case = CASES[name]
    env = case.make(NUMBER)
    agent = known_agent(env)
    rows = play(env, agent)
    batch = agent.prepare_batch(agent.memory.rollout())
    found = batch.advantages.reshape(ROWS, NUMBER, 1)
    cut_off = 0
    for row, advantage in zip(rows, found):
        now, following = value_of(row["state"]), value_of(row["successor"])
        if not case.gives_final:
            # The value of the observation before the last one stands in for that of the last one.
            following = torch.where(row["truncated"], now, following)
        else:
            # The last observation is one step older than the one before it, and of the same episode.
            ended = row["truncated"] & row["valid"]
            torch.testing.assert_close(following[ended], now[ended] + 7.0)
        expected = row["reward"] + GAMMA * following * ~row["terminated"] - now
        torch.testing.assert_close(advantage[row["valid"]], expected[row["valid"]], rtol=0.0, atol=1e-4)
        assert not advantage[~row["valid"]].any()
        cut_off += int((row["truncated"] & row["valid"]).sum())
    assert cut_off >= 5


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].gives_final])
def test_a_calibrated_critic_has_no_advantage_at_time_limits(name: str) -> None:
    env = CASES[name].make(NUMBER)
    agent = known_agent(env, gae_lambda=0.95)
    # V solves V(s) = r + gamma V(s') if r = V(s) - gamma V(s'), with the true successor at time limits.
    agent.rollout_rewards = lambda rewards: calibrated  # type: ignore[method-assign]
    rows = play(env, agent)
    following = [value_of(row["successor"]) * ~row["terminated"] for row in rows]
    calibrated = torch.stack([value_of(row["state"]) - GAMMA * value for row, value in zip(rows, following)])
    batch = agent.prepare_batch(agent.memory.rollout())
    assert float(batch.advantages.abs().max()) <= 1e-5


@pytest.mark.parametrize("name", [name for name in CASES if not CASES[name].gives_final])
def test_a_hidden_last_observation_is_told_once(name: str, log_lines: list) -> None:
    env = CASES[name].make(NUMBER)
    agent = known_agent(env)
    play(env, agent)
    agent.update()
    play(env, agent)
    assert len([line for line in log_lines if "hides the last observation" in line]) == 1


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].make(2).has_invalid_rows])
def test_what_a_row_that_only_resets_holds_reaches_nothing(name: str) -> None:
    updated = []
    for spoil in (0.0, 1e6):
        torch.manual_seed(0)
        env = CASES[name].make(NUMBER)
        agent = known_agent(env, observation_normalizer=True, value_normalizer=True)
        torch.manual_seed(1)
        play(env, agent, spoil)
        agent.update()
        updated.append(
            [value.clone() for model in agent.models.values() for value in model.state_dict().values()]
            + [value for part in agent.normalizers.values() for value in part.state_dict().values()]
            + list(agent.value_normalizer.state_dict().values())
        )
    for one, other in zip(*updated):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
