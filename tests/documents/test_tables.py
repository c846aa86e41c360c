"""Tables name what there is: every field of a configuration with its default, every figure, every key of the status."""

import dataclasses
import re
from pathlib import Path
from typing import Any, List, Tuple, Type

import pytest
from pages import CHINESE, DOCUMENTS, name_of

from AquaML.config import Config
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.off_policy import DDPGCfg, DQNCfg, FastSACCfg, SACCfg, TD3Cfg
from AquaML.learning.reinforcement.on_policy.a2c_cfg import A2CCfg
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.reinforcement.on_policy.rpo_cfg import RPOCfg
from AquaML.learning.reinforcement.on_policy.trpo_cfg import TRPOCfg
from AquaML.learning.reinforcement.tabular import TabularCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer

TABLES: List[Tuple[Path, Type[Config]]] = [
    (DOCUMENTS / "ppo.md", PPOCfg),
    (DOCUMENTS / "a2c.md", A2CCfg),
    (DOCUMENTS / "rpo.md", RPOCfg),
    (DOCUMENTS / "trpo.md", TRPOCfg),
    (DOCUMENTS / "sac.md", SACCfg),
    (DOCUMENTS / "td3.md", TD3Cfg),
    (DOCUMENTS / "ddpg.md", DDPGCfg),
    (DOCUMENTS / "dqn.md", DQNCfg),
    (DOCUMENTS / "fast_sac.md", FastSACCfg),
    (DOCUMENTS / "tabular.md", TabularCfg),
    (DOCUMENTS / "trainer.md", TrainerConfig),
    (CHINESE / "ppo.md", PPOCfg),
    (CHINESE / "a2c.md", A2CCfg),
    (CHINESE / "rpo.md", RPOCfg),
    (CHINESE / "trpo.md", TRPOCfg),
    (CHINESE / "sac.md", SACCfg),
    (CHINESE / "td3.md", TD3Cfg),
    (CHINESE / "ddpg.md", DDPGCfg),
    (CHINESE / "dqn.md", DQNCfg),
    (CHINESE / "fast_sac.md", FastSACCfg),
    (CHINESE / "tabular.md", TabularCfg),
]


def default_of(field: Any) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()


@pytest.mark.parametrize("page, kind", TABLES, ids=[name_of(page) for page, _ in TABLES])
def test_the_table_equals_the_configuration(page: Path, kind: Type[Config]) -> None:
    text = page.read_text(encoding="utf-8")
    table = re.search(r"^\| (?:field|字段) \|.*\n\|[- |]+\n((?:\|.*\n)+)", text, re.M)
    assert table is not None
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.group(1).splitlines()]
    shown = [(row[0].strip("`"), row[1].strip("`")) for row in rows]
    assert shown == [(field.name, repr(default_of(field))) for field in dataclasses.fields(kind)]  # type: ignore
    assert all(len(row) == 3 and row[2] for row in rows)


def rows_of(page: Path, heading: str) -> List[List[str]]:
    """Return the cells of the first table under a heading."""
    section = page.read_text(encoding="utf-8").split("## " + heading, 1)[1]
    table = re.search(r"^\|.*\n\|[- |]+\n((?:\|.*\n)+)", section, re.M)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.group(1).splitlines()]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: Any) -> SequentialTrainer:
    env = GymnasiumWrapper("Pendulum-v1", num_envs=2)
    agent = PPO(default_models(env.getEnvInfo()), PPOCfg(value_learning_rate=1e-3, device="cpu", rollouts=32))
    cfg = TrainerConfig(
        timesteps=256,
        evaluation_interval=256,
        evaluation_episodes=2,
        disable_progressbar=True,
        run_directory=str(tmp_path_factory.mktemp("runs")),
    )
    trainer = SequentialTrainer(env, agent, cfg)
    trainer.train()
    return trainer


def test_the_table_of_figures_is_what_a_run_logs(trainer: SequentialTrainer) -> None:
    named = set()
    for group, names in rows_of(DOCUMENTS / "how_to" / "log.md", "Which figures there are"):
        prefix = group.strip("`") if group.startswith("`") else ""
        named |= {prefix + name for name in re.findall(r"`([\w/]+)`", names)}
    needs_a_gpu = {"system/gpu_memory_allocated", "system/gpu_load", "system/gpu_power"}
    # A process's memory cannot be read on Windows.
    assert named - needs_a_gpu - {"system/peak_process_memory"} <= set(trainer.get_status()["figures"]) <= named


def test_the_table_of_the_status_names_every_key(trainer: SequentialTrainer) -> None:
    named = [name for keys, _ in rows_of(DOCUMENTS / "trainer.md", "Status") for name in re.findall(r"`(\w+)`", keys)]
    assert sorted(named) == sorted(trainer.get_status())
