"""PettingZoo itself behind the wrapper: agents that end early, rows, returns counted by hand, and what is refused."""

import functools
import os
from typing import Any, Dict, List

import numpy as np
import pytest
import torch

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
pytest.importorskip("pettingzoo")
pytest.importorskip("mpe2")
from mpe2 import (
    simple_reference_v3,
    simple_speaker_listener_v4,
    simple_spread_v3,
    simple_tag_v3,
    simple_v3,
)
from pettingzoo.butterfly import knights_archers_zombies_v11
from pettingzoo.sisl import multiwalker_v9, pursuit_v5
from pettingzoo.utils import aec_to_parallel

from AquaML.environment.checker import check_env
from AquaML.environment.pettingzoo_envs import PettingZooWrapper
from AquaML.errors import EnvironmentContractError, SpaceError
from AquaML.learning.model import default_models
from AquaML.learning.trainers.episode_statistics import EpisodeStatistics
from benchmarks.simulators import pettingzoo
from benchmarks.simulators.task import train

pytestmark = [
    pytest.mark.simulator,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def spread(continuous: bool = True, **settings: Any) -> Any:
    return functools.partial(simple_spread_v3.parallel_env, continuous_actions=continuous, **settings)


WALKERS = functools.partial(multiwalker_v9.parallel_env, terminate_on_fall=False)
"""Walkers that fall one by one, whose others go on."""
ZOMBIES = functools.partial(knights_archers_zombies_v11.parallel_env, max_cycles=60)


def random_actions(wrapper: PettingZooWrapper, generator: np.random.Generator) -> torch.Tensor:
    """Draw actions, continuous ones also out of bounds."""
    spec = wrapper.action_layout.specs["action"]
    if spec.is_floating:
        width = 0.3 * (spec.high - spec.low)
        values = generator.uniform(spec.low - width, spec.high + width, (wrapper.num_envs,) + spec.shape)
        return torch.from_numpy(values.astype(np.float32))
    return torch.from_numpy(generator.integers(0, spec.sizes[0], (wrapper.num_envs, 1)))


class ByHand:
    """The bare environments stepped beside the wrapper, with episodes kept by itself.

    Args:
        make: Makes one environment.
        copies: How many there are.
        seed: Seed of the first one.
    """

    def __init__(self, make: Any, copies: int, seed: int) -> None:
        self.environments = [make() for _ in range(copies)]
        self.agents = list(self.environments[0].possible_agents)
        self.seen: List[Dict[str, Any]] = []
        for index, environment in enumerate(self.environments):
            self.seen.append(environment.reset(seed=seed + index)[0])
        self.running = {(index, agent): 0.0 for index in range(copies) for agent in self.agents}
        self.ages = dict.fromkeys(self.running, 0)
        self.returns: List[float] = []
        self.lengths: List[int] = []
        self.early = 0

    def row(self, index: int, agent: str) -> int:
        return index * len(self.agents) + self.agents.index(agent)

    def step(self, index: int, actions: np.ndarray, space: Any) -> Any:
        """Step one environment with the actions of all rows; return who acted and what came out."""
        environment = self.environments[index]
        acting = list(environment.agents)
        taken = {}
        for agent in acting:
            action = actions[self.row(index, agent)]
            taken[agent] = np.clip(action, space.low, space.high) if hasattr(space, "low") else int(action[0])
        result = environment.step(taken)
        for agent in acting:
            self.running[index, agent] += float(result[1][agent])
            self.ages[index, agent] += 1
            if result[2][agent] or result[3][agent]:
                self.returns.append(self.running[index, agent])
                self.lengths.append(self.ages[index, agent])
                self.running[index, agent], self.ages[index, agent] = 0.0, 0
                self.early += bool(environment.agents)
        self.seen[index] = result[0]
        if not environment.agents:
            self.seen[index] = environment.reset()[0]
        return acting, result


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (spread(), 60),
        (spread(continuous=False), 60),
        (simple_reference_v3.parallel_env, 60),
        (simple_v3.parallel_env, 60),
        (WALKERS, 200),
        (functools.partial(pursuit_v5.parallel_env, max_cycles=20), 40),
        (ZOMBIES, 130),
    ],
    ids=["continuous", "discrete", "reference", "one agent", "multiwalker", "pursuit", "zombies"],
)
def test_the_checker_finds_nothing(make: Any, steps: int) -> None:
    wrapper = PettingZooWrapper(make, copies=2)
    if make is ZOMBIES:
        # A new seed after a finished episode does not repeat this one; what check_env does besides, it must pass.
        wrapper.reset(seed=0)
        generator = np.random.default_rng(0)
        for _ in range(steps):
            wrapper.step(random_actions(wrapper, generator))
    else:
        check_env(wrapper, steps=steps)
    wrapper.close()
    wrapper.close()


@pytest.mark.parametrize(
    ("make", "copies", "steps", "privileged"),
    [(spread(), 3, 90, True), (spread(continuous=False), 2, 90, False), (WALKERS, 2, 400, False)],
    ids=["continuous", "discrete", "multiwalker"],
)
def test_every_row_is_that_of_the_bare_environment(make: Any, copies: int, steps: int, privileged: bool) -> None:
    wrapper, hand = PettingZooWrapper(make, copies=copies, global_state=privileged), ByHand(make, copies, seed=4)
    statistics = EpisodeStatistics(wrapper.num_envs, wrapper.device)
    generator = np.random.default_rng(1)
    assert wrapper.agents == hand.agents and wrapper.num_envs == copies * len(hand.agents)
    states, _ = wrapper.reset(seed=4)
    space = hand.environments[0].action_space(hand.agents[0])
    kinds = {"terminated": 0, "truncated": 0, "invalid": 0}
    for _ in range(steps):
        actions = random_actions(wrapper, generator)
        given = actions.clone()
        observations, rewards, terminated, truncated, infos = wrapper.step(actions)
        assert torch.equal(actions, given)
        assert not bool((terminated & truncated).any())
        statistics.update(rewards, terminated | truncated, infos["valid"], infos["log"])
        for index in range(copies):
            before = hand.environments[index]
            acting, (seen, paid, failed, cut_off, _) = hand.step(index, given.numpy(), space)
            for agent in hand.agents:
                row = hand.row(index, agent)
                assert int(observations["agent_id"][row, 0]) == hand.agents.index(agent)
                assert bool(infos["valid"][row, 0]) == (agent in acting)
                if agent not in acting:
                    kinds["invalid"] += 1
                    assert float(rewards[row, 0]) == 0.0
                    assert not bool(terminated[row, 0]) and not bool(truncated[row, 0])
                    continue
                assert float(rewards[row, 0]) == np.float32(paid[agent])
                assert bool(terminated[row, 0]) == bool(failed[agent])
                assert bool(truncated[row, 0]) == (bool(cut_off[agent]) and not failed[agent])
                kinds["terminated"] += bool(terminated[row, 0])
                kinds["truncated"] += bool(truncated[row, 0])
                ended = failed[agent] or cut_off[agent]
                successor = infos["final_obs"] if ended else observations
                assert np.array_equal(successor["state"][row].numpy(), seen[agent])
                if privileged and ended:
                    last = np.concatenate([seen[name] for name in hand.agents])
                    assert np.array_equal(infos["final_obs"]["privileged"][row].numpy(), last)
            for agent in before.agents:
                # What to act on next: after the end of all, the first of a new episode.
                row = hand.row(index, agent)
                assert np.array_equal(observations["state"][row].numpy(), hand.seen[index][agent])
            if privileged:
                rows = observations["privileged"][hand.row(index, hand.agents[0]) :][: len(hand.agents)]
                assert np.array_equal(rows.numpy(), np.tile(before.state(), (len(hand.agents), 1)))
        states = observations
    figures = statistics.read()
    assert figures["episode/count"] == len(hand.returns)
    assert figures["episode/return_mean"] == pytest.approx(np.mean(hand.returns), rel=1e-5)
    assert figures["episode/return_max"] == pytest.approx(max(hand.returns), rel=1e-5)
    assert figures["episode/length_mean"] == pytest.approx(np.mean(hand.lengths))
    assert figures["environment_steps"] == sum(hand.lengths) + sum(hand.ages.values())
    assert states["state"].shape[0] == wrapper.num_envs
    if make is WALKERS:
        # Walkers fell while others went on, and their rows counted nowhere until all had ended.
        assert hand.early >= 3 and kinds["invalid"] >= 20 and kinds["terminated"] >= 6
    else:
        # 25 steps of a task without failures: all are truncated at once, and no row is ever invalid.
        ends = copies * len(hand.agents) * (steps // 25)
        assert kinds == {"terminated": 0, "truncated": ends, "invalid": 0}


def test_a_success_is_a_termination_of_all_agents() -> None:
    class Arrived:
        """The task once the landmarks are where the agents stand."""

        def __new__(cls) -> Any:
            environment = spread(terminate_on_success=True)()
            original = environment.reset

            def reset(seed: Any = None, options: Any = None) -> Any:
                result = original(seed=seed, options=options)
                world = environment.unwrapped.world
                for agent, landmark in zip(world.agents, world.landmarks):
                    landmark.state.p_pos = agent.state.p_pos.copy()
                return result

            environment.reset = reset
            return environment

    wrapper = PettingZooWrapper(Arrived)
    wrapper.reset(seed=0)
    _, _, terminated, truncated, infos = wrapper.step(torch.zeros(3, 5))
    assert bool(terminated.all()) and not bool(truncated.any()) and infos["final_obs"] is not None


def test_multiwalker_calls_its_time_limit_a_termination() -> None:
    """What the environment reports is passed on; its description says so."""
    wrapper = PettingZooWrapper(functools.partial(WALKERS, max_cycles=5), max_episode_length=5)
    wrapper.reset(seed=0)
    ends = []
    for _ in range(5):
        _, _, terminated, truncated, _ = wrapper.step(torch.zeros(3, 4))
        ends.append((bool(terminated.any()), bool(truncated.any())))
    assert ends == [(False, False)] * 4 + [(True, False)]
    assert "multiwalker" in str(PettingZooWrapper.__doc__)


def test_the_same_seed_gives_the_same_run_and_copies_differ() -> None:
    wrapper = PettingZooWrapper(spread(), copies=2)
    runs = []
    for seed in (3, 3, 4):
        generator = np.random.default_rng(0)
        run = [wrapper.reset(seed=seed)[0]["state"].clone()]
        run += [wrapper.step(random_actions(wrapper, generator))[0]["state"].clone() for _ in range(30)]
        runs.append(torch.stack(run))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    # Environment e is seeded with seed + e.
    assert torch.equal(runs[0][0, 3:], runs[2][0, :3]) and not torch.equal(runs[0][0, :3], runs[0][0, 3:])


def test_what_was_returned_stays_until_the_second_next_step() -> None:
    wrapper = PettingZooWrapper(WALKERS)
    generator = np.random.default_rng(0)
    wrapper.reset(seed=0)
    kept: Any = {}
    for _ in range(150):
        observations, rewards, terminated, truncated, infos = wrapper.step(random_actions(wrapper, generator))
        for name, (value, copy) in kept.items():
            assert torch.equal(value, copy), name
        shown = dict(rewards=rewards, terminated=terminated, truncated=truncated, valid=infos["valid"], **observations)
        shown.update({"final/" + name: value for name, value in (infos["final_obs"] or {}).items()})
        kept = {name: (value, value.clone()) for name, value in shown.items()}


def test_actions_reach_the_environment_within_bounds_and_in_its_types(capsys: Any) -> None:
    """mpe2 complains of actions out of bounds or of another type, and writes into arrays of numbers."""
    for bounds in ("clip", "rescale"):
        wrapper = PettingZooWrapper(spread(), action_bounds=bounds)
        wrapper.reset(seed=0)
        wrapper.step(torch.full((3, 5), 7.0))
        wrapper.step(torch.full((3, 5), -7.0))
    discrete = PettingZooWrapper(spread(continuous=False))
    discrete.reset(seed=0)
    actions = torch.tensor([[2], [3], [4]])
    moved = discrete.step(actions)[0]["state"].clone()
    assert actions[:, 0].tolist() == [2, 3, 4]
    printed = capsys.readouterr()
    assert "WARNING" not in printed.out + printed.err
    # Right, down, up: the velocities of the three agents.
    assert torch.allclose(moved[:, :2], torch.tensor([[0.5, 0.0], [0.0, -0.5], [0.0, 0.5]]))
    with pytest.raises(EnvironmentContractError, match="expected categories from 0 to"):
        discrete.step(torch.full((3, 1), 5))


def test_a_critic_sees_all_agents_and_policies_their_own_part() -> None:
    wrapper = PettingZooWrapper(spread(), copies=2, global_state=True, max_episode_length=25)
    info = wrapper.getEnvInfo()
    shapes = {name: spec["shape"] for name, spec in info["observation_cfg"].items()}
    assert shapes == {"state": (18,), "agent_id": (1,), "privileged": (54,)}
    assert info["max_episode_length"] == 25 and info["has_invalid_rows"]
    models = default_models(info)
    assert models["policy"].input_names(info["observation_cfg"]) == ["state", "agent_id"]
    assert models["value"].input_names(info["observation_cfg"]) == ["state", "agent_id", "privileged"]
    assert wrapper.spawn(7).num_envs == 9, "whole environments, at least that many agents"
    assert list(PettingZooWrapper(spread(), agent_ids=False).observation_layout.specs) == ["state"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (simple_tag_v3.parallel_env, r"'adversary_0' and 'agent_0' have different observation spaces: .*supersuit"),
        (
            simple_speaker_listener_v4.parallel_env,
            r"'speaker_0' and 'listener_0' have different observation .*supersuit",
        ),
    ],
)
def test_agents_of_different_kinds_are_refused(make: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        PettingZooWrapper(make)


def test_turn_based_environments_are_refused_and_the_advice_works() -> None:
    for source in (simple_spread_v3.env, simple_spread_v3.env()):
        with pytest.raises(EnvironmentContractError, match=r"turn-based \(AEC\).*pettingzoo.utils.aec_to_parallel"):
            PettingZooWrapper(source)
    check_env(PettingZooWrapper(aec_to_parallel(simple_spread_v3.env())), steps=30)


def test_mistakes_are_told() -> None:
    with pytest.raises(EnvironmentContractError, match="give, for example, simple_spread_v3.parallel_env"):
        PettingZooWrapper(simple_spread_v3)
    with pytest.raises(EnvironmentContractError, match="One made environment cannot be copied"):
        PettingZooWrapper(spread()(), copies=2)
    walkers = PettingZooWrapper(WALKERS, global_state=True)
    walkers.reset(seed=0)
    generator = np.random.default_rng(0)
    with pytest.raises(EnvironmentContractError, match="needs env.state.., which failed while the agents .*turn"):
        for _ in range(300):
            walkers.step(random_actions(walkers, generator))
    with pytest.raises(EnvironmentContractError, match="closed|before its first reset"):
        PettingZooWrapper(spread()).step(torch.zeros(3, 5))


# ---------------------------------------------------------------------- scores


def drive(velocity: np.ndarray, way: np.ndarray) -> int:
    """Return the action that brings an agent to a landmark: none, left, right, down or up."""
    wanted = 3.0 * way - 1.2 * velocity
    axis = int(np.argmax(np.abs(wanted)))
    if abs(wanted[axis]) < 0.15:
        return 0
    return 2 * axis + (2 if wanted[axis] > 0.0 else 1)


def mean_return(policy: str, episodes: int = 100) -> float:
    """Play the task of the benchmark by hand, both agents of one environment after another."""
    wrapper, generator = pettingzoo.simple_spread(copies=1), np.random.default_rng(0)
    statistics = EpisodeStatistics(wrapper.num_envs, wrapper.device)
    states = wrapper.reset(seed=0)[0]
    for _ in range(25 * episodes):
        seen = states["state"].numpy()
        velocities, ways = seen[:, :2], seen[:, 4:8].reshape(2, 2, 2)  # (agent, landmark, axis)
        lengths = np.linalg.norm(ways, axis=-1)
        targets = lengths.argmin(axis=1)
        if policy == "shared":
            targets = np.array([0, 1] if lengths[0, 0] + lengths[1, 1] < lengths[0, 1] + lengths[1, 0] else [1, 0])
        actions = [drive(velocities[agent], ways[agent, targets[agent]]) for agent in range(2)]
        if policy == "random":
            actions = generator.integers(0, 5, 2).tolist()
        states, rewards, terminated, truncated, infos = wrapper.step(torch.tensor(actions)[:, None])
        statistics.update(rewards, terminated | truncated, infos["valid"], infos["log"])
    return statistics.read()["episode/return_mean"]


def test_scores_of_policies_by_hand() -> None:
    assert mean_return("random") == pytest.approx(-20.5, abs=2.0)
    assert mean_return("nearest") == pytest.approx(-12.1, abs=2.0)
    assert mean_return("shared") == pytest.approx(-6.1, abs=1.0)


@pytest.mark.slow
def test_ppo_learns_to_share_out_landmarks() -> None:
    task = pettingzoo.TASKS["simple_spread"]
    score = train(task, 0)
    assert score.untrained < -20.0 and score.trained >= task.must
