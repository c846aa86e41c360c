"""MuJoCo Playground itself behind the wrapper: its numbers, both kinds of resets, its wrappers and an exact resume."""

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco_playground")
import jax
import jax.numpy as jnp
from mujoco_playground import registry
from mujoco_playground import wrapper as playground_wrappers
from mujoco_playground._src import mjx_env

from AquaML.environment.brax_envs import BraxWrapper
from AquaML.environment.checker import check_env
from AquaML.errors import EnvironmentContractError
from AquaML.learning.model import default_models
from benchmarks.simulators import playground
from benchmarks.simulators.task import train
from tests.simulators.jax_replay import differences, play, replay, state_of

pytestmark = [
    pytest.mark.simulator,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

NUMBER = 4
LIMIT = 12
JAX = {"impl": "jax"}
NAME = "CartpoleBalance"


class Falling:
    """CartpoleBalance with a failure, which the tasks that need no download lack, and what a critic sees besides.

    Args:
        bare: The task.
    """

    def __init__(self, bare: Any) -> None:
        self.bare = bare
        self.unwrapped = self
        self.action_size, self.observation_size = bare.action_size, bare.observation_size

    def _failed(self, state: Any) -> Any:
        speed = jnp.abs(state.data.qvel[0])
        obs = {"state": state.obs[:3], "privileged_state": state.obs[3:]}
        return state.replace(obs=obs, done=jnp.where(speed > 0.6, 1.0, 0.0))

    def reset(self, key: Any) -> Any:
        return self._failed(self.bare.reset(key))

    def step(self, state: Any, action: Any) -> Any:
        # The task itself passes on observations without reading them.
        return self._failed(self.bare.step(state, action))


@pytest.fixture(scope="module")
def bare() -> Any:
    return Falling(registry.load(NAME, config_overrides=JAX))


@pytest.fixture(scope="module", params=[False, True], ids=["first state again", "full_reset"])
def wrapper(request: Any, bare: Any) -> BraxWrapper:
    """Compiled once for all tests; each resets it."""
    return BraxWrapper(bare, NUMBER, episode_length=LIMIT, full_reset=request.param)


@pytest.fixture(scope="module")
def plain() -> BraxWrapper:
    """The task as it is, made by name."""
    return BraxWrapper(NAME, NUMBER, suite="playground", episode_length=5, config_overrides=JAX)


def pushes(generator: np.random.Generator, number: int) -> np.ndarray:
    """Draw forces, half of them weak enough for the time limit to be reached; some are out of bounds."""
    strength = np.where(np.arange(number) % 2, 0.1, 1.0)[:, None]
    return ((generator.uniform(-0.3, 1.2, (number, 1))) * strength).astype(np.float32)


def drawn(steps: int) -> torch.Tensor:
    return torch.rand(steps, NUMBER, 1, generator=torch.Generator().manual_seed(5)) * 2.0 - 1.0


def test_the_checker_finds_nothing(wrapper: BraxWrapper) -> None:
    check_env(wrapper, steps=40)


def test_every_transition_is_that_of_the_bare_environment(wrapper: BraxWrapper, bare: Any) -> None:
    seen = replay(wrapper, jax.jit(jax.vmap(bare.step)), 80, LIMIT, pushes, physics="data")
    assert seen.failures >= 5 and seen.time_limits >= 5
    assert seen.largest_error <= 1e-6
    first = wrapper.reset(seed=3)[0]["state"].clone()
    same = [torch.equal(start, first[index]) for index, start in seen.starts]
    # Playground's own full_reset loses truncation; here both kinds of resets differ in first states only.
    assert all(same) if wrapper._running.first is not None else not any(same)


def test_the_task_as_it_is(plain: BraxWrapper) -> None:
    check_env(plain, steps=20)
    assert plain.name == NAME and plain.max_episode_length == 5
    assert {name: spec["shape"] for name, spec in plain.getEnvInfo()["observation_cfg"].items()} == {"state": (5,)}
    plain.reset(seed=0)
    for step, result in enumerate(play(plain, drawn(12)), start=1):
        assert bool(result["truncated"].all()) == (step % 5 == 0) and not bool(result["terminated"].any())
        # The reward is the product of the terms that the task logs.
        terms = [result["reward/" + name] for name in ("upright", "centered", "small_control", "small_velocity")]
        assert torch.allclose(torch.stack(terms).prod(dim=0), result["rewards"], atol=1e-6)


def test_the_time_limit_is_that_of_the_configuration() -> None:
    wrapper = BraxWrapper(NAME, 1, suite="playground", config_overrides={"impl": "jax", "episode_length": 77})
    assert wrapper.max_episode_length == 77
    assert BraxWrapper(registry.load(NAME, config_overrides=JAX)).max_episode_length == 1000


def test_actor_and_critic_see_what_is_theirs(wrapper: BraxWrapper) -> None:
    info = wrapper.getEnvInfo()
    assert {name: spec["shape"] for name, spec in info["observation_cfg"].items()} == {
        "state": (3,),
        "privileged": (2,),
    }
    models = default_models(info)
    assert models["policy"].input_names(info["observation_cfg"]) == ["state"]
    assert models["value"].input_names(info["observation_cfg"]) == ["state", "privileged"]


def test_actions_are_cut_to_one(wrapper: BraxWrapper) -> None:
    results = []
    for size in (1.0, 5.0):
        wrapper.reset(seed=0)
        results += play(wrapper, torch.full((5, NUMBER, 1), size))
    assert differences(results[:5], results[5:]) == []


def test_the_same_seed_gives_the_same_run(wrapper: BraxWrapper) -> None:
    runs = []
    for seed in (7, 7, 8):
        first = {name: value.clone() for name, value in wrapper.reset(seed=seed)[0].items()}
        runs.append([first, *play(wrapper, drawn(40))])
    assert differences(runs[0], runs[1]) == []
    assert "state in step 0" in differences(runs[0], runs[2])


def test_what_was_returned_stays_until_the_second_next_step(wrapper: BraxWrapper) -> None:
    kept: Any = {}
    wrapper.reset(seed=0)
    for action in drawn(30):
        observations, rewards, terminated, truncated, infos = wrapper.step(action)
        for name, (value, copy) in kept.items():
            assert torch.equal(value, copy), name
        shown = dict(infos["log"], rewards=rewards, terminated=terminated, truncated=truncated, **observations)
        shown.update({"final/" + name: value for name, value in infos["final_obs"].items()})
        kept = {name: (value, value.clone()) for name, value in shown.items()}


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
    # Neither torch's actions nor the restored state had the step compiled again.
    assert other._advance._cache_size() == wrapper._advance._cache_size() == 1


# ---------------------------------------------------------------------- wrappers of Playground


def test_each_environment_of_a_randomization_has_its_own_physics() -> None:
    def randomize(model: Any) -> Any:
        gears = model.actuator_gear * jnp.array([0.0, 1.0])[:, None, None]
        axes = jax.tree_util.tree_map(lambda _: None, model).tree_replace({"actuator_gear": 0})
        return model.tree_replace({"actuator_gear": gears}), axes

    randomized = playground_wrappers.BraxDomainRandomizationVmapWrapper(
        registry.load(NAME, config_overrides=JAX), randomize
    )
    wrapper = BraxWrapper(randomized, 2, episode_length=4)
    assert wrapper.name == "Balance"
    pushed = []
    for force in (-1.0, 1.0):
        wrapper.reset(seed=0)
        pushed.append(play(wrapper, torch.full((4, 2, 1), force))[2]["state"])
    velocity = 3
    assert pushed[0][0, velocity] == pushed[1][0, velocity], "the motor without a gear does nothing"
    assert pushed[1][1, velocity] - pushed[0][1, velocity] > 0.1
    with pytest.raises(EnvironmentContractError, match=r"(?s)no batch of num_envs=3 .*a randomization of just as many"):
        BraxWrapper(randomized, 3)


@pytest.mark.parametrize("full_reset", [False, True])
def test_environments_that_reset_themselves_are_refused(full_reset: bool) -> None:
    bare = registry.load(NAME, config_overrides=JAX)
    wrapped = playground_wrappers.wrap_for_brax_training(bare, full_reset=full_reset)
    with pytest.raises(EnvironmentContractError, match="is in BraxAutoResetWrapper, .*hand over the bare environment"):
        BraxWrapper(wrapped, 4)
    with pytest.raises(EnvironmentContractError, match="is in EpisodeWrapper, .*hand over the bare environment"):
        BraxWrapper(wrapped.env, 4)


def test_mistakes_are_told(monkeypatch: Any) -> None:
    with pytest.raises(EnvironmentContractError, match="Did you mean 'CartpoleBalance'"):
        BraxWrapper("CartpoleBalanc", suite="playground")
    with pytest.raises(EnvironmentContractError, match=r"'CartpoleBalance' of \{'config_overrides'.*Key \"imp\""):
        BraxWrapper(NAME, suite="playground", config_overrides={"imp": "jax"})

    def no_warp(*arguments: Any, **settings: Any) -> Any:
        raise AttributeError("type object 'int' has no attribute 'WARP'")

    # As on a machine without CUDA, where the default cannot be computed.
    monkeypatch.setattr(registry, "load", no_warp)
    with pytest.raises(EnvironmentContractError, match="config_overrides={'impl': 'jax'}"):
        BraxWrapper(NAME, suite="playground")


def test_robots_that_cannot_be_downloaded_are_told(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setattr(mjx_env, "MENAGERIE_PATH", tmp_path / "nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    with pytest.raises(EnvironmentContractError, match="could not download MuJoCo Menagerie, whose robots 'Go1"):
        BraxWrapper("Go1JoystickFlatTerrain", suite="playground", config_overrides=JAX)


# ---------------------------------------------------------------------- learning


@pytest.mark.slow
def test_ppo_balances_the_pole() -> None:
    task = playground.TASKS[NAME]
    score = train(task, 0)
    assert score.untrained < 800.0 and score.trained >= task.must
