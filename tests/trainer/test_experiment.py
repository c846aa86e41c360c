"""Experiments from one configuration, and the sum of rewards over windows."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pieces import make_trainer as make_small_trainer

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import ConfigError
from AquaML.learning.trainers import ExperimentCfg, WindowReturn, make_trainer
from AquaML.tracking.csv_sink import read_rows

SETTINGS = {
    "networks": {"hidden_sizes": [8, 4], "activation": "relu", "initial_log_std": -1.0},
    "agent": {"rollouts": 5, "learning_rate": 1e-4},
    "trainer": {"timesteps": 20, "seed": 3, "disable_progressbar": True, "tensorboard": False, "learning_curve": False},
}


class Configclass:
    """What Isaac Lab's ``configclass`` makes."""

    def to_dict(self) -> Any:
        return SETTINGS


@pytest.fixture
def json_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(SETTINGS))
    return path


@pytest.mark.parametrize("form", ["dictionary", "object", "class", "function", "path", "text", "configuration"])
def test_every_form_of_settings_is_read(form: str, json_file: Path) -> None:
    source: Any = {
        "dictionary": SETTINGS,
        "object": Configclass(),
        "class": Configclass,
        "function": lambda: SETTINGS,
        "path": json_file,
        "text": str(json_file),
        "configuration": ExperimentCfg.from_dict(SETTINGS),
    }[form]
    cfg = ExperimentCfg.of(source)
    assert cfg.networks.hidden_sizes == [8, 4] and cfg.agent.rollouts == 5 and cfg.trainer.timesteps == 20
    assert cfg.to_dict() == ExperimentCfg.from_dict(SETTINGS).to_dict()


def test_what_settings_say_is_made() -> None:
    trainer = make_trainer(GymnasiumWrapper("Pendulum-v1"), SETTINGS)
    policy = trainer.agent.models["policy"]
    assert [tuple(value.shape) for value in policy.parameters()][:1] == [(1,)]
    assert [layer.out_features for layer in policy.modules() if isinstance(layer, torch.nn.Linear)] == [8, 4, 1]
    assert policy.log_std_parameter.tolist() == [-1.0] and trainer.agent.cfg.learning_rate == 1e-4
    trainer.train()
    assert trainer.timestep == 20
    # The seed is that of the weights as well: the same as by hand.
    AquaML.seed_everything(3)
    again = make_trainer(GymnasiumWrapper("Pendulum-v1"), SETTINGS).agent.models["policy"]
    first = make_trainer(GymnasiumWrapper("Pendulum-v1"), SETTINGS).agent.models["policy"]
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), first.parameters()))


def test_without_settings_there_are_defaults() -> None:
    trainer = make_trainer(GymnasiumWrapper("Pendulum-v1"))
    assert trainer.cfg.timesteps == 100_000 and trainer.agent.cfg.rollouts == 32


@pytest.mark.parametrize(
    "source, message",
    [
        ({"agents": {}}, "ExperimentCfg has no field 'agents'. Did you mean 'agent'?"),
        ({"agent": {"learning_rat": 1.0}}, "PPOCfg has no field 'learning_rat'. Did you mean 'learning_rate'?"),
        ({"networks": {"activation": "rele"}}, "NetworksCfg.activation is 'rele'; expected one of"),
        (7, "An experiment cannot be read from 7"),
        ("nowhere.json", "ExperimentCfg cannot be read from 'nowhere.json'"),
    ],
)
def test_mistakes_in_settings(source: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_trainer(GymnasiumWrapper("Pendulum-v1"), source)
    assert message in str(caught.value)


# ------------------------------------------------------------------ sums over windows


def test_a_window_is_a_sum_over_vector_steps_averaged_over_environments() -> None:
    hook = WindowReturn(3)
    infos = {"valid": None}
    rows = []
    for step in range(7):
        rewards = torch.tensor([[1.0 + step], [10.0]])
        hook.on_transition(None, rewards, None, None, infos)  # type: ignore[arg-type]
        row: Any = {}
        hook.on_log(None, row)  # type: ignore[arg-type]
        rows.append(row.get("window/return_mean"))
    # (1 + 2 + 3 + 30) / 2 and (4 + 5 + 6 + 30) / 2
    assert rows == [None, None, 18.0, None, None, 22.5, None]


def test_rows_that_only_reset_pay_nothing() -> None:
    hook, row = WindowReturn(1), {}
    infos = {"valid": torch.tensor([[True], [False]])}
    hook.on_transition(None, torch.tensor([[4.0], [100.0]]), None, None, infos)  # type: ignore[arg-type]
    hook.on_log(None, row)  # type: ignore[arg-type]
    assert row == {"window/return_mean": 2.0}


def test_a_window_goes_on_after_a_resume() -> None:
    settings: Any = dict(timesteps=48, run_name="whole", hooks=[WindowReturn(20)])
    make_small_trainer(**settings).train()
    make_small_trainer(**dict(settings, timesteps=24, run_name="cut", hooks=[WindowReturn(20)])).train()
    make_small_trainer(**dict(settings, resume="runs/cut", hooks=[WindowReturn(20)])).train()
    columns = [
        [row.get("window/return_mean") for row in read_rows(Path("runs") / name / "progress.csv")]
        for name in ("whole", "cut")
    ]
    assert columns[0] == columns[1] and len([value for value in columns[0] if value]) == 2


@pytest.mark.parametrize("steps", [0, -1, True, 1.5])
def test_windows_have_a_length(steps: Any) -> None:
    with pytest.raises(ConfigError, match="WindowReturn: steps is"):
        WindowReturn(steps)
