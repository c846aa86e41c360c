"""Every example runs as a program, with a tiny budget."""

import ast
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Sequence

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIMULATORS = Path(__file__).resolve().parents[1] / "environment" / "simulators"
LONGEST = 120

Run = Callable[..., str]

TINY = {
    "a2c_cartpole.py": (["--timesteps", "130", "--num-envs", "2", "--episodes", "2"], "Deterministic return over 2"),
    "composite_actions.py": (["--timesteps", "70", "--num-envs", "16"], "Close to the part"),
    "custom_agent.py": (["--timesteps", "300"], "After training:  20 episodes"),
    "custom_off_policy_agent.py": (["--timesteps", "60", "--warm-up", "30", "--episodes", "2"], "over 2 episodes"),
    "custom_trainer.py": (["--timesteps", "130", "--num-envs", "16", "--evaluation-interval", "65"], "The best agent"),
    "ddpg_pendulum.py": (
        ["--timesteps", "60", "--random-timesteps", "30", "--episodes", "2"],
        "Deterministic return over 2",
    ),
    "dqn_cartpole.py": (["--timesteps", "130", "--num-envs", "2", "--episodes", "2"], "Deterministic return over 2"),
    "evaluation_video.py": (["--timesteps", "70"], "100 pictures are in"),
    "fast_sac_half_cheetah.py": (
        ["--timesteps", "130", "--num-envs", "2", "--batch-size", "16", "--episodes", "2"],
        "Deterministic return over 2",
    ),
    "image_and_vector.py": (["--timesteps", "60", "--num-envs", "4"], "Action for one observation"),
    "isaacgym_ant.py": (
        ["--timesteps", "1100", "--num-envs", "8", "--device", "cpu"],
        "Sum of rewards over 1,000 steps: -",
    ),
    "isaacgym_humanoid.py": (["--timesteps", "130", "--num-envs", "8", "--device", "cpu"], "over 104 episodes"),
    "model_saving_example.py": (["--timesteps", "130"], "Action of the warm start"),
    "own_environment.py": (["--timesteps", "130", "--num-envs", "8"], "mean height error"),
    "ppo_cartpole.py": (
        ["--timesteps", "130", "--num-envs", "2", "--evaluation-interval", "65", "--episodes", "2"],
        "Deterministic return over 2 episodes",
    ),
    "ppo_pendulum_example.py": (["--timesteps", "130", "--num-envs", "2", "--episodes", "2"], "Deterministic return"),
    "privileged_critic.py": (["--timesteps", "70", "--num-envs", "16"], "The value reads ['state', 'privileged']."),
    "recurrent_pendulum.py": (
        ["--timesteps", "130", "--num-envs", "2", "--episodes", "2"],
        "Deterministic return over 2",
    ),
    "resume_training.py": (["--timesteps", "130", "--num-envs", "8"], "Training is complete"),
    "rpo_pendulum.py": (["--timesteps", "130", "--num-envs", "2", "--episodes", "2"], "Deterministic return over 2"),
    "sac_pendulum.py": (
        ["--timesteps", "60", "--random-timesteps", "30", "--episodes", "2"],
        "Deterministic return over 2",
    ),
    "simple_ppo_pendulum.py": (["--timesteps", "130", "--num-envs", "2"], "20 episodes, return"),
    "td3_pendulum.py": (
        ["--timesteps", "60", "--random-timesteps", "30", "--episodes", "2"],
        "Deterministic return over 2",
    ),
    "trpo_pendulum.py": (["--timesteps", "210", "--num-envs", "2", "--episodes", "2"], "Deterministic return over 2"),
    "walking_robot.py": (["--timesteps", "50", "--num-envs", "20"], "After training:  20 episodes"),
}
NEEDS = {"fast_sac_half_cheetah.py": "mujoco", "walking_robot.py": "mujoco"}


@pytest.fixture
def run(capsys: Any, monkeypatch: Any) -> Callable[..., str]:
    """Run an example as a program, in this process since importing torch takes longer than most of them."""

    def run_program(name: str, arguments: Sequence[str]) -> str:
        if name in NEEDS:
            pytest.importorskip(NEEDS[name])
        if name.startswith("isaacgym_"):
            install_isaac_gym(monkeypatch)
        monkeypatch.setattr(sys, "argv", [name] + list(arguments))
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return str(capsys.readouterr().out)

    return run_program


def install_isaac_gym(monkeypatch: Any) -> None:
    """Let isaacgymenvs make the stand-in of a task, on which a point is to be brought to the origin."""
    monkeypatch.syspath_prepend(str(SIMULATORS))
    from isaac_gym_stand_in import VecTaskStandIn
    from worlds import PointMass

    class Package:
        @staticmethod
        def make(task: str, num_envs: int, **arguments: Any) -> Any:
            return VecTaskStandIn(num_envs, world=PointMass, max_episode_length=40)

    monkeypatch.setitem(sys.modules, "isaacgym", object())
    monkeypatch.setitem(sys.modules, "isaacgymenvs", Package)


def test_every_example_is_known() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(TINY)


@pytest.mark.parametrize("name", sorted(TINY))
def test_example(name: str, run: Run) -> None:
    arguments, words = TINY[name]
    assert words in run(name, arguments)


@pytest.mark.parametrize("name", sorted(TINY))
def test_the_form_of_examples(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert 'if __name__ == "__main__":\n    main()\n' in text
    tree = ast.parse(text)
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert [argument.arg for argument in main.args.args] == ["arguments"] and len(main.args.defaults) == 1
    assert "``python examples/{}``".format(name) in (ast.get_docstring(tree) or "")


@pytest.mark.parametrize("name", sorted(TINY))
def test_help(name: str, run: Run, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        run(name, ["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: {}".format(name))
    for option in TINY[name][0][::2]:
        assert option in said


def test_saved_and_loaded_agents_act_alike(run: Run) -> None:
    lines = [line.split(":")[1].strip() for line in run("model_saving_example.py", ["--timesteps", "70"]).splitlines()]
    assert len(lines) == 3 and len(set(lines)) == 1


def test_the_film_of_a_loaded_agent_moves_and_there_is_none_where_nothing_renders(
    run: Run, monkeypatch: Any, log_lines: list
) -> None:
    run("resume_training.py", ["--timesteps", "65", "--num-envs", "2"])
    (checkpoint,) = Path("runs/resume_example").glob("*/checkpoints/last.aqua")
    said = run("evaluation_video.py", ["--load", str(checkpoint), "--output", "folder/film.gif"])
    assert "100 pictures are in 'folder/film.gif'" in said.replace("\\", "/")
    film = pytest.importorskip("PIL.Image").open("folder/film.gif")
    # Pictures alike are stored once.
    assert film.size == (500, 500) and film.n_frames > 20
    first = film.convert("L").tobytes()
    film.seek(20)
    assert film.convert("L").tobytes() != first
    monkeypatch.setitem(sys.modules, "pygame", None)
    said = run("evaluation_video.py", ["--load", str(checkpoint), "--output", "none.gif"])
    assert "Evaluation: 1 episodes" in said and "There is no film" in said
    assert any("Nothing is shown" in line and "pygame" in line for line in log_lines)
    assert not Path("none.gif").exists()


def test_ctrl_c_and_the_same_command_again(run: Run) -> None:
    command = [sys.executable, str(EXAMPLES / "resume_training.py"), "--num-envs", "2", "--timesteps", "1200"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline().decode().strip() == "Training begins at vector step 0 of 1200."
    (folder,) = Path("runs/resume_example").iterdir()
    until = time.monotonic() + 60.0
    while len((folder / "progress.csv").read_text().splitlines()) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130, errors.decode()
    (stopped,) = re.findall(r"Training interrupted after (\d+) environment steps", errors.decode())
    assert 128 < int(stopped) < 2400

    again = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = again.stdout.decode()
    assert "Training begins at vector step {} of 1200.".format(int(stopped) // 2) in said
    assert "Training is complete" in said
    assert list(Path("runs/resume_example").iterdir()) == [folder]
    steps = [float(line.split(",")[0]) for line in (folder / "progress.csv").read_text().splitlines()[1:]]
    assert steps == sorted(set(steps)) and steps[-1] == 1200.0
    # Nothing is left to do.
    assert "Training begins at vector step 1200 of 1200." in run("resume_training.py", command[2:])
