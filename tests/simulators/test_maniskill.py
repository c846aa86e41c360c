"""``ManiSkillWrapper`` with ManiSkill itself: one environment, since more need a GPU."""

from typing import Any, Dict, List

import pytest
import torch

pytest.importorskip("mani_skill")

import gymnasium
import mani_skill.envs  # noqa: F401 - registers the tasks
from mani_skill.utils.wrappers.gymnasium import CPUGymWrapper
from mani_skill.vector.wrappers.gymnasium import ManiSkillVectorEnv

from AquaML.environment.checker import check_env
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.maniskill_envs import ManiSkillWrapper
from AquaML.environment.wrap import wrap_env
from AquaML.errors import EnvironmentContractError
from benchmarks.simulators.task import train
from tests.simulators.without_vulkan import do_without_vulkan

pytestmark = [pytest.mark.simulator, pytest.mark.filterwarnings("ignore")]
do_without_vulkan()

LIMIT = 50
SETTINGS: Dict[str, Any] = {"sim_backend": "physx_cpu", "render_backend": "none", "num_envs": 1}


def make(task: str = "PushCube-v1", obs_mode: str = "state", **options: Any) -> Any:
    return gymnasium.make(task, obs_mode=obs_mode, **SETTINGS, **options)


def actions_of(step: int, size: int = 8) -> torch.Tensor:
    """Move a little, back and forth; some are out of bounds."""
    return 1.2 * torch.sin(torch.arange(size) + 0.7 * step).unsqueeze(0)


def play_bare(env: Any, seed: int, steps: int) -> List[Dict[str, Any]]:
    """Step the simulator without any wrapper, nor resets at the end, and copy what it returned."""
    observations, _ = env.reset(seed=seed)
    rows: List[Dict[str, Any]] = [{"state": observations.clone()}]
    for step in range(steps):
        observations, rewards, terminated, truncated, _ = env.step(actions_of(step).clamp(-1.0, 1.0))
        rows.append({"state": observations.clone(), "rewards": rewards.clone()})
        rows[-1].update(terminated=bool(terminated), truncated=bool(truncated))
    return rows


def succeed(env: Any) -> None:
    """Put the cube where it is to be pushed."""
    bare = env.unwrapped
    pose = bare.goal_region.pose.raw_pose.clone()
    pose[:, 2] = bare.cube_half_size
    bare.obj.set_pose(type(bare.obj.pose).create(pose))
    bare.obj.set_linear_velocity(torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("task", "obs_mode", "steps"),
    [
        ("PushCube-v1", "state", 120),
        ("PickCube-v1", "state_dict", 120),
        ("MS-CartpoleBalance-v1", "state", 200),
        ("TwoRobotPickCube-v1", "state", 120),
    ],
)
def test_the_checker_finds_nothing(task: str, obs_mode: str, steps: int) -> None:
    wrapper = ManiSkillWrapper(task, obs_mode=obs_mode, **SETTINGS)
    check_env(wrapper, steps=steps)
    wrapper.close()
    wrapper.close()


def test_what_the_wrapper_says_of_itself() -> None:
    wrapper = ManiSkillWrapper(make())
    info = wrapper.getEnvInfo()
    assert info["observation_cfg"]["state"]["shape"] == (35,)
    assert info["action_cfg"]["action"]["shape"] == (8,)
    assert info["action_cfg"]["action"]["low"].tolist() == [-1.0] * 8
    assert (info["name"], info["num_envs"], info["max_episode_length"]) == ("PushCube-v1", 1, LIMIT)
    assert info["gives_final_observation"]
    assert ManiSkillWrapper(make(max_episode_steps=12)).getEnvInfo()["max_episode_length"] == 12
    assert ManiSkillWrapper(make("MS-CartpoleBalance-v1")).getEnvInfo()["max_episode_length"] == 1000


def test_the_simulator_is_recognised() -> None:
    for env in (make(), ManiSkillVectorEnv(make())):
        assert type(wrap_env(env)) is ManiSkillWrapper


def test_a_dictionary_of_observations_keeps_its_names() -> None:
    wrapper = ManiSkillWrapper(make("PickCube-v1", "state_dict"), names={"extra/obj_pose": "cube"})
    bare = make("PickCube-v1", "state_dict")
    theirs, _ = bare.reset(seed=4)
    states, _ = wrapper.reset(seed=4)
    for step in range(5):
        assert states["agent/qpos"].shape == (1, 9) and torch.equal(states["agent/qpos"], theirs["agent"]["qpos"])
        assert torch.equal(states["cube"], theirs["extra"]["obj_pose"])
        grasped = states["extra/is_grasped"]
        # A single truth value gets the axis of features that every leaf has.
        assert grasped.shape == (1, 1) and grasped.dtype == torch.bool
        assert torch.equal(grasped[:, 0], theirs["extra"]["is_grasped"])
        theirs = bare.step(actions_of(step).clamp(-1.0, 1.0))[0]
        states = wrapper.step({"action": actions_of(step)})[0]


def test_steps_are_those_of_the_simulator_and_the_last_observation_is_handed_over() -> None:
    bare = play_bare(make(), seed=3, steps=LIMIT)
    wrapper = ManiSkillWrapper(make())
    states, _ = wrapper.reset(seed=3)
    for step in range(LIMIT):
        actions = actions_of(step)
        given = actions.clone()
        observations, rewards, terminated, truncated, infos = wrapper.step({"action": actions})
        assert torch.equal(actions, given)
        assert torch.equal(states["state"], bare[step]["state"])
        assert torch.equal(rewards[:, 0], bare[step + 1]["rewards"])
        assert not terminated.any() and bool(truncated) == (step == LIMIT - 1) == bare[step + 1]["truncated"]
        if step < LIMIT - 1:
            assert torch.equal(observations["state"], bare[step + 1]["state"])
            assert infos["final_obs"] is None and infos["log"] == {}
        states = observations
    assert torch.equal(infos["final_obs"]["state"], bare[-1]["state"])
    assert not torch.equal(states["state"], bare[-1]["state"])
    assert float(infos["log"]["episode_len"]) == LIMIT
    assert float(infos["log"]["return"]) == pytest.approx(sum(float(row["rewards"]) for row in bare[1:]), rel=1e-5)
    assert infos["log"]["return"].shape == (1, 1)
    # The next episode has begun and goes on.
    last = {name: value.clone() for name, value in infos["log"].items()}
    infos = wrapper.step({"action": actions_of(0)})[4]
    assert infos["final_obs"] is None and infos["log"] == {} and float(last["success_once"]) == 0.0


def test_success_terminates() -> None:
    env = make()
    wrapper = ManiSkillWrapper(env)
    wrapper.reset(seed=0)
    wrapper.step({"action": torch.zeros(1, 8)})
    succeed(env)
    _, rewards, terminated, truncated, infos = wrapper.step({"action": torch.zeros(1, 8)})
    assert bool(terminated) and not bool(truncated) and float(rewards) == 1.0
    assert infos["final_obs"] is not None
    assert float(infos["log"]["success_once"]) == 1.0 and float(infos["log"]["episode_len"]) == 2.0


def test_success_at_the_time_limit_is_terminated() -> None:
    env = make(max_episode_steps=3)
    wrapper = ManiSkillWrapper(env)
    wrapper.reset(seed=0)
    for _ in range(2):
        wrapper.step({"action": torch.zeros(1, 8)})
    succeed(env)
    _, _, terminated, truncated, infos = wrapper.step({"action": torch.zeros(1, 8)})
    assert bool(terminated) and not bool(truncated) and float(infos["log"]["episode_len"]) == 3.0


def test_terminations_can_be_left_out() -> None:
    env = make(max_episode_steps=6)
    wrapper = ManiSkillWrapper(env, ignore_terminations=True)
    wrapper.reset(seed=0)
    for step in range(1, 7):
        succeed(env)
        _, _, terminated, truncated, infos = wrapper.step({"action": torch.zeros(1, 8)})
        assert not bool(terminated) and bool(truncated) == (step == 6)
    assert float(infos["log"]["success_at_end"]) == 1.0 and float(infos["log"]["success_once"]) == 1.0


def test_failure_terminates() -> None:
    wrapper = ManiSkillWrapper(make("MS-CartpoleBalance-v1"))
    wrapper.reset(seed=0)
    lengths: List[float] = []
    age = 0
    for _ in range(200):
        observations, _, terminated, truncated, infos = wrapper.step({"action": torch.zeros(1, 1)})
        age += 1
        assert not bool(truncated)
        if bool(terminated):
            assert float(infos["log"]["episode_len"]) == age and float(infos["log"]["fail_once"]) == 1.0
            # The pole's angle: below the horizontal in the last observation, nearly upright in the next first one.
            assert abs(float(infos["final_obs"]["state"][0, 1])) > 1.57 > 0.04 > abs(float(observations["state"][0, 1]))
            lengths.append(age)
            age = 0
        else:
            assert infos["log"] == {} and infos["final_obs"] is None
    assert len(lengths) >= 4


def test_what_was_returned_stays_until_the_second_next_step() -> None:
    env = make(max_episode_steps=7)
    wrapper = ManiSkillWrapper(env)
    wrapper.reset(seed=0)
    held: List[Any] = []
    for step in range(30):
        observations, rewards, terminated, truncated, infos = wrapper.step({"action": actions_of(step)})
        assert all(torch.equal(value, copy) for value, copy in held)
        tensors = [observations["state"], rewards, terminated, truncated, *infos["log"].values()]
        tensors += list((infos["final_obs"] or {}).values())
        held = [(value, value.clone()) for value in tensors]


def test_the_same_seed_gives_the_same_run_through_several_episodes() -> None:
    """Episodes after the first draw from torch's global generator, which the wrapper seeds."""
    wrapper = ManiSkillWrapper(make(max_episode_steps=5))
    runs = []
    for seed in (5, 5, 6):
        rows = [wrapper.reset(seed=seed)[0]["state"].clone()]
        rows += [wrapper.step({"action": actions_of(step)})[0]["state"].clone() for step in range(12)]
        runs.append(torch.stack(rows))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0][5], runs[0][10])


def test_a_vector_environment_that_was_made_already_is_taken_as_it_is() -> None:
    wrapper = ManiSkillWrapper(ManiSkillVectorEnv(make(max_episode_steps=3), ignore_terminations=True))
    wrapper.reset(seed=0)
    infos = [wrapper.step({"action": actions_of(step)})[4] for step in range(3)]
    # Without record_metrics there is the simulator's own information alone.
    assert {name: float(value) for name, value in infos[-1]["log"].items()} == {"elapsed_steps": 3.0, "success": 0.0}
    with pytest.raises(EnvironmentContractError, match="made with auto_reset=False"):
        ManiSkillWrapper(ManiSkillVectorEnv(make(), auto_reset=False))
    with pytest.raises(EnvironmentContractError, match="ignore_terminations"):
        ManiSkillWrapper(ManiSkillVectorEnv(make()), ignore_terminations=True)


def test_several_environments_on_the_cpu_are_gymnasiums() -> None:
    def one() -> Any:
        return CPUGymWrapper(make(max_episode_steps=4), record_metrics=True)

    with pytest.raises(EnvironmentContractError, match="give it to GymnasiumWrapper"):
        ManiSkillWrapper(one())
    wrapper = GymnasiumWrapper(one, num_envs=3)
    wrapper.reset(seed=0)
    for _ in range(4):
        _, rewards, terminated, truncated, infos = wrapper.step({"action": torch.zeros(3, 8)})
    assert rewards.shape == (3, 1) and bool(truncated.all()) and not terminated.any()
    assert infos["final_obs"]["state"].shape == (3, 35)
    assert infos["log"]["episode/episode_len"][:, 0].tolist() == [4.0, 4.0, 4.0]
    wrapper.close()


@pytest.mark.slow
def test_ppo_learns_to_balance_the_pole() -> None:
    from benchmarks.simulators.maniskill import TASKS

    task = TASKS["MS-CartpoleBalance-v1"]
    score = train(task, seed=0)
    score.env.close()
    assert score.untrained < task.must / 2 and score.trained >= task.must
