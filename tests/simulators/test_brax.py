"""Brax itself behind the wrapper: its numbers, ends of episodes, restarts and exact resumes."""

import dataclasses
from typing import Any, Dict, Tuple

import numpy as np
import pytest
import torch

pytest.importorskip("brax")
import jax
import jax.numpy as jnp
from brax import envs
from brax.envs.wrappers import training

from AquaML.environment.brax_envs import BraxWrapper
from AquaML.environment.checker import check_env
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import EnvironmentContractError
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from benchmarks.simulators import brax as tasks
from benchmarks.simulators.task import train
from tests.simulators.jax_replay import differences, play, replay, state_of

pytestmark = [
    pytest.mark.simulator,
    pytest.mark.filterwarnings("ignore:Brax System"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

NUMBER = 8
LIMIT = 12
DICTIONARY = {"obs_mode": "dict_state", "asymmetric_obs": True}


def pendulum(**settings: Any) -> BraxWrapper:
    settings.setdefault("episode_length", LIMIT)
    return BraxWrapper("inverted_pendulum", NUMBER, backend="spring", **settings)


def fast(number: int = 4, episode_length: int = 6, **settings: Any) -> BraxWrapper:
    return BraxWrapper("fast", number, episode_length=episode_length, **settings)


@pytest.fixture(scope="module", params=[False, True], ids=["first state again", "full_reset"])
def wrapper(request: Any) -> BraxWrapper:
    """Compiled once for all tests; each resets it."""
    return pendulum(full_reset=request.param)


@pytest.fixture(scope="module")
def bare_step() -> Any:
    return jax.jit(jax.vmap(envs.get_environment("inverted_pendulum", backend="spring").step))


def strong_actions(generator: np.random.Generator, number: int) -> np.ndarray:
    """Draw forces, half of them weak enough for the time limit to be reached; some are out of bounds."""
    strength = np.where(np.arange(number) % 2, 0.05, 1.5)[:, None]
    return (generator.uniform(-1.0, 1.0, (number, 1)) * strength).astype(np.float32)


def drawn(steps: int, number: int = NUMBER) -> torch.Tensor:
    return torch.rand(steps, number, 1, generator=torch.Generator().manual_seed(5)) * 2.0 - 1.0


# ---------------------------------------------------------------------- the simulator's numbers


def test_the_checker_finds_nothing(wrapper: BraxWrapper) -> None:
    check_env(wrapper, steps=100)


@pytest.mark.parametrize("settings", [{}, DICTIONARY, {"full_reset": True}, {"full_reset": True, **DICTIONARY}])
def test_the_checker_finds_nothing_with_other_observations(settings: Dict[str, Any]) -> None:
    check_env(fast(**settings), steps=30)


def test_every_transition_is_that_of_the_bare_environment(wrapper: BraxWrapper, bare_step: Any) -> None:
    seen = replay(wrapper, bare_step, 120, LIMIT, strong_actions)
    assert seen.failures >= 10 and seen.time_limits >= 20
    assert seen.largest_error <= 1e-6
    firsts, _ = wrapper.reset(seed=3)
    first = firsts["state"].clone()
    same = [torch.equal(start, first[index]) for index, start in seen.starts]
    if wrapper._running.first is None:
        # Each episode begins elsewhere, where the task's resets do: within 0.01 of upright and at rest.
        assert not any(same)
        assert len({tuple(start.tolist()) for _, start in seen.starts}) == len(seen.starts)
        assert all(start.abs().max() <= 0.01 for _, start in seen.starts)
    else:
        assert all(same)


def test_episodes_end_at_the_limit_of_the_task_and_are_truncated() -> None:
    wrapper = fast(3, episode_length=4)
    wrapper.reset(seed=0)
    results = play(wrapper, torch.ones(12, 3, 1))
    assert [bool(result["truncated"].all()) for result in results] == [False, False, False, True] * 3
    assert not any(bool(result["terminated"].any()) for result in results)
    assert wrapper.max_episode_length == 4 and BraxWrapper("fast").max_episode_length == 1000


def test_the_numbers_of_fast_are_those_by_hand() -> None:
    """Velocity grows by 0.02 with a positive action and position by 0.02 of it; the reward is the position."""
    wrapper = fast(2, episode_length=3)
    wrapper.reset(seed=0)
    action = torch.tensor([[1.0], [-1.0]])
    position, velocity = 0.0, 0.0
    for age in range(1, 8):
        velocity, position = velocity + 0.02, position + (velocity + 0.02) * 0.02
        observations, rewards, _, truncated, infos = wrapper.step(action)
        assert rewards[:, 0].tolist() == pytest.approx([position, 0.0])
        successor = infos["final_obs"] if age % 3 == 0 else observations
        assert successor["state"][0].tolist() == pytest.approx([position, velocity])
        assert bool(truncated.all()) == (age % 3 == 0)
        if age % 3 == 0:
            assert not observations["state"].any()
            position, velocity = 0.0, 0.0


def test_a_finite_horizon_makes_the_time_limit_terminal() -> None:
    wrapper = fast(2, episode_length=2, finite_horizon=True)
    wrapper.reset()
    wrapper.step(torch.ones(2, 1))
    _, _, terminated, truncated, _ = wrapper.step(torch.ones(2, 1))
    assert bool(terminated.all()) and not bool(truncated.any())


def test_repeated_actions_add_rewards_and_stop_at_a_failure(bare_step: Any) -> None:
    wrapper = pendulum(action_repeat=4, episode_length=10)
    assert wrapper.max_episode_length == 3
    wrapper.reset(seed=1)
    state = wrapper._running.state
    ended_at = []
    for step in range(3):
        _, rewards, terminated, truncated, infos = wrapper.step(torch.ones(NUMBER, 1))
        lasted = 0
        for _ in range(4):
            state, lasted = bare_step(state, jnp.ones((NUMBER, 1))), lasted + 1
            if bool((state.done > 0).any()):
                break
        assert bool((state.done > 0).all()) == bool((state.done > 0).any()), "all fall together"
        assert rewards[:, 0].tolist() == [float(lasted)] * NUMBER
        assert terminated[:, 0].tolist() == (np.asarray(state.done) > 0).tolist()
        assert np.allclose(infos["final_obs"]["state"].numpy(), np.asarray(state.obs), atol=1e-5)
        if bool(terminated.any()):
            ended_at.append((step, lasted))
            break
        assert bool(truncated.all()) == (step == 2)
    assert ended_at and ended_at[0][1] < 4, "the fall came in the middle of the repeats"


def test_metrics_are_in_the_log() -> None:
    wrapper = BraxWrapper("reacher", 2, backend="spring", episode_length=5)
    wrapper.reset(seed=0)
    for _ in range(7):
        _, rewards, _, _, infos = wrapper.step(torch.full((2, 2), 0.5))
        log = infos["log"]
        assert set(log) == {"reward_dist", "reward_ctrl"}
        assert log["reward_ctrl"][:, 0].tolist() == pytest.approx([-0.5, -0.5])
        assert torch.allclose(log["reward_dist"] + log["reward_ctrl"], rewards)


# ---------------------------------------------------------------------- names and actions


def test_dictionaries_keep_the_actor_and_the_critic_apart() -> None:
    wrapper = fast(**DICTIONARY)
    info = wrapper.getEnvInfo()
    assert {name: spec["shape"] for name, spec in info["observation_cfg"].items()} == {
        "state": (2,),
        "privileged": (4,),
    }
    models = default_models(info)
    assert models["policy"].input_names(info["observation_cfg"]) == ["state"]
    assert models["value"].input_names(info["observation_cfg"]) == ["state", "privileged"]
    renamed = fast(names={"privileged_state": "critic"}, **DICTIONARY)
    assert list(renamed.observation_layout.specs) == ["state", "critic"]


def test_actions_are_cut_to_one_and_never_changed(wrapper: BraxWrapper) -> None:
    results = []
    for size in (1.0, 5.0):
        wrapper.reset(seed=0)
        action = torch.full((NUMBER, 1), size)
        results += play(wrapper, action.expand(5, NUMBER, 1))
        assert torch.equal(action, torch.full((NUMBER, 1), size))
    assert differences(results[:5], results[5:]) == []


@pytest.mark.parametrize("bounds", ["clip", "rescale", "none"])
def test_what_happens_to_an_action_after_the_step_does_not_matter(bounds: str) -> None:
    """JAX computes in the background and reads torch's memory without a copy."""
    wrapper = BraxWrapper("fast", 4096, episode_length=50, action_bounds=bounds)
    wrapper.reset(seed=0)
    action = torch.ones(4096, 1)
    for age in range(1, 20):
        action.fill_(1.0)
        observations = wrapper.step(action)[0]
        action.fill_(-1.0)
        assert torch.allclose(observations["state"][:, 1], torch.full((4096,), 0.02 * age))


def test_what_was_returned_stays_until_the_second_next_step(wrapper: BraxWrapper) -> None:
    kept: Dict[str, Tuple[torch.Tensor, torch.Tensor]] = {}
    wrapper.reset(seed=0)
    for action in drawn(30):
        observations, rewards, terminated, truncated, infos = wrapper.step(action)
        for name, (value, copy) in kept.items():
            assert torch.equal(value, copy), name
        shown = dict(rewards=rewards, terminated=terminated, truncated=truncated, **observations)
        shown.update({"final/" + name: value for name, value in infos["final_obs"].items()})
        kept = {name: (value, value.clone()) for name, value in shown.items()}


def test_writing_into_what_was_returned_does_not_reach_the_simulator(wrapper: BraxWrapper) -> None:
    runs = []
    for careless in (False, True):
        wrapper.reset(seed=0)
        run = []
        for action in drawn(30):
            run += play(wrapper, action[None])
            if careless:
                for buffer in wrapper._buffers._pair:
                    for value in buffer.observations.values():
                        value.fill_(77.0)
        runs.append(run)
    assert differences(*runs) == []


# ---------------------------------------------------------------------- restarts and resumes


def test_the_same_seed_gives_the_same_run(wrapper: BraxWrapper) -> None:
    runs = []
    for seed in (7, 7, 8):
        first = {name: value.clone() for name, value in wrapper.reset(seed=seed)[0].items()}
        runs.append([first, *play(wrapper, drawn(40))])
    assert differences(runs[0], runs[1]) == []
    assert "state in step 0" in differences(runs[0], runs[2])


def test_without_a_seed_resets_go_on_with_torchs_random_numbers() -> None:
    wrapper = pendulum()
    torch.manual_seed(1)
    starts = [wrapper.reset()[0]["state"].clone() for _ in range(3)]
    torch.manual_seed(1)
    again = [wrapper.reset()[0]["state"].clone() for _ in range(3)]
    assert all(torch.equal(one, other) for one, other in zip(starts, again))
    assert not torch.equal(starts[0], starts[1]) and not torch.equal(starts[1], starts[2])


def test_a_resume_in_mid_episode_goes_on_to_the_last_bit(wrapper: BraxWrapper) -> None:
    wrapper.reset(seed=2)
    play(wrapper, drawn(17))
    assert int(wrapper._running.ages.max()) > 0
    state = state_of(wrapper)
    actions = drawn(100).flip(0)
    went_on = play(wrapper, actions)
    other = wrapper.spawn(NUMBER)
    other.validate_state(state)
    other.load_state_dict(state)
    assert other.restored_exactly
    assert differences(went_on, play(other, actions)) == []
    assert sum(int(result["terminated"].sum()) for result in went_on) > NUMBER
    # Back in time in the same wrapper, after another run.
    wrapper.reset(seed=9)
    wrapper.load_state_dict(state)
    assert differences(went_on, play(wrapper, actions)) == []
    # Nothing of this had a step compiled again.
    assert other._advance._cache_size() == wrapper._advance._cache_size() == 1


def test_a_state_that_does_not_fit_is_told_and_changes_nothing(wrapper: BraxWrapper) -> None:
    assert pendulum().get_state() is None
    other = fast(NUMBER)
    other.reset(seed=0)
    state = wrapper.reset(seed=0)[0]["state"].clone()
    assert not wrapper.set_state(other.get_state())
    assert torch.equal(torch.from_numpy(np.array(wrapper._running.state.obs)), state)


@pytest.mark.parametrize("settings", [{}, {"full_reset": True}, DICTIONARY])
def test_the_step_is_compiled_once(settings: Dict[str, Any]) -> None:
    wrapper = fast(**settings)
    wrapper.reset(seed=0)
    wrapper.step(torch.ones(4, 1))
    wrapper.step({"action": torch.zeros(4, 2)[:, :1]})
    wrapper.step(torch.zeros(1, 1).expand(4, 1))
    play(wrapper, drawn(10, 4))
    wrapper.reset()
    play(wrapper, drawn(10, 4))
    wrapper.load_state_dict(state_of(wrapper))
    play(wrapper, drawn(10, 4))
    assert wrapper._advance._cache_size() == 1 and wrapper._begin._cache_size() == 1


def test_a_run_cut_in_two_ends_with_the_same_weights_as_a_whole_one(tmp_path: Any) -> None:
    def run(timesteps: int, resume: Any) -> PPO:
        torch.manual_seed(3)
        env = fast(**DICTIONARY)
        agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=(8,)), PPOCfg(device="cpu", rollouts=8))
        settings = TrainerConfig(
            timesteps=timesteps,
            seed=0,
            resume=resume,
            disable_progressbar=True,
            tensorboard=False,
            run_directory=folder,
        )
        SequentialTrainer(env, agent, settings).train()
        return agent

    folder = str(tmp_path / "whole")
    whole = run(43, False)
    folder = str(tmp_path / "parts")
    run(21, False)
    resumed = run(43, True)
    for name, value in whole.models["policy"].state_dict().items():
        assert torch.equal(value, resumed.models["policy"].state_dict()[name]), name


def test_spawn_makes_another_of_any_size(wrapper: BraxWrapper) -> None:
    other = fast(**DICTIONARY).spawn(7)
    observations, _ = other.reset(seed=0)
    assert observations["privileged"].shape == (7, 4) and other.max_episode_length == 6


# ---------------------------------------------------------------------- wrappers of Brax


def test_a_batch_that_brax_makes_is_the_same() -> None:
    environment = envs.get_environment("fast")
    one, other = BraxWrapper(environment, 4), BraxWrapper(training.VmapWrapper(environment), 4)
    assert one.name == other.name == "Fast"
    for wrapper in (one, other):
        wrapper.reset(seed=0)
    assert differences(play(one, drawn(10, 4)), play(other, drawn(10, 4))) == []


def test_each_environment_of_a_randomization_has_its_own_physics() -> None:
    def randomize(system: Any) -> Any:
        gears = system.actuator.gear * jnp.array([[0.0], [1.0]])
        axes = jax.tree_util.tree_map(lambda _: None, system).tree_replace({"actuator.gear": 0})
        return system.tree_replace({"actuator.gear": gears}), axes

    environment = envs.get_environment("inverted_pendulum", backend="spring")
    wrapper = BraxWrapper(training.DomainRandomizationVmapWrapper(environment, randomize), 2, episode_length=4)
    pushed = []
    for force in (-1.0, 1.0):
        wrapper.reset(seed=0)
        pushed.append(play(wrapper, torch.full((4, 2, 1), force))[2]["state"])
    velocity = 2
    assert pushed[0][0, velocity] == pushed[1][0, velocity], "the motor without a gear does nothing"
    assert pushed[1][1, velocity] - pushed[0][1, velocity] > 0.1
    with pytest.raises(EnvironmentContractError, match=r"(?s)no batch of num_envs=3 .*a randomization of just as many"):
        BraxWrapper(training.DomainRandomizationVmapWrapper(environment, randomize), 3)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda bare: training.wrap(bare), "AutoResetWrapper"),
        (lambda bare: training.EpisodeWrapper(training.VmapWrapper(bare), 5, 1), "EpisodeWrapper"),
        (lambda bare: training.VmapWrapper(training.AutoResetWrapper(bare)), "AutoResetWrapper"),
        (lambda bare: envs.create("fast"), "AutoResetWrapper"),
    ],
)
def test_environments_that_end_or_reset_themselves_are_refused(wrap: Any, name: str) -> None:
    with pytest.raises(EnvironmentContractError, match="is in {}, .*hand over the bare environment".format(name)):
        BraxWrapper(wrap(envs.get_environment("fast")), 4)


def test_mistakes_are_told() -> None:
    with pytest.raises(EnvironmentContractError, match="Did you mean 'hopper'"):
        BraxWrapper("hoper")
    with pytest.raises(EnvironmentContractError, match=r"'inverted_pendulum' of \{'backend': 'sprung'\}: .*spring"):
        BraxWrapper("inverted_pendulum", backend="sprung")
    with pytest.raises(EnvironmentContractError, match="expected 'brax' or 'playground'"):
        BraxWrapper("fast", suite="gym")
    with pytest.raises(EnvironmentContractError, match="made already, so backend cannot be applied"):
        BraxWrapper(envs.get_environment("fast"), backend="spring")
    batch_of_four = training.VmapWrapper(envs.get_environment("inverted_pendulum", backend="spring"), 4)
    with pytest.raises(EnvironmentContractError, match=r"no batch of num_envs=4 .*VmapWrapper without batch_size"):
        BraxWrapper(batch_of_four, 4)


# ---------------------------------------------------------------------- learning


def pendulum_as_in_gymnasium() -> Any:
    """Return Brax's pendulum in steps of 0.005 s, 0.04 s for each action.

    With its usual steps of 0.02 s, positions differ by a third from those of MuJoCo's fourth-order integration, and a
    policy that has learned to rely on them drops the pole there.
    """
    environment = envs.get_environment("inverted_pendulum", backend="generalized", n_frames=8)
    environment.sys = environment.sys.tree_replace({"opt.timestep": 0.005})
    return environment


def pendulum_of_gymnasium(number: int) -> GymnasiumWrapper:
    pytest.importorskip("mujoco")
    # Brax's actions of -1 … 1 stand for the -3 … 3 that MuJoCo takes.
    return GymnasiumWrapper("InvertedPendulum-v5", num_envs=number, action_bounds="rescale")


def test_observations_and_actions_mean_the_same_in_brax_and_in_mujoco() -> None:
    environment, mujoco = pendulum_as_in_gymnasium(), pendulum_of_gymnasium(1)
    ours, theirs = BraxWrapper(environment).getEnvInfo(), mujoco.getEnvInfo()
    assert environment.dt == pytest.approx(0.04)
    for kind in ("observation_cfg", "action_cfg"):
        assert [(name, spec["shape"]) for name, spec in ours[kind].items()] == [
            (name, spec["shape"]) for name, spec in theirs[kind].items()
        ]
    step, begin = jax.jit(environment.step), jax.jit(environment.pipeline_init)
    for seed, action in enumerate((0.5, -0.5, 0.2)):
        seen = mujoco.reset(seed=seed)[0]["state"][0].double().numpy()
        state = environment.reset(jax.random.PRNGKey(0))
        state = state.replace(pipeline_state=begin(jnp.array(seen[:2]), jnp.array(seen[2:])))
        for _ in range(2):
            state = step(state, jnp.array([action]))
            moved = mujoco.step(torch.tensor([[action]]))[0]["state"][0].numpy()
        assert np.abs(moved[2:]).min() > 0.3, "the push moves both cart and pole"
        assert np.allclose(np.asarray(state.obs), moved, rtol=0.1, atol=0.005)


@pytest.mark.slow
def test_ppo_balances_the_pendulum() -> None:
    task = tasks.TASKS["inverted_pendulum_generalized"]
    score = train(task, 0)
    assert score.untrained < 100.0 and score.trained >= task.must


@pytest.mark.slow
def test_a_policy_trained_in_brax_acts_in_mujoco(tmp_path: Any) -> None:
    task = dataclasses.replace(
        tasks.TASKS["inverted_pendulum_generalized"], make=lambda: BraxWrapper(pendulum_as_in_gymnasium(), 64)
    )
    env = pendulum_of_gymnasium(4)
    score = train(task, 0)
    assert score.trained >= task.must
    score.agent.save(str(tmp_path / "policy.pt"))
    agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=task.hidden_sizes), PPOCfg(device="cpu", **task.agent))
    agent.setup(env.getEnvInfo())
    untrained = evaluate(env, agent, episodes=20, seed=0)
    # Bounds of actions differ, so the parts are named.
    agent.load(
        str(tmp_path / "policy.pt"), only=["policy", "value", "value_normalizer", "observation_normalizer/state"]
    )
    loaded = evaluate(env, agent, episodes=20, seed=0)
    assert untrained.return_mean < 100.0
    assert loaded.return_mean >= 950.0
