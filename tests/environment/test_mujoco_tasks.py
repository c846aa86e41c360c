"""Gymnasium's MuJoCo tasks, computed for a batch, against Gymnasium's own environments stepped one by one."""

import dataclasses
import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
import pytest

pytest.importorskip("mujoco")
gymnasium = pytest.importorskip("gymnasium", minversion="1.0")

from gymnasium.envs.mujoco import MujocoEnv  # noqa: E402
from gymnasium.envs.registration import EnvSpec, WrapperSpec, load_env_creator  # noqa: E402

from AquaML.environment import GymnasiumWrapper  # noqa: E402
from AquaML.environment.mujoco import threads  # noqa: E402
from AquaML.environment.mujoco.gymnasium_tasks import make  # noqa: E402
from AquaML.environment.mujoco.gymnasium_tasks.ant import Ant  # noqa: E402
from AquaML.environment.spaces import OBSERVATION_NAME, layout_of  # noqa: E402
from AquaML.environment.step_arrays import StepArrays, array_shapes  # noqa: E402
from AquaML.environment.vectorization.backend import Unsuited  # noqa: E402

NUM_ENVS = 3
SEED = 11

# Gymnasium sums squared actions in float32; before numpy 2, a float32 number times a Python float became float64.
SAME = 1e-9 if int(np.__version__.split(".")[0]) >= 2 else 1e-6

# A time limit that 200 steps reach, where nothing else ends an episode; the others show their registered limits.
SHORT: Dict[str, Dict[str, Any]] = {
    "Ant-v5": {"max_episode_steps": 60},
    "HalfCheetah-v5": {"max_episode_steps": 70},
    "Hopper-v5": {},
    "Walker2d-v5": {},
    "Swimmer-v5": {"max_episode_steps": 90},
    "Humanoid-v5": {},
    "HumanoidStandup-v5": {"max_episode_steps": 80},
    "Reacher-v5": {},
    "Pusher-v5": {},
    "InvertedPendulum-v5": {},
    "InvertedDoublePendulum-v5": {},
}
TASKS = sorted(SHORT)

RUNNING = {"frame_skip": 3, "forward_reward_weight": 2.5, "ctrl_cost_weight": 0.7}
PARTS = {
    "exclude_current_positions_from_observation": False,
    "include_cinert_in_observation": False,
    "include_cvel_in_observation": False,
    "include_qfrc_actuator_in_observation": False,
    "include_cfrc_ext_in_observation": False,
}

KEYWORDS: List[Tuple[str, Dict[str, Any]]] = [
    (
        "Ant-v5",
        dict(
            RUNNING,
            contact_cost_weight=0.02,
            healthy_reward=0.3,
            main_body="front_left_leg",
            healthy_z_range=(0.45, 0.8),
            contact_force_range=(-0.2, 0.4),
            reset_noise_scale=0.2,
            max_episode_steps=20,
        ),
    ),
    (
        "Ant-v5",
        dict(
            main_body=3,
            terminate_when_unhealthy=False,
            healthy_z_range=(0.6, 0.7),
            exclude_current_positions_from_observation=False,
            include_cfrc_ext_in_observation=False,
            default_camera_config={"distance": 2.0},
            width=100,
            height=120,
            camera_id=0,
            max_geom=500,
            visual_options={2: True},
        ),
    ),
    (
        "HalfCheetah-v5",
        dict(RUNNING, reset_noise_scale=0.4, exclude_current_positions_from_observation=False, max_episode_steps=15),
    ),
    ("HalfCheetah-v5", dict(default_camera_config={"distance": 2.0}, camera_name="track", max_episode_steps=-1)),
    (
        "Hopper-v5",
        dict(
            RUNNING,
            healthy_reward=0.4,
            healthy_state_range=(-2.0, 2.0),
            healthy_z_range=(0.5, 1.3),
            healthy_angle_range=(-0.1, 0.3),
            reset_noise_scale=0.05,
            exclude_current_positions_from_observation=False,
            default_camera_config={},
        ),
    ),
    ("Hopper-v5", dict(terminate_when_unhealthy=False, max_episode_steps=40)),
    (
        "Walker2d-v5",
        dict(
            RUNNING,
            healthy_reward=0.4,
            healthy_z_range=(1.0, 1.3),
            healthy_angle_range=(-0.4, 0.3),
            reset_noise_scale=0.05,
            exclude_current_positions_from_observation=False,
            default_camera_config={},
        ),
    ),
    ("Walker2d-v5", dict(terminate_when_unhealthy=False, max_episode_steps=40)),
    (
        "Swimmer-v5",
        dict(
            RUNNING,
            reset_noise_scale=0.4,
            exclude_current_positions_from_observation=False,
            default_camera_config={},
            max_episode_steps=25,
        ),
    ),
    (
        "Humanoid-v5",
        dict(
            RUNNING,
            contact_cost_weight=1e-4,
            contact_cost_range=(0.001, 0.2),
            healthy_reward=2.0,
            healthy_z_range=(1.2, 1.45),
            reset_noise_scale=0.1,
            default_camera_config={},
            disable_env_checker=True,
        ),
    ),
    ("Humanoid-v5", dict(PARTS, terminate_when_unhealthy=False, max_episode_steps=25)),
    (
        "HumanoidStandup-v5",
        dict(
            frame_skip=3,
            uph_cost_weight=3.0,
            ctrl_cost_weight=0.3,
            impact_cost_weight=1e-4,
            impact_cost_range=(0.001, 0.5),
            reset_noise_scale=0.1,
            default_camera_config={},
            max_episode_steps=20,
        ),
    ),
    ("HumanoidStandup-v5", dict(PARTS)),
    (
        "Reacher-v5",
        dict(frame_skip=4, reward_dist_weight=2.0, reward_control_weight=0.1, default_camera_config={}),
    ),
    (
        "Pusher-v5",
        dict(
            frame_skip=4,
            reward_near_weight=0.9,
            reward_dist_weight=2.0,
            reward_control_weight=0.3,
            default_camera_config={},
            max_episode_steps=20,
        ),
    ),
    ("InvertedPendulum-v5", dict(frame_skip=3, reset_noise_scale=0.1, default_camera_config={}, max_episode_steps=5)),
    (
        "InvertedDoublePendulum-v5",
        dict(frame_skip=2, healthy_reward=3.0, reset_noise_scale=0.2, default_camera_config={}, max_episode_steps=9),
    ),
]


@pytest.fixture(autouse=True)
def wake_all_threads(monkeypatch: Any) -> None:
    """So few robots would be left to one thread."""
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1e-9)


def made(task: str, kwargs: Dict[str, Any], count: int = NUM_ENVS, thread_count: int = 2) -> Tuple[Any, StepArrays]:
    backend = make(gymnasium.spec(task), count, kwargs, thread_count)
    shapes = array_shapes(layout_of(backend.observation_space, OBSERVATION_NAME).specs, count)
    return backend, StepArrays({name: np.zeros(shape, kind) for name, (shape, kind) in shapes.items()})


def remember_judgements(backend: Any) -> List[Any]:
    """Return a list that gets rewards, log and observations of every step in float64, before any reset."""
    kept: List[Any] = []
    judge = backend.judge

    def remembering(native: Dict[str, np.ndarray]) -> Any:
        rewards, terminated, scalars = judge(native)
        kept.append((rewards.copy(), {name: np.array(values) for name, values in scalars.items()}, backend.observe()))
        return rewards, terminated, scalars

    backend.judge = remembering
    return kept


def random_actions(space: Any, steps: int, count: int = NUM_ENVS) -> np.ndarray:
    generator = np.random.default_rng(5)
    return generator.uniform(space.low, space.high, (steps, count) + space.shape).astype(space.dtype)


def close(actual: Any, expected: Any, what: str) -> None:
    np.testing.assert_allclose(actual, expected, rtol=SAME, atol=SAME, err_msg=what)


def compare(task: str, kwargs: Dict[str, Any], steps: int) -> Dict[str, int]:
    """Step both side by side; return how many episodes ended in which way."""
    backend, out = made(task, kwargs)
    kept = remember_judgements(backend)
    originals = [gymnasium.make(task, **kwargs) for _ in range(NUM_ENVS)]
    assert backend.observation_space == originals[0].observation_space
    assert backend.action_space == originals[0].action_space
    backend.reset(SEED, out)
    firsts = [original.reset(seed=SEED + index)[0] for index, original in enumerate(originals)]
    close(backend.observe(), firsts, "first observations")
    ends = {"terminated": 0, "truncated": 0}
    for step, actions in enumerate(random_actions(backend.action_space, steps)):
        ended = backend.step({"action": actions.copy()}, out)
        rewards, scalars, finals = kept[-1]
        done = np.zeros(NUM_ENVS, bool)
        for index, original in enumerate(originals):
            place = "{} of environment {} in step {}".format("{}", index, step)
            observation, reward, terminated, truncated, info = original.step(actions[index])
            assert out.terminated[index, 0] == terminated, place
            assert out.truncated[index, 0] == (truncated and not terminated), place
            close(rewards[index], reward, place.format("reward"))
            assert out.rewards[index, 0] == np.float32(rewards[index])
            numbers = {name: value for name, value in info.items() if np.ndim(value) == 0}
            assert set(numbers) == set(scalars) == set(out.log)
            for name, value in numbers.items():
                close(scalars[name][index], value, place.format(name))
                assert out.log[name][index] == np.float32(scalars[name][index])
            close(finals[index], observation, place.format("observation"))
            done[index] = terminated or truncated
            if done[index]:
                assert np.array_equal(out.final["state"][index], finals[index].astype(np.float32))
                ends["terminated" if terminated else "truncated"] += 1
                observation = original.reset()[0]
            close(backend.observe()[index], observation, place.format("observation to act on"))
        assert ended == done.any()
        assert np.array_equal(out.observations["state"], backend.observe().astype(np.float32))
    backend.close()
    return ends


@pytest.mark.parametrize("task", TASKS)
def test_episodes_equal_gymnasiums(task: str) -> None:
    ends = compare(task, SHORT[task], 200)
    assert sum(ends.values()) >= NUM_ENVS
    if SHORT[task]:
        assert ends["truncated"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_thousand_steps_equal_gymnasiums(task: str) -> None:
    assert sum(compare(task, {}, 1000).values()) >= NUM_ENVS


@pytest.mark.parametrize(("task", "kwargs"), KEYWORDS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_keyword_means_what_it_means_in_gymnasium(task: str, kwargs: Dict[str, Any]) -> None:
    compare(task, kwargs, 60)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_file_of_ones_own(task: str, tmp_path: Path) -> None:
    entry = load_env_creator(gymnasium.spec(task).entry_point)
    name = inspect.signature(entry).parameters["xml_file"].default
    text = (Path(inspect.getfile(MujocoEnv)).parent / "assets" / name).read_text()
    changed = text.replace('timestep="0.0', 'timestep="0.00')
    assert changed != text
    own = tmp_path / "own.xml"
    own.write_text(changed)
    compare(task, {"xml_file": str(own)}, 40)


def test_the_cases_touch_every_keyword() -> None:
    touched: Dict[str, set] = {task: {"xml_file"} for task in TASKS}
    for task, kwargs in KEYWORDS:
        touched[task] |= set(kwargs)
    for task in TASKS:
        own = set(inspect.signature(load_env_creator(gymnasium.spec(task).entry_point)).parameters) - {"kwargs"}
        assert own <= touched[task], task
    shown = set(inspect.signature(MujocoEnv).parameters) - {"model_path", "observation_space", "render_mode"}
    assert shown <= set().union(*touched.values())


def test_resetting_without_a_seed_continues_the_random_streams() -> None:
    backend, out = made("Reacher-v5", {})
    originals = [gymnasium.make("Reacher-v5") for _ in range(NUM_ENVS)]
    backend.reset(4, out)
    for index, original in enumerate(originals):
        original.reset(seed=4 + index)
    for _ in range(3):
        backend.reset(None, out)
        assert np.array_equal(backend.observe(), [original.reset()[0] for original in originals])


def test_without_any_seed_environments_and_runs_differ() -> None:
    starts = []
    for _ in range(2):
        backend, out = made("Hopper-v5", {})
        backend.reset(None, out)
        starts += list(backend.observe())
    assert len({start.tobytes() for start in starts}) == 2 * NUM_ENVS


def play(backend: Any, out: StepArrays, actions: np.ndarray) -> List[np.ndarray]:
    kept = []
    for action in actions:
        backend.step({"action": action.copy()}, out)
        kept += [out.observations["state"].copy(), out.rewards.copy(), out.terminated.copy(), out.truncated.copy()]
        kept += [backend.observe()] + [out.log[name] for name in sorted(out.log)]
    return kept


def assert_identical(some: List[np.ndarray], others: List[np.ndarray]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("task", TASKS)
def test_the_number_of_threads_changes_no_number(task: str) -> None:
    played = []
    for thread_count in (1, 2, 5):
        backend, out = made(task, SHORT[task], 6, thread_count)
        assert backend.simulation.threads == thread_count
        backend.reset(SEED, out)
        played.append(play(backend, out, random_actions(backend.action_space, 60, 6)))
        backend.close()
    assert_identical(played[0], played[1])
    assert_identical(played[0], played[2])


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and plain(part) for name, part in value.items())
    if isinstance(value, list):
        return all(plain(part) for part in value)
    return isinstance(value, (np.ndarray, int, float, str, bool, type(None)))


@pytest.mark.parametrize("task", TASKS)
def test_a_state_taken_in_mid_episode_is_restored_to_the_last_bit(task: str) -> None:
    backend, out = made(task, SHORT[task])
    backend.reset(SEED, out)
    actions = random_actions(backend.action_space, 160)
    play(backend, out, actions[:33])
    state = backend.get_state()
    assert plain(state)
    frozen = pickle.dumps(state)
    latest = out.observations["state"].copy()
    expected = play(backend, out, actions[33:])
    assert pickle.dumps(state) == frozen, "a saved state changed while the backend went on"
    fresh, fresh_out = made(task, SHORT[task], thread_count=1)
    fresh.reset(99, fresh_out)
    play(fresh, fresh_out, actions[:7])
    assert fresh.set_state(state, fresh_out)
    assert np.array_equal(fresh_out.observations["state"], latest)
    assert_identical(play(fresh, fresh_out, actions[33:]), expected)


RESUME = """
import pickle, sys
import gymnasium, numpy as np
sys.path.insert(0, {folder!r})
from test_mujoco_tasks import made, play
for task, kwargs, state, actions in pickle.load(open("saved", "rb")):
    backend, out = made(task, kwargs)
    assert backend.set_state(state, out)
    np.save(task, np.concatenate([part.reshape(-1).astype(float) for part in play(backend, out, actions)]))
"""


def test_a_state_is_restored_in_another_process() -> None:
    saved, expected = [], {}
    for task in TASKS:
        backend, out = made(task, SHORT[task])
        backend.reset(SEED, out)
        actions = random_actions(backend.action_space, 50)
        play(backend, out, actions[:20])
        saved.append((task, SHORT[task], backend.get_state(), actions[20:]))
        played = play(backend, out, actions[20:])
        expected[task] = np.concatenate([part.reshape(-1).astype(float) for part in played])
    with open("saved", "wb") as file:
        pickle.dump(saved, file)
    folder = os.path.dirname(os.path.abspath(__file__))
    subprocess.run([sys.executable, "-c", RESUME.format(folder=folder)], check=True, timeout=120)
    for task, numbers in expected.items():
        assert np.array_equal(np.load(task + ".npy"), numbers), task


def reason(spec: Any, **kwargs: Any) -> str:
    with pytest.raises(Unsuited) as refusal:
        make(spec, 2, kwargs)
    return str(refusal.value)


@pytest.fixture
def registered() -> Iterator[str]:
    name = "OwnAnt-v0"
    gymnasium.register(
        name,
        entry_point="gymnasium.envs.mujoco.ant_v5:AntEnv",
        max_episode_steps=7,
        kwargs={"healthy_reward": 5.0, "reset_noise_scale": 0.0},
    )
    yield name
    del gymnasium.registry[name]


def test_an_id_of_ones_own_for_one_of_the_classes_keeps_its_keywords(registered: str) -> None:
    assert compare(registered, {"reset_noise_scale": 0.05}, 20) == {"terminated": 0, "truncated": 2 * NUM_ENVS}
    assert make(gymnasium.spec(registered), 1, {}).options.healthy_reward == 5.0


def test_other_environments_are_refused() -> None:
    assert reason(gymnasium.spec("CartPole-v1")) == (
        "CartPole-v1 is none of Gymnasium's eleven MuJoCo tasks of version 5"
    )
    assert "Ant-v4 is none of" in reason(gymnasium.spec("Ant-v4"))
    assert "is none of" in reason(EnvSpec("Function-v0", entry_point=lambda: gymnasium.make("Ant-v5")))


def test_a_wrapper_is_refused_by_name() -> None:
    name = "WrappedAnt-v0"
    wrapper = WrapperSpec("ClipReward", "gymnasium.wrappers:ClipReward", {"max_reward": 1.0})
    gymnasium.register(name, "gymnasium.envs.mujoco.ant_v5:AntEnv", additional_wrappers=(wrapper,))
    try:
        choice = GymnasiumWrapper(name, num_envs=2).vectorization
    finally:
        del gymnasium.registry[name]
    assert choice["backend"] == "sync"
    assert choice["passed_over"]["batched"] == "its registration wraps it by ClipReward"


def test_what_cannot_be_made_or_shown_is_refused() -> None:
    spec = gymnasium.spec("Ant-v5")
    assert "wings" in reason(spec, wings=2)
    assert "render_mode is 'rgb_array'" in reason(spec, render_mode="rgb_array")
    assert "nowhere.xml" in reason(spec, xml_file="/nowhere.xml")
    assert "no body 'tail'" in reason(spec, main_body="tail")
    assert "no body 'fingertip'" in reason(gymnasium.spec("Reacher-v5"), xml_file="swimmer.xml")
    assert "shape" in reason(gymnasium.spec("InvertedPendulum-v5"), xml_file="half_cheetah.xml")
    assert make(spec, 1, {"render_mode": None}).num_envs == 1


def test_keywords_of_an_unknown_version_of_gymnasium_are_refused(monkeypatch: Any) -> None:
    kept = [field for field in dataclasses.fields(Ant.options_type) if field.name != "main_body"]
    older = dataclasses.make_dataclass("Older", [(field.name, field.type) for field in kept])
    monkeypatch.setattr(Ant, "options_type", older)
    assert reason(gymnasium.spec("Ant-v5")).endswith("tested with: main_body")
