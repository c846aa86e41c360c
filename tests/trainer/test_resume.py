"""A resumed run equals the uninterrupted one, bit for bit."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from pieces import StopAt, agent_state, differences, make_trainer

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.errors import CheckpointError, CheckpointMismatchError, CheckpointNotFoundError, TrainerError
from AquaML.tracking.csv_sink import read_rows

VARIANTS: List[Dict[str, Any]] = [
    {},
    {"agent": {"learning_rate_scheduler": "KLAdaptiveLR", "memory_size": 48}},
    {
        "agent": {"learning_rate_scheduler": "StepLR", "learning_rate_scheduler_kwargs": {"step_size": 3}},
        "shared": True,
    },
    {"env_id": "CartPole-v1"},
    {"evaluation_interval": 24, "evaluation_episodes": 2},
]


def rows_without_time(folder: Path) -> List[Dict[str, str]]:
    rows = read_rows(folder / "progress.csv")
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "system/")) and v} for row in rows]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(sorted(v)) or "plain")
def test_resume_at_an_update_boundary_equals_no_interruption(variant: Dict[str, Any]) -> None:
    whole = make_trainer(run_name="whole", **variant)
    whole.train()
    first = make_trainer(run_name="parts", hooks=[StopAt(32)], **variant)
    first.train()
    assert first.timestep == 32
    second = make_trainer(resume="runs/parts", run_name="ignored", **variant)
    torch.rand(7)  # the streams of a new process stand elsewhere
    second.train()
    assert second.timestep == 64
    assert second.run_folder == Path("runs/parts")
    assert differences(agent_state(whole.agent), agent_state(second.agent)) == []
    assert differences(whole.state_dict(), second.state_dict()) == []
    assert rows_without_time(Path("runs/whole")) == rows_without_time(Path("runs/parts"))


@pytest.mark.parametrize("stop", [1, 21, 47])
def test_resume_in_the_middle_of_a_rollout_gives_equal_parameters(stop: int) -> None:
    whole = make_trainer()
    whole.train()
    make_trainer(run_name="parts", hooks=[StopAt(stop)]).train()
    second = make_trainer(resume="runs/parts")
    second.train()
    assert differences(agent_state(whole.agent), agent_state(second.agent)) == []


def test_resume_from_a_periodic_checkpoint_file_cuts_the_log() -> None:
    whole = make_trainer(run_name="whole", checkpoint_interval=16, keep_checkpoints=10)
    whole.train()
    rows = rows_without_time(Path("runs/whole"))
    again = make_trainer(resume="runs/whole/checkpoints/step_32.aqua", checkpoint_interval=16, keep_checkpoints=10)
    again.train()
    assert differences(agent_state(whole.agent), agent_state(again.agent)) == []
    assert rows_without_time(Path("runs/whole")) == rows


def test_resume_in_a_new_process_equals_no_interruption() -> None:
    whole = make_trainer()
    whole.train()
    script = "import sys; sys.path.insert(0, {!r}); from pieces import *; make_trainer(run_name='p', {}).train()"
    for arguments in ("hooks=[StopAt(32)]", "resume='runs/p'"):
        code = script.format(str(Path(__file__).parent), arguments)
        subprocess.run([sys.executable, "-c", code], check=True)
    saved = read_checkpoint("runs/p/checkpoints/last.aqua").parts
    state = agent_state(whole.agent)
    resumed = {name[len("agent/") :]: entry for name, entry in saved.items() if name.startswith("agent/")}
    assert differences(state, resumed) == []


def test_resume_true_takes_the_newest_run_of_the_same_kind_or_begins_one(log_lines: list) -> None:
    first = make_trainer(resume=True, timesteps=16, run_name="first")
    first.train()
    assert any("There is no earlier run of PPO on 'Pendulum-v1'" in line for line in log_lines)
    make_trainer("CartPole-v1", run_name="other", timesteps=16).train()
    again = make_trainer(resume=True, timesteps=48)
    again.train()
    assert again.run_folder == Path("runs/first") and again.timestep == 48


def test_training_goes_on_where_it_stands_when_called_again() -> None:
    whole = make_trainer()
    whole.train()
    stop = StopAt(32)
    parts = make_trainer(hooks=[stop])
    parts.train()
    parts.hooks.clear()
    parts.train()
    assert parts.timestep == 64
    assert differences(agent_state(whole.agent), agent_state(parts.agent)) == []


def test_a_foreign_vector_environment_resumes_approximately_and_says_so(log_lines: list) -> None:
    import gymnasium

    from AquaML.environment.gymnasium_envs import GymnasiumWrapper
    from AquaML.learning.trainers.sequential import SequentialTrainer

    def trainer(resume: Any) -> SequentialTrainer:
        made = make_trainer(run_name="foreign", resume=resume, timesteps=40)
        vector = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("Pendulum-v1")] * 3)
        return SequentialTrainer(GymnasiumWrapper(vector), made.agent, made.cfg, hooks=[] if resume else [StopAt(24)])

    trainer(False).train()
    resumed = trainer("runs/foreign")
    resumed.train()
    assert resumed.timestep == 40
    assert any("an approximation of the uninterrupted one" in line for line in log_lines)


@pytest.mark.parametrize(
    "prepare, kind, words",
    [
        (lambda: "runs/none", CheckpointNotFoundError, "runs/none"),
        (lambda: _elsewhere(), TrainerError, "agent.load()"),
        (lambda: _folder_without_checkpoint(), CheckpointNotFoundError, "no checkpoint"),
        (lambda: _truncated(), CheckpointError, "damaged"),
        (lambda: _of_other_size(), CheckpointMismatchError, "trunk.0.weight"),
    ],
    ids=["missing", "no-run", "empty", "truncated", "architecture"],
)
def test_a_resume_that_cannot_work_changes_nothing(prepare: Any, kind: Any, words: str) -> None:
    path = prepare()
    trainer = make_trainer(resume=path)
    before = agent_state(trainer.agent)
    folders = sorted(str(item) for item in Path("runs").glob("*")) if Path("runs").exists() else []
    with pytest.raises(kind) as caught:
        trainer.train()
    assert words in str(caught.value)
    after = {name: entry for name, entry in agent_state(trainer.agent).items() if name in before}
    assert differences(before, after) == []
    assert folders == (sorted(str(item) for item in Path("runs").glob("*")) if Path("runs").exists() else [])


def _elsewhere() -> str:
    make_trainer(timesteps=16).agent.save("alone.aqua")
    return "alone.aqua"


def _folder_without_checkpoint() -> str:
    Path("runs/empty").mkdir(parents=True)
    return "runs/empty"


def _truncated() -> str:
    make_trainer(timesteps=16, run_name="cut").train()
    path = Path("runs/cut/checkpoints/last.aqua")
    path.write_bytes(path.read_bytes()[:-200])
    return str(path)


def _of_other_size() -> str:
    import AquaML
    from AquaML.environment.gymnasium_envs import GymnasiumWrapper
    from AquaML.learning.model import default_models
    from AquaML.learning.reinforcement.on_policy.ppo import PPO
    from AquaML.learning.trainers.sequential import SequentialTrainer

    AquaML.seed_everything(0)
    pattern = make_trainer(timesteps=16, run_name="wide")
    env = GymnasiumWrapper("Pendulum-v1", num_envs=3)
    agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=(32,)), pattern.agent.cfg)
    SequentialTrainer(env, agent, pattern.cfg).train()
    return "runs/wide"
