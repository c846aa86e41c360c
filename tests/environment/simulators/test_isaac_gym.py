"""What is special about Isaac Gym: three ways to reset, warm-up, progress, saved state, and the order of imports."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest
import torch
from conformance import clock_actions, collect
from isaac_gym_stand_in import VecTaskStandIn
from worlds import ClockWorld

from AquaML.environment.isaac_gym_envs import IsaacGymWrapper
from AquaML.errors import EnvironmentContractError, MissingDependencyError, SpaceError

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "resets, found",
    [("post_physics", "next_step"), ("pre_physics", "next_step"), ("same_step", "same_step"), ("manual", "manual")],
)
def test_the_way_of_resetting_is_found_out_and_told(resets: str, found: str, log_lines: list) -> None:
    wrapper = IsaacGymWrapper(VecTaskStandIn(4, resets=resets))
    assert wrapper.resets == found
    assert any("resets are '{}'".format(found) in line for line in log_lines)
    assert IsaacGymWrapper(VecTaskStandIn(4, resets=resets), autoreset=found).resets == found


def test_a_task_that_does_not_end_at_its_limit_must_be_told() -> None:
    class Endless(VecTaskStandIn):
        def _ends(self) -> torch.Tensor:
            return torch.zeros_like(self.reset_buf)

    with pytest.raises(EnvironmentContractError, match="say IsaacGymWrapper.*autoreset='next_step'"):
        IsaacGymWrapper(Endless(3))
    with pytest.raises(EnvironmentContractError, match="autoreset is 'later'"):
        IsaacGymWrapper(Endless(3), autoreset="later")


def test_the_first_observation_is_one_and_not_the_zeros_that_the_task_shows() -> None:
    task = VecTaskStandIn(3)
    assert torch.equal(task.reset()["obs"], torch.zeros(3, 5))
    states, _ = IsaacGymWrapper(task, autoreset="next_step").reset()
    assert states["state"][:, 0].tolist() == [0.0, 1.0, 2.0] and (states["state"][:, 4] > 0.0).all()


def test_time_limits_that_a_same_step_task_does_not_report_are_known_by_its_progress() -> None:
    task = VecTaskStandIn(3, resets="same_step")
    wrapper = IsaacGymWrapper(task)
    states, _ = wrapper.reset()
    reported = found = 0
    for _ in range(30):
        states, _, _, truncated, _ = wrapper.step({"action": clock_actions(states)})
        reported += int(task.extras["time_outs"].sum())
        found += int(truncated.sum())
    assert reported == 0 and found >= 10


def test_a_task_without_time_outs_is_read_by_its_progress() -> None:
    class Old(VecTaskStandIn):
        def step(self, actions: torch.Tensor) -> Any:
            observations, rewards, done, extras = super().step(actions)
            extras.pop("time_outs")
            return observations, rewards, done, extras

    assert collect(IsaacGymWrapper(Old(3)), 30) == collect(IsaacGymWrapper(VecTaskStandIn(3)), 30)


def test_the_task_is_told_how_far_training_is_but_not_by_evaluations() -> None:
    task = VecTaskStandIn(4)
    wrapper = IsaacGymWrapper(task)
    states, _ = wrapper.reset()
    for _ in range(5):
        states, _, _, _, _ = wrapper.step({"action": clock_actions(states)})
    assert task.told_frames == 20
    wrapper.evaluating = True
    wrapper.step({"action": clock_actions(states)})
    assert task.told_frames == wrapper.environment_steps == 20


def test_what_the_task_wants_to_keep_goes_through_the_saved_state() -> None:
    first = IsaacGymWrapper(VecTaskStandIn(4))
    states, _ = first.reset()
    first.step({"action": clock_actions(states)})
    state = first.state_dict()
    assert state["simulator"] == {"task": {"curriculum": 4}, "environment_steps": 4}
    task = VecTaskStandIn(4)
    second = IsaacGymWrapper(task)
    second.validate_state(state)
    second.load_state_dict(state)
    assert (task.told_frames, second.environment_steps) == (4, 4)
    # Physics is not restored, so the trainer starts new episodes and says so.
    assert not second.restored_exactly


def test_random_first_ages() -> None:
    task = VecTaskStandIn(200, max_episode_length=50)
    wrapper = IsaacGymWrapper(task, random_initial_length=True)
    wrapper.reset(seed=0)
    assert len(set(task.progress_buf.tolist())) > 30 and int(task.progress_buf.max()) < 50
    wrapper.evaluating = True
    wrapper.reset(seed=0)
    assert set(task.progress_buf.tolist()) == {0}


def test_actions_meet_their_bounds_on_a_copy() -> None:
    task = VecTaskStandIn(2)
    wrapper = IsaacGymWrapper(task)
    wrapper.reset()
    actions = torch.tensor([[3.0], [-0.25]])
    wrapper.step({"action": actions})
    assert task.received.tolist() == [[1.0], [-0.25]] and actions.tolist() == [[3.0], [-0.25]]


def test_names_can_be_chosen() -> None:
    wrapper = IsaacGymWrapper(VecTaskStandIn(2), names={"obs": "joints", "states": "scan"})
    assert list(wrapper.reset()[0]) == ["joints", "scan"]
    with pytest.raises(SpaceError, match="there is no observation 'state'. Did you mean 'states'?"):
        IsaacGymWrapper(VecTaskStandIn(2), names={"state": "joints"})
    with pytest.raises(SpaceError, match="Both 'obs' and 'states' would be called 'state'"):
        IsaacGymWrapper(VecTaskStandIn(2), names={"states": "state"})


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("obs_buf", torch.zeros(4, 5), "'state' has shape"),
        ("rew_buf", torch.zeros(3, 2), "rewards of shape"),
    ],
)
def test_shapes_that_a_task_did_not_declare_are_named(name: str, value: torch.Tensor, message: str) -> None:
    class Wrong(VecTaskStandIn):
        def step(self, actions: torch.Tensor) -> Any:
            observations, rewards, done, extras = super().step(actions)
            if name == "rew_buf":
                return observations, value, done, extras
            return {"obs": value}, rewards, done, extras

    wrapper = IsaacGymWrapper(Wrong(3, states=False), autoreset="manual")
    wrapper.reset()
    with pytest.raises(EnvironmentContractError, match=message):
        wrapper.step({"action": torch.zeros(3, 1)})


def test_several_agents_in_one_environment_are_refused() -> None:
    task = VecTaskStandIn(2)
    task.num_agents = 2
    with pytest.raises(EnvironmentContractError, match="has 2 agents in each environment"):
        IsaacGymWrapper(task)


def test_a_made_task_takes_no_arguments_of_making() -> None:
    with pytest.raises(EnvironmentContractError, match="is made already, so num_envs cannot be applied"):
        IsaacGymWrapper(VecTaskStandIn(2), num_envs=5)


# ------------------------------------------------------------------ the order of imports


def run(code: str, folder: Path) -> Any:
    """Run a script in a process of its own, with ``folder`` before everything installed."""
    script = "import sys\nsys.path[:0] = [{!r}, {!r}]\n{}".format(str(folder), str(REPOSITORY), code)
    command = [sys.executable, "-c", script]
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)


# The real check of Isaac Gym (gymdeps.py), and nothing else of it.
GUARD = """
import sys
if "torch" in sys.modules:
    raise ImportError("PyTorch was imported before isaacgym modules.  Please import torch after isaacgym modules.")
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "isaacgym").mkdir(parents=True)
    (folder / "isaacgym" / "__init__.py").write_text(GUARD)
    return folder


def test_isaac_gym_can_be_imported_after_aquaml(installed: Path) -> None:
    code = "import AquaML, AquaML.environment, AquaML.learning\nimport isaacgym\nprint('fine', 'torch' in sys.modules)"
    assert run(code, installed).stdout.decode().split() == ["fine", "False"]


def test_the_helper_imports_in_the_right_order(installed: Path) -> None:
    code = (
        "from AquaML.environment import import_isaac_gym\nimport_isaac_gym()\nprint('torch' in sys.modules)\n"
        "from AquaML.environment import IsaacGymWrapper\nprint('torch' in sys.modules)"
    )
    assert run(code, installed).stdout.decode().split() == ["False", "True"]


def test_torch_first_is_told_what_to_do(installed: Path) -> None:
    output = run("import torch\nfrom AquaML.environment import import_isaac_gym\nimport_isaac_gym()", installed)
    text = output.stdout.decode()
    assert output.returncode != 0 and "torch is imported already" in text
    assert "    from AquaML.environment.isaac_gym_import import import_isaac_gym\n    import_isaac_gym()" in text


BROKEN: Dict[str, Any] = {
    "libpython": ("raise ImportError('libpython3.8.so.1.0: cannot open shared object file')", "LD_LIBRARY_PATH"),
    "numpy": ("import numpy\nnumpy.no_such_float", "pip install 'numpy<1.24'"),
    "other": ("raise ImportError('something else')", "cannot be imported: something else"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_failures_that_many_have_met_come_with_advice(name: str, installed: Path) -> None:
    source, advice = BROKEN[name]
    (installed / "isaacgym" / "__init__.py").write_text(source)
    text = run("from AquaML.environment import import_isaac_gym\nimport_isaac_gym()", installed).stdout.decode()
    assert "MissingDependencyError" in text and advice in text


def test_without_isaac_gym_a_name_says_how_to_get_it(monkeypatch: Any) -> None:
    with pytest.raises(EnvironmentContractError, match="torch is imported already"):
        IsaacGymWrapper("Ant", num_envs=4)
    # As in a script that has imported Isaac Gym first; isaacgymenvs is the next to be missing.
    monkeypatch.setitem(sys.modules, "isaacgym", object())
    with pytest.raises(MissingDependencyError, match="'isaacgymenvs' is not installed. It is on no package index"):
        IsaacGymWrapper("Ant", num_envs=4)


def test_a_name_is_made_by_isaacgymenvs(tmp_path: Path, monkeypatch: Any) -> None:
    class Package:
        @staticmethod
        def make(task: str, num_envs: int, **arguments: Any) -> Any:
            made.update(arguments, task=task, num_envs=num_envs)
            return VecTaskStandIn(num_envs, world=ClockWorld)

    made: Dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "isaacgym", object())
    monkeypatch.setitem(sys.modules, "isaacgymenvs", Package)
    wrapper = IsaacGymWrapper("Ant", num_envs=7, sim_device="cpu", rl_device="cpu")
    assert wrapper.num_envs == 7
    assert made == {"task": "Ant", "num_envs": 7, "sim_device": "cpu", "rl_device": "cpu", "seed": 0, "headless": True}
