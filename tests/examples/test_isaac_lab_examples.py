"""The programs for Isaac Lab run, with a stand-in for its simulator and registry."""

import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Dict

import gymnasium
import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "isaac_lab"
SIMULATORS = Path(__file__).resolve().parents[1] / "environment" / "simulators"
TASK = "Point-v0"
SETTINGS: Dict[str, Any] = {
    "networks": {"hidden_sizes": [16], "activation": "elu", "value_inputs": ["state"]},
    "agent": {"rollouts": 20, "learning_epochs": 4, "learning_rate": 2e-3},
    "trainer": {"timesteps": 60, "disable_progressbar": True, "tensorboard": False, "learning_curve": False},
}


class AppLauncher:
    """``isaaclab.app.AppLauncher``: starts the simulator, which may be closed once."""

    started = 0

    def __init__(self, options: Any) -> None:
        AppLauncher.started += 1
        self.app = SimpleNamespace(close=lambda: None)

    @staticmethod
    def add_app_launcher_args(parser: Any) -> None:
        parser.add_argument("--headless", action="store_true")
        parser.add_argument("--device", default="cuda:0")


@pytest.fixture
def isaac_lab(monkeypatch: Any) -> Dict[str, Any]:
    """Install modules with the names that the programs import; returns the registration's extra entries."""
    monkeypatch.syspath_prepend(str(SIMULATORS))
    from isaac_lab_stand_in import IsaacLabStandIn
    from worlds import PointMass

    registered: Dict[str, Any] = {"aquaml_cfg_entry_point": SETTINGS}
    made: Dict[str, Any] = {"registered": registered}

    def load_cfg_from_registry(task: str, entry_point: str) -> Any:
        if entry_point not in registered:
            raise ValueError("Could not find configuration for the environment: '{}': {}".format(task, entry_point))
        return registered[entry_point]

    def parse_env_cfg(task: str, device: str, num_envs: Any) -> Any:
        return SimpleNamespace(scene=SimpleNamespace(num_envs=num_envs or 64), compute_final_obs=False, seed=None)

    def make(task: str, cfg: Any) -> Any:
        made["cfg"] = cfg
        torch.manual_seed(cfg.seed or 0)
        return IsaacLabStandIn(cfg.scene.num_envs, PointMass, 40, compute_final_obs=cfg.compute_final_obs)

    modules = {"isaaclab": {}, "isaaclab.app": {"AppLauncher": AppLauncher}, "isaaclab_tasks": {}}
    modules["isaaclab_tasks.utils"] = {"load_cfg_from_registry": load_cfg_from_registry, "parse_env_cfg": parse_env_cfg}
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(gymnasium, "make", make)
    return made


def run(program: str, arguments: Any) -> None:
    runpy.run_path(str(EXAMPLES / program))["main"](arguments)


def test_train_and_play(isaac_lab: Dict[str, Any], capsys: Any) -> None:
    common = ["--task", TASK, "--headless", "--device", "cpu", "--clip_actions", "1.0"]
    run("train.py", common + ["--seed", "3", "--timesteps", "800"])
    assert (isaac_lab["cfg"].seed, isaac_lab["cfg"].compute_final_obs) == (3, True)
    (folder,) = Path("logs/aquaml", TASK).iterdir()
    assert "The run is in {}".format(folder) in capsys.readouterr().out
    assert (folder / "params" / "agent.yaml").is_file() and (folder / "checkpoints" / "last.aqua").is_file()
    for where in (folder, folder / "checkpoints" / "last.aqua"):
        run("play.py", common + ["--run", str(where), "--num_envs", "8", "--episodes", "16"])
        line = capsys.readouterr().out
        assert "Deterministic return over 16 episodes: " in line
        # An untrained policy has -19.
        assert float(line.split(": ")[1]) > -6.0
    run("train.py", common + ["--timesteps", "820", "--resume", str(folder)])
    assert [path.name for path in Path("logs/aquaml", TASK).iterdir()] == [folder.name]


def test_a_task_without_an_entry_point_is_trained_with_the_defaults(
    isaac_lab: Dict[str, Any], capsys: Any, tmp_path: Path
) -> None:
    isaac_lab["registered"].clear()
    common = ["--task", TASK, "--device", "cpu", "--num_envs", "4", "--timesteps", "33"]
    run("train.py", common)
    assert "has no aquaml_cfg_entry_point; PPO's defaults are used." in capsys.readouterr().out
    settings = tmp_path / "settings.yaml"
    settings.write_text("trainer: {timesteps: 10, disable_progressbar: true}\nagent: {learning_rate: 1e-4}\n")
    run("train.py", common + ["--settings", str(settings)])
    assert "has no aquaml_cfg_entry_point" not in capsys.readouterr().out
