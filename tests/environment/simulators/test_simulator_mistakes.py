"""What users get wrong with wrappers of simulators, and what simulators write down, of each wrapper what is its own."""

import importlib.util
from typing import Any, Callable, Dict

import gymnasium
import pytest
import torch
from conformance import clock_actions
from isaac_lab_stand_in import IsaacLabStandIn, MjlabStandIn
from maniskill_stand_in import ManiSkillStandIn
from pettingzoo_stand_in import ParallelStandIn
from rsl_rl_stand_in import GenesisStandIn, LeggedGymStandIn

from AquaML.environment.isaac_lab_envs import IsaacLabWrapper, MjlabWrapper
from AquaML.environment.legged_gym_envs import LeggedGymWrapper
from AquaML.environment.maniskill_envs import ManiSkillWrapper
from AquaML.environment.pettingzoo_envs import PettingZooWrapper
from AquaML.environment.rsl_rl_envs import RslRlVecEnvWrapper
from AquaML.errors import EnvironmentContractError, MissingDependencyError, NonFiniteError, SpaceError
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.episode_statistics import EpisodeStatistics
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig


def steps(wrapper: Any, number: int) -> Any:
    states, _ = wrapper.reset(seed=0)
    for _ in range(number):
        result = wrapper.step({"action": clock_actions(states)})
        states = result[0]
        yield result


def test_a_promised_last_observation_that_does_not_come_is_an_error() -> None:
    wrapper = RslRlVecEnvWrapper(GenesisStandIn(3), gives_final_observation=True)
    with pytest.raises(EnvironmentContractError, match="its last observation was not handed over"):
        list(steps(wrapper, 10))


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: RslRlVecEnvWrapper(GenesisStandIn(3)), "rew_height"),
        (lambda: LeggedGymWrapper(LeggedGymStandIn(3)), "rew_tracking"),
        (lambda: IsaacLabWrapper(IsaacLabStandIn(3)), "Episode_Reward/upright"),
        (lambda: MjlabWrapper(MjlabStandIn(3, auto_reset=False)), "Episode_Reward/upright"),
    ],
)
def test_what_is_logged_at_a_reset_counts_once(make: Callable[[], Any], name: str) -> None:
    wrapper = make()
    statistics = EpisodeStatistics(3, wrapper.device)
    total, number = 0.0, 0
    for _, rewards, terminated, truncated, infos in steps(wrapper, 40):
        done = terminated | truncated
        # Each stand-in logs the mean of the last rewards of the episodes that ended in this very step.
        assert (name in infos["log"]) == bool(done.any())
        if bool(done.any()):
            expected = float(rewards[done].mean())
            assert infos["log"][name].shape == () and float(infos["log"][name]) == pytest.approx(expected)
            total, number = total + expected, number + 1
        statistics.update(rewards, done, infos["valid"], infos["log"])
    assert number > 10 and statistics.read()["info/" + name] == pytest.approx(total / number)


def test_constants_in_a_new_dictionary_are_logged_again() -> None:
    seen = [infos["log"].get("Curriculum/level") for *_, infos in steps(IsaacLabWrapper(IsaacLabStandIn(3)), 20)]
    assert len([value for value in seen if value is not None]) > 5
    assert all(float(value) == 2.0 for value in seen if value is not None)


def test_maniskill_logs_episodes_where_they_end() -> None:
    count = 0
    for _, _, terminated, truncated, infos in steps(ManiSkillWrapper(ManiSkillStandIn(3)), 30):
        done = terminated | truncated
        assert ("return" in infos["log"]) == bool(done.any())
        if bool(done.any()):
            assert torch.equal(~torch.isnan(infos["log"]["return"]), done)
            count += int(done.sum())
    assert count > 10


# ------------------------------------------------------------------ arguments


def test_groups_of_rsl_rl_give_names() -> None:
    groups = {"actor": ["policy"], "critic": ["policy", "critic"]}
    wrapper = RslRlVecEnvWrapper(GenesisStandIn(2), obs_groups=groups)
    assert list(wrapper.observation_layout.specs) == ["state", "privileged"]
    assert wrapper.observation_groups == {"actor": ["state"], "critic": ["state", "privileged"]}
    swapped = RslRlVecEnvWrapper(GenesisStandIn(2), obs_groups={"actor": ["critic"], "critic": ["policy"]})
    assert swapped.observation_groups == {"actor": ["state"], "critic": ["privileged"]}
    assert swapped.observation_layout.specs["state"].shape == (2,)
    with pytest.raises(EnvironmentContractError, match=r"obs_groups\['critic'\] names the group 'scan'"):
        RslRlVecEnvWrapper(GenesisStandIn(2), obs_groups={"critic": ["scan"]})


def test_finite_horizon_of_isaac_lab_is_read_from_its_configuration() -> None:
    told = list(steps(IsaacLabWrapper(IsaacLabStandIn(3, is_finite_horizon=True)), 30))
    assert not any(bool(truncated.any()) for _, _, _, truncated, _ in told)
    other = list(steps(IsaacLabWrapper(IsaacLabStandIn(3, is_finite_horizon=True), finite_horizon=False), 30))
    assert any(bool(truncated.any()) for _, _, _, truncated, _ in other)


@pytest.mark.parametrize("limit", [0.0, -1.0, True, "1", float("nan")])
def test_limits_of_actions(limit: Any) -> None:
    with pytest.raises(EnvironmentContractError, match="clip_actions is .*; expected None or a number above 0"):
        IsaacLabWrapper(IsaacLabStandIn(2), clip_actions=limit)


def test_clipping_and_rescaling_of_unbounded_actions() -> None:
    for bounds, given, received in (("clip", 5.0, 1.0), ("none", 0.4, 0.4), ("rescale", 0.5, 0.25)):
        environment = GenesisStandIn(1)
        wrapper = RslRlVecEnvWrapper(environment, clip_actions=1.0 if bounds == "clip" else 0.5, action_bounds=bounds)
        wrapper.reset()
        wrapper.step({"action": torch.tensor([[given]])})
        assert environment.received.tolist() == [[pytest.approx(received)]]
    with pytest.raises(SpaceError, match="action_bounds='rescale' needs finite bounds"):
        RslRlVecEnvWrapper(GenesisStandIn(1), action_bounds="rescale")


def test_random_first_ages_need_a_counter() -> None:
    environment = GenesisStandIn(300)
    wrapper = RslRlVecEnvWrapper(environment, random_initial_length=True)
    wrapper.reset(seed=0)
    assert set(environment.episode_length_buf.tolist()) == set(range(6))
    lab = IsaacLabStandIn(300)
    IsaacLabWrapper(lab, random_initial_length=True).reset(seed=0)
    assert len(set(lab.episode_length_buf.tolist())) == 6
    del environment.episode_length_buf
    with pytest.raises(EnvironmentContractError, match="random_initial_length writes episode_length_buf"):
        RslRlVecEnvWrapper(environment, random_initial_length=True)


def test_a_time_limit_for_each_environment_is_read() -> None:
    environment = GenesisStandIn(3)
    environment.max_episode_length = torch.tensor([6, 9, 4])
    assert RslRlVecEnvWrapper(environment).max_episode_length == 4


def test_numbers_of_values_are_told_apart() -> None:
    with pytest.raises(EnvironmentContractError, match=r"reset\(\) returned two tensors, .*use LeggedGymWrapper"):
        RslRlVecEnvWrapper(LeggedGymStandIn(2))
    wrapper = RslRlVecEnvWrapper(LeggedGymStandIn(2, privileged=False))
    wrapper.reset()
    with pytest.raises(EnvironmentContractError, match="returned 5 values; .*use LeggedGymWrapper"):
        wrapper.step({"action": torch.zeros(2, 1)})
    with pytest.raises(EnvironmentContractError, match=r"reset\(\) did not return .*use RslRlVecEnvWrapper"):
        LeggedGymWrapper(GenesisStandIn(2, plain=True))

    class Short(LeggedGymStandIn):
        def step(self, actions: torch.Tensor) -> Any:
            return super().step(actions)[:4]

    other = LeggedGymWrapper(Short(2))
    other.reset()
    with pytest.raises(EnvironmentContractError, match="returned 4 values; expected"):
        other.step({"action": torch.zeros(2, 1)})


def test_an_environment_without_reset_goes_on_and_says_so(log_lines: list) -> None:
    class NoReset(GenesisStandIn):
        reset = None  # type: ignore[assignment]

    wrapper = RslRlVecEnvWrapper(NoReset(2))
    for _ in range(3):
        wrapper.reset()
    assert len([line for line in log_lines if "has no reset(): running episodes go on" in line]) == 1


def test_a_group_that_is_missing_is_named() -> None:
    wrapper = IsaacLabWrapper(IsaacLabStandIn(2))
    wrapper.reset()
    wrapper.environment._observe = lambda: {"policy": torch.zeros(2, 5)}
    with pytest.raises(EnvironmentContractError, match="The observation has no 'privileged': there is no 'critic'"):
        wrapper.step({"action": torch.zeros(2, 1)})


def test_maniskill_without_autoreset_is_refused() -> None:
    environment = ManiSkillStandIn(2)
    environment.auto_reset = False
    with pytest.raises(EnvironmentContractError, match="make it with auto_reset=True"):
        ManiSkillWrapper(environment)
    environment.auto_reset = True
    with pytest.raises(EnvironmentContractError, match="is made already: obs_mode, ignore_terminations have no effect"):
        ManiSkillWrapper(environment, ignore_terminations=True, obs_mode="state")


# Where ManiSkill is installed there is nothing to be told.
# What a missing package is answered with can be seen only where it is missing; the pinned test environment is such.
@pytest.mark.skipif(importlib.util.find_spec("mani_skill") is not None, reason="ManiSkill is there")
def test_maniskill_that_is_not_installed_is_named() -> None:
    with pytest.raises(MissingDependencyError, match="pip install mani_skill"):
        ManiSkillWrapper("PushCube-v1", num_envs=2)


# ------------------------------------------------------------------ PettingZoo


class Uneven(ParallelStandIn):
    """Agents of which the last one sees more."""

    def observation_space(self, agent: str) -> Any:
        size = 6 if agent == self.possible_agents[-1] else 5
        return gymnasium.spaces.Box(-1.0, 1.0, (size,))


def test_agents_with_different_spaces_are_refused() -> None:
    with pytest.raises(SpaceError, match="'walker_0' and 'walker_2' have different observation spaces: state.shape"):
        PettingZooWrapper(Uneven(3))


def test_copies_ids_and_the_critics_view() -> None:
    made = []

    def make() -> ParallelStandIn:
        made.append(ParallelStandIn(3))
        return made[-1]

    wrapper = PettingZooWrapper(make, copies=2, global_state=True)
    assert wrapper.num_envs == 6 and len(made) == 2 and wrapper.agents == ["walker_0", "walker_1", "walker_2"]
    states, _ = wrapper.reset(seed=0)
    assert states["agent_id"][:, 0].tolist() == [0, 1, 2, 0, 1, 2]
    assert states["privileged"].shape == (6, 6)
    for step, (states, _, terminated, truncated, infos) in enumerate(steps(wrapper, 12)):
        for copy, environment in enumerate(made):
            assert torch.equal(
                states["privileged"][3 * copy : 3 * copy + 3],
                torch.from_numpy(environment.state()).expand(3, 6).float(),
            ), step
        if infos["final_obs"] is not None and bool((terminated | truncated).any()):
            assert infos["final_obs"]["agent_id"][:, 0].tolist() == [0, 1, 2, 0, 1, 2]
        assert infos["log"] == {} or torch.isnan(infos["log"]["height"]).any() or bool(infos["valid"].all())
    spawned = wrapper.spawn(4)
    assert spawned.num_envs == 6 and len(made) == 4
    wrapper.close()
    wrapper.close()
    assert [environment.closed for environment in made] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: PettingZooWrapper(ParallelStandIn(2), copies=2), "One made environment cannot be copied"),
        (lambda: PettingZooWrapper("simple_spread"), "no parallel environment of PettingZoo and no function"),
        (lambda: PettingZooWrapper(lambda: ParallelStandIn(2), copies=0), "copies is 0"),
        (lambda: PettingZooWrapper(lambda: object()), "has no possible_agents"),
    ],
)
def test_what_is_no_parallel_environment(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(EnvironmentContractError, match=message):
        make()


def test_a_turn_based_environment_is_told_how_to_be_converted() -> None:
    class TurnBased(ParallelStandIn):
        def agent_iter(self) -> Any:
            return iter(self.agents)

    with pytest.raises(EnvironmentContractError, match="turn-based .AEC., .*aec_to_parallel"):
        PettingZooWrapper(TurnBased(2))


def test_an_agent_that_vanishes_or_is_unknown_is_an_error() -> None:
    class Vanishing(ParallelStandIn):
        def step(self, actions: Dict[str, Any]) -> Any:
            result = super().step(actions)
            self.agents = self.agents[1:]
            return result

    wrapper = PettingZooWrapper(Vanishing(2))
    wrapper.reset()
    with pytest.raises(EnvironmentContractError, match="agent 'walker_0' is gone without having terminated"):
        wrapper.step({"action": torch.zeros(2, 1)})

    class Stranger(ParallelStandIn):
        def reset(self, seed: Any = None, options: Any = None) -> Any:
            result = super().reset(seed, options)
            self.agents.append("stranger")
            return result

    with pytest.raises(EnvironmentContractError, match="'stranger' is none of possible_agents"):
        PettingZooWrapper(Stranger(2)).reset()


# ------------------------------------------------------------------ numbers that are not finite


@pytest.mark.parametrize("where, site, key", [("reward", "reward", "rewards"), ("observation", "observation", "state")])
@pytest.mark.parametrize("step", [4, 40])
def test_what_a_simulator_spoils_is_named_before_anything_is_learned(
    where: str, site: str, key: str, step: int
) -> None:
    class Spoiled(GenesisStandIn):
        steps = 0

        def step(self, actions: torch.Tensor) -> Any:
            observations, rewards, done, extras = super().step(actions)
            self.steps += 1
            if self.steps == step:
                (rewards if where == "reward" else self._observation[:, 3])[2] = float("nan")
            return observations, rewards, done, extras

    wrapper = RslRlVecEnvWrapper(Spoiled(4))
    agent = PPO(default_models(wrapper.getEnvInfo()), PPOCfg(device="cpu", rollouts=10))
    trainer = SequentialTrainer(
        wrapper, agent, TrainerConfig(timesteps=60, disable_progressbar=True, tensorboard=False)
    )
    with pytest.raises(NonFiniteError) as caught:
        trainer.train()
    assert (caught.value.site, caught.value.key, caught.value.environments) == (site, key, (2,))
    assert caught.value.timestep == step - 1
    assert all(bool(torch.isfinite(value).all()) for value in agent.models["policy"].parameters())
