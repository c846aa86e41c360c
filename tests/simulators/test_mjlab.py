"""``MjlabWrapper``, and ``RslRlVecEnvWrapper`` over mjlab's own wrapper, with mjlab itself."""

from typing import Any, Dict, List, Optional

import pytest
import torch

pytest.importorskip("mjlab")

import mjlab.tasks  # noqa: F401 - registers the tasks
import warp
from mjlab.envs import ManagerBasedRlEnv
from mjlab.managers.termination_manager import TerminationTermCfg
from mjlab.rl import RslRlVecEnvWrapper as MjlabsOwnWrapper
from mjlab.tasks.registry import load_env_cfg

from AquaML.environment.checker import check_env
from AquaML.environment.isaac_lab_envs import MjlabWrapper
from AquaML.environment.rsl_rl_envs import RslRlVecEnvWrapper
from AquaML.environment.wrap import wrap_env
from benchmarks.simulators.task import train

pytestmark = pytest.mark.simulator
warp.config.quiet = True

NUMBER = 4
LIMIT = 15
STEPS = 50
STEP_TIME = 0.05


def leans(env: ManagerBasedRlEnv, sine: float) -> torch.Tensor:
    """Return where the pole leans by more than an angle; the task itself has a time limit alone."""
    return env.scene["cartpole"].data.joint_pos[:, 1].sin().abs() > sine


def make(sine: Optional[float] = 0.25, **settings: Any) -> ManagerBasedRlEnv:
    """Make a cart-pole whose episodes are short, and which may fall."""
    cfg = load_env_cfg("Mjlab-Cartpole-Balance")
    cfg.scene.num_envs, cfg.episode_length_s = NUMBER, LIMIT * STEP_TIME
    if sine is not None:
        cfg.terminations["leans"] = TerminationTermCfg(func=leans, params={"sine": sine})
    for name, value in settings.items():
        setattr(cfg, name, value)
    return ManagerBasedRlEnv(cfg=cfg, device="cpu")


def actions_of(step: int) -> torch.Tensor:
    """Some carts are pushed until their poles lean, others hardly at all."""
    return (
        0.02 * torch.cos(torch.arange(NUMBER) + 0.2 * step).unsqueeze(1) * torch.tensor([[1.0], [1.0], [0.0], [40.0]])
    )


def play_bare(env: ManagerBasedRlEnv, seed: int, steps: int = STEPS) -> List[Dict[str, Any]]:
    """Step the simulator without any wrapper and copy what it returned; reset by hand where it does not."""
    observations, _ = env.reset(seed=seed)
    rows: List[Dict[str, Any]] = [{"next": {name: value.clone() for name, value in observations.items()}}]
    for step in range(steps):
        observations, rewards, terminated, truncated, extras = env.step(actions_of(step))
        last = {name: value.clone() for name, value in observations.items()}
        row = {"rewards": rewards.clone(), "terminated": terminated.clone(), "truncated": truncated.clone()}
        done = terminated | truncated
        if not env.cfg.auto_reset and done.any():
            observations, extras = env.reset(env_ids=done.nonzero()[:, 0])
        following = {name: value.clone() for name, value in observations.items()}
        rows.append({"last": last, "next": following, "log": dict(extras["log"]), "done": done, **row})
    return rows


def assert_equal_steps(wrapper: Any, bare: List[Dict[str, Any]], seed: int, both: str = "terminated") -> Dict[str, int]:
    """Compare a wrapper's steps with the simulator's; return how many ends of each kind there were.

    A fall at the very step of the time limit comes out as ``both`` says.
    """
    states, infos = wrapper.reset(seed=seed)
    assert infos["log"] == {}
    ends = {"terminated": 0, "truncated": 0, "both": 0}
    names = {"actor": "state", "critic": "privileged"}
    for step, expected in enumerate(bare[1:]):
        observations, rewards, terminated, truncated, infos = wrapper.step({"action": actions_of(step)})
        for theirs, ours in names.items():
            # The one before is read only now: it must have survived this step.
            assert torch.equal(states[ours], bare[step]["next"][theirs])
            assert torch.equal(observations[ours], expected["next"][theirs])
        assert torch.equal(rewards[:, 0], expected["rewards"])
        done = expected["done"]
        if both == "terminated":
            assert torch.equal(terminated[:, 0], expected["terminated"])
            assert torch.equal(truncated[:, 0], done & ~expected["terminated"])
        else:
            assert torch.equal(truncated[:, 0], expected["truncated"])
            assert torch.equal(terminated[:, 0], done & ~expected["truncated"])
        if wrapper.gives_final_observation and bool(done.any()):
            for theirs, ours in names.items():
                assert torch.equal(infos["final_obs"][ours][done], expected["last"][theirs][done])
                assert not torch.equal(infos["final_obs"][ours][done], observations[ours][done])
        elif not wrapper.gives_final_observation:
            assert infos["final_obs"] is None
        assert {name: float(value) for name, value in infos["log"].items()} == pytest.approx(
            {name: float(value) for name, value in expected["log"].items()}
        )
        assert bool(infos["log"]) == bool(done.any())
        ends["terminated"] += int(terminated.sum())
        ends["truncated"] += int(truncated.sum())
        ends["both"] += int((expected["terminated"] & expected["truncated"]).sum())
        states = observations
    return ends


@pytest.mark.parametrize("auto_reset", [True, False])
def test_the_checker_finds_nothing(auto_reset: bool) -> None:
    check_env(MjlabWrapper(make(auto_reset=auto_reset)), steps=60)


def test_the_checker_finds_nothing_through_mjlabs_own_wrapper() -> None:
    check_env(RslRlVecEnvWrapper(MjlabsOwnWrapper(make())), steps=60)


def test_what_the_wrapper_says_of_itself() -> None:
    wrapper = MjlabWrapper(make())
    info = wrapper.getEnvInfo()
    assert {name: spec["shape"] for name, spec in info["observation_cfg"].items()} == {
        "state": (5,),
        "privileged": (5,),
    }
    assert info["action_cfg"]["action"]["shape"] == (1,)
    assert (info["num_envs"], info["max_episode_length"]) == (NUMBER, LIMIT)
    assert not info["gives_final_observation"]
    assert MjlabWrapper(make(auto_reset=False)).getEnvInfo()["gives_final_observation"]


def test_the_simulator_is_recognised() -> None:
    env = make()
    assert type(wrap_env(env)) is MjlabWrapper
    assert type(wrap_env(MjlabsOwnWrapper(env))) is RslRlVecEnvWrapper


def test_steps_are_those_of_the_simulator() -> None:
    bare = play_bare(make(), seed=3)
    ends = assert_equal_steps(MjlabWrapper(make()), bare, seed=3)
    assert ends["terminated"] >= 3 and ends["truncated"] >= 3


def test_without_automatic_resets_the_last_observation_is_the_simulators() -> None:
    bare = play_bare(make(auto_reset=False), seed=3)
    ends = assert_equal_steps(MjlabWrapper(make(auto_reset=False)), bare, seed=3)
    assert ends["terminated"] >= 3 and ends["truncated"] >= 3


def test_a_fall_at_the_time_limit_is_terminated() -> None:
    env = make()
    wrapper = MjlabWrapper(env)
    wrapper.reset(seed=0)
    env.episode_length_buf[:] = LIMIT - 1
    joints = env.scene["cartpole"].data.joint_pos.clone()
    joints[:] = 0.0
    joints[::2, 1] = 0.5
    env.scene["cartpole"].write_joint_state_to_sim(joints, torch.zeros_like(joints))
    _, _, terminated, truncated, _ = wrapper.step({"action": torch.zeros(NUMBER, 1)})
    fallen = torch.arange(NUMBER).unsqueeze(1) % 2 == 0
    # mjlab reports the time limit besides.
    assert bool(env.reset_time_outs.all()) and torch.equal(env.reset_terminated, fallen[:, 0])
    assert torch.equal(terminated, fallen) and torch.equal(truncated, ~fallen)


def test_mjlabs_own_wrapper_gives_the_same_rewards_and_flags() -> None:
    bare = play_bare(make(), seed=7)
    through_ours = assert_equal_steps(MjlabWrapper(make()), bare, seed=7)
    # rsl_rl's interface cannot tell a fall at the time limit from the time limit alone; it counts as the latter.
    through_both = assert_equal_steps(RslRlVecEnvWrapper(MjlabsOwnWrapper(make())), bare, seed=7, both="truncated")
    assert through_ours["terminated"] >= 3 and through_ours["truncated"] >= 3 and through_ours["both"] == 1
    assert through_both["terminated"] == through_ours["terminated"] - 1


@pytest.mark.parametrize("through_mjlabs_own", [False, True])
def test_a_finite_horizon_is_read_from_the_task(through_mjlabs_own: bool) -> None:
    env = make(sine=None, is_finite_horizon=True)
    wrapper = RslRlVecEnvWrapper(MjlabsOwnWrapper(env)) if through_mjlabs_own else MjlabWrapper(env)
    wrapper.reset(seed=0)
    flags = [wrapper.step({"action": actions_of(step)})[2:4] for step in range(LIMIT)]
    assert bool(flags[-1][0].all()) and not bool(flags[-1][1].any())


def test_what_was_returned_stays_although_the_simulator_writes_into_its_buffers() -> None:
    env = make()
    wrapper = MjlabWrapper(env)
    wrapper.reset(seed=0)
    buffers = []
    held: List[Any] = []
    for step in range(2 * LIMIT):
        observations, rewards, terminated, truncated, _ = wrapper.step({"action": actions_of(step)})
        assert all(torch.equal(value, copy) for value, copy in held)
        held = [(value, value.clone()) for value in (*observations.values(), rewards, terminated, truncated)]
        buffers.append([env.reward_buf, env.reset_terminated, env.reset_time_outs])
    # The trap is there: the simulator's tensors are the same ones in every step.
    assert all(one is other for one, other in zip(buffers[0], buffers[-1]))
    for buffer in buffers[-1]:
        buffer.fill_(1)
    assert all(torch.equal(value, copy) for value, copy in held)


def test_the_same_seed_gives_the_same_run() -> None:
    wrapper = MjlabWrapper(make())
    runs = []
    for seed in (5, 5, 6):
        rows = [wrapper.reset(seed=seed)[0]["state"].clone()]
        rows += [wrapper.step({"action": actions_of(step)})[0]["state"].clone() for step in range(STEPS)]
        runs.append(torch.stack(rows))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_first_episodes_of_random_age_spread_the_time_limits() -> None:
    env = make(sine=None)
    wrapper = MjlabWrapper(env, random_initial_length=True)
    wrapper.reset(seed=1)
    ages = env.episode_length_buf.clone()
    assert len(ages.unique()) > 1 and int(ages.max()) < LIMIT
    for step in range(1, LIMIT + 1):
        truncated = wrapper.step({"action": torch.zeros(NUMBER, 1)})[3]
        assert torch.equal(truncated[:, 0], ages + step == LIMIT)


def test_closing_twice_is_no_accident() -> None:
    wrapper = MjlabWrapper(make())
    wrapper.close()
    wrapper.close()


@pytest.mark.slow
def test_ppo_learns_to_balance_the_pole() -> None:
    from benchmarks.simulators.mjlab import TASKS

    task = TASKS["Mjlab-Cartpole-Balance"]
    score = train(task, seed=0)
    score.env.close()
    assert score.untrained < 0.8 * task.must and score.trained >= task.must
