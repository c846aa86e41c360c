"""Many MuJoCo simulations stepped by threads: physics by hand, failures that name the environment, exact state."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco")

from AquaML.environment.mujoco import Simulation, threads  # noqa: E402
from AquaML.environment.mujoco.threads import ThreadTeam, available_cores  # noqa: E402
from AquaML.errors import EnvironmentContractError  # noqa: E402

BALL = """
<mujoco>
  <option timestep="0.01" gravity="0 0 {gravity}"><flag contact="{contact}"/></option>
  <size memory="{memory}"/>
  <worldbody>
    <geom type="plane" size="5 5 .1"/>
    <body pos="0 0 5"><freejoint/><geom type="box" size=".1 .1 .1"/></body>
    <body pos="3 0 2"><joint name="hinge" axis="0 1 0" damping="0.1"/><geom type="box" size=".1 .1 .3"/></body>
  </worldbody>
  <actuator><motor joint="hinge" gear="2"/></actuator>
</mujoco>
"""
FILTERED = BALL.replace("<motor", "<general dyntype='filter' dynprm='0.1'")


def ball(gravity: float = -10.0, memory: str = "1M", contact: str = "enable", text: str = BALL) -> Any:
    return mujoco.MjModel.from_xml_string(text.format(gravity=gravity, memory=memory, contact=contact))


def still(count: int) -> np.ndarray:
    return np.zeros((count, 1))


def test_a_free_fall_by_hand() -> None:
    simulation = Simulation([ball()], 3, frame_skip=4, threads=2)
    positions = simulation.watch("qpos")
    assert simulation.time_step == pytest.approx(0.04)
    for _ in range(5):
        simulation.step(still(3))
    # Semi-implicit Euler: after n steps of length h the height is 5 - g h^2 n (n + 1) / 2, with n = 20 here.
    np.testing.assert_allclose(positions[:, 2], 5 - 10 * 0.01**2 * 20 * 21 / 2, rtol=1e-12)
    np.testing.assert_allclose([data.time for data in simulation.data], 0.2)


def test_each_environment_may_have_a_model_of_its_own() -> None:
    gravities = [-1.0, -5.0, 0.0, -10.0]
    simulation = Simulation([ball(gravity) for gravity in gravities], 4, threads=2)
    heights = simulation.watch("qpos")[:, 2]
    for _ in range(20):
        simulation.step(still(4))
    np.testing.assert_allclose(heights, [5 + gravity * 0.01**2 * 210 for gravity in gravities], rtol=1e-12)


def test_models_of_other_sizes_are_refused() -> None:
    with pytest.raises(EnvironmentContractError, match="environment 1 has na=1, that of environment 0 0"):
        Simulation([ball(), ball(text=FILTERED)], 2)


def test_each_environment_gets_its_own_controls() -> None:
    simulation = Simulation([ball(contact="disable")], 5, threads=2)
    speeds = simulation.watch("qvel")[:, 6]
    torques = np.array([[0.0], [1.0], [-2.0], [0.5], [4.0]])
    simulation.step(torques)
    # With damping handled implicitly, one step gives h * gear * torque / (inertia + h * damping).
    body = simulation.model.body(2)
    inertia = float(body.inertia[1])
    np.testing.assert_allclose(speeds, 0.01 * 2 * torques[:, 0] / (inertia + 0.01 * 0.1), rtol=1e-6)


def test_watched_arrays_stay_the_same_objects_and_follow_resets() -> None:
    simulation = Simulation([ball()], 3, threads=2)
    places = simulation.watch("xpos")
    heights = places[:, 1, 2]
    simulation.step(still(3))
    assert simulation.watch("xpos") is places
    positions = np.tile(simulation.model.qpos0, (2, 1))
    positions[:, 2] = [7.0, 8.0]
    untouched = heights[1]
    simulation.begin(np.array([0, 2]), positions, np.zeros((2, simulation.model.nv)))
    assert heights.tolist() == [7.0, untouched, 8.0]


def test_an_episode_begins_without_anything_of_the_last_one() -> None:
    def two_steps(simulation: Simulation) -> np.ndarray:
        positions = np.tile(simulation.model.qpos0, (2, 1))
        simulation.begin(np.arange(2), positions, np.zeros((2, simulation.model.nv)))
        for _ in range(2):
            simulation.step(np.ones((2, 1)))
        return np.concatenate([simulation.watch(name).reshape(-1) for name in ("qpos", "qvel", "act", "qacc")])

    fresh, used = (Simulation([ball(text=FILTERED)], 2) for _ in range(2))
    for _ in range(200):
        used.step(np.full((2, 1), 3.0))
    assert np.array_equal(two_steps(fresh), two_steps(used))


def test_contact_forces_are_those_after_the_step() -> None:
    simulation = Simulation([ball()], 1)
    forces = simulation.watch("cfrc_ext")
    for _ in range(400):
        simulation.step(still(1))
    weight = float(simulation.model.body_mass[1]) * 10
    assert forces[0, 1, 5] == pytest.approx(weight, rel=1e-3)


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(EnvironmentContractError, match="MjData has no array 'speed'"):
        Simulation([ball()], 1).watch("speed")
    with pytest.raises(EnvironmentContractError, match="MjData has no array 'time'"):
        Simulation([ball()], 1).watch("time")


def test_numbers_of_models_and_threads_are_checked() -> None:
    with pytest.raises(EnvironmentContractError, match="2 models for 3 environments"):
        Simulation([ball(), ball()], 3)
    for wrong in (0, -2):
        with pytest.raises(EnvironmentContractError, match="threads is {}; expected None or at least 1".format(wrong)):
            Simulation([ball()], 3, threads=wrong)
    assert Simulation([ball()], 1000).threads == available_cores() >= 1
    assert Simulation([ball()], 1, threads=8).threads == 1


def test_a_simulation_that_breaks_down_is_named_and_goes_on(log_lines: List[str]) -> None:
    simulation = Simulation([ball()], 4, frame_skip=2, threads=2)
    simulation.step(still(4))
    assert not simulation.unstable.any() and not log_lines
    for _ in range(2):
        # Two breakdowns in a row are two.
        simulation.data[2].qvel[:] = 1e12
        simulation.step(still(4))
        assert simulation.unstable.tolist() == [False, False, True, False]
    simulation.step(still(4))
    assert not simulation.unstable.any()
    assert len(log_lines) == 1
    assert "Environment 2" in log_lines[0] and "unstable" in log_lines[0]


@pytest.mark.parametrize("thread_count", [1, 2])
def test_a_failure_of_mujoco_names_the_environment(thread_count: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1e-9)
    models = [ball() for _ in range(6)]
    models[4] = ball(memory="2K")
    simulation = Simulation(models, 6, threads=thread_count)
    simulation.step(still(6))
    # Contacts with the floor need more memory than one of the models provides.
    for data in simulation.data:
        data.qpos[2] = 0.1
    for _ in range(2):
        with pytest.raises(EnvironmentContractError, match="Environment 4: MuJoCo failed with FatalError: .*memory"):
            simulation.step(still(6))
    simulation.close()


def state_of(simulation: Simulation) -> Dict[str, np.ndarray]:
    return {name: values.copy() for name, values in simulation.get_state().items()}


@pytest.mark.parametrize("up_to_date", [False, True])
@pytest.mark.parametrize("text", [BALL, FILTERED], ids=["motor", "filter"])
def test_the_state_is_restored_to_the_last_bit(text: str, up_to_date: bool) -> None:
    def made() -> Simulation:
        simulation = Simulation([ball(text=text)], 3, 2, 2, up_to_date=up_to_date)
        for name in ("qpos", "xpos", "cfrc_ext", "act", "qfrc_constraint"):
            simulation.watch(name)
        return simulation

    generator = np.random.default_rng(0)
    controls = generator.uniform(-1, 1, (150, 3, 1))
    first, second = made(), made()
    for control in controls[:110]:
        first.step(control)
    assert first.watch("cfrc_ext").any(), "the box should lie on the floor by now"
    saved = state_of(first)
    second.set_state(saved)
    for control in controls[110:]:
        for one, other in zip(state_of(first).values(), state_of(second).values()):
            assert np.array_equal(one, other)
        first.step(control)
        second.step(control)


def test_a_state_of_another_batch_is_refused_before_anything_changes() -> None:
    simulation = Simulation([ball()], 2)
    simulation.watch("qpos")
    before = state_of(simulation)
    other = Simulation([ball()], 3)
    other.watch("qpos")
    other.step(still(3))
    with pytest.raises(EnvironmentContractError, match="saved simulation"):
        simulation.set_state(other.get_state())
    for name, values in state_of(simulation).items():
        assert np.array_equal(values, before[name])


def test_closing_twice_is_allowed_and_ends_the_threads(monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1e-9)
    known = set(threading.enumerate())
    simulation = Simulation([ball()], 64, threads=3)
    simulation.step(still(64))
    simulation.step(still(64))
    assert set(threading.enumerate()) > known
    simulation.close()
    simulation.close()
    assert set(threading.enumerate()) == known


def test_every_row_is_done_once_by_threads_that_share_the_work(monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 0.01)
    team = ThreadTeam(3, 100)
    done: List[int] = []
    workers = set()

    def work(row: int) -> None:
        time.sleep(0.02 if row == 0 else 0.002)
        done.append(row)
        workers.add(threading.get_ident())

    team.run(work, range(10))
    assert workers == {threading.get_ident()}, "what a row costs is not known yet"
    team.run(work, range(30))
    assert sorted(done[10:]) == list(range(30)) and done[10:] != sorted(done[10:])
    assert len(workers) == 3 and threading.get_ident() in workers
    team.close()
    workers.clear()
    team.run(work, range(5))
    assert workers == {threading.get_ident()}


def test_little_work_wakes_no_thread(monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 100.0)
    team = ThreadTeam(4, 8)
    workers = set()
    for _ in range(5):
        team.run(lambda row: workers.add(threading.get_ident()), range(8))
    assert workers == {threading.get_ident()}
    team.close()


def test_a_failure_is_raised_after_all_other_rows_are_done(monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 1e-9)
    team = ThreadTeam(2, 20)
    done: List[int] = []
    failing = -1

    def work(row: int) -> None:
        time.sleep(0.001)
        if row == failing:
            raise ValueError("no such joint")
        done.append(row)

    team.run(work, range(20))
    done.clear()
    failing = 3
    with pytest.raises(EnvironmentContractError, match="Environment 3: .* ValueError: no such joint"):
        team.run(work, range(20))
    assert sorted(done + [3]) == list(range(20))
    team.close()


def test_importing_the_packages_loads_no_simulator(tmp_path: Path) -> None:
    code = (
        "import sys, AquaML.environment.mujoco.gymnasium_tasks as tasks, AquaML.environment.mujoco.simulation\n"
        "tasks.make, tasks.TASKS\n"
        "loaded = [name for name in ('torch', 'gymnasium', 'mujoco') if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=str(tmp_path), timeout=60)
    assert not list(tmp_path.iterdir())
