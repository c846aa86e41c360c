"""A resumed run equals the uninterrupted one, bit for bit."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import gymnasium
import pytest
import torch
from pieces import Count, StopAt, agent_state, differences, make_trainer

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import CheckpointError, CheckpointMismatchError, CheckpointNotFoundError, TrainerError
from AquaML.learning.reinforcement.on_policy.a2c import A2C
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.reinforcement.on_policy.rpo import RPO
from AquaML.learning.reinforcement.on_policy.trpo import TRPO
from AquaML.learning.trainers.sequential import SequentialTrainer
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


@pytest.mark.parametrize("stop", [1, 18, 47])
@pytest.mark.parametrize("log_interval", [None, 10])
def test_resume_in_the_middle_of_a_rollout_equals_no_interruption(stop: int, log_interval: Optional[int]) -> None:
    whole = make_trainer(run_name="whole", log_interval=log_interval, env_id="CartPole-v1")
    whole.train()
    make_trainer(run_name="parts", log_interval=log_interval, env_id="CartPole-v1", hooks=[StopAt(stop)]).train()
    # People see the figures of the window that was cut; the resumed run completes it.
    assert read_rows(Path("runs/parts/progress.csv"))[-1]["timestep"] == str(float(stop))
    second = make_trainer(resume="runs/parts", log_interval=log_interval, env_id="CartPole-v1")
    second.train()
    assert differences(agent_state(whole.agent), agent_state(second.agent)) == []
    assert differences(whole.state_dict(), second.state_dict()) == []
    assert rows_without_time(Path("runs/whole")) == rows_without_time(Path("runs/parts"))


@pytest.mark.parametrize("stop", [32, 41])
@pytest.mark.parametrize(
    "kind, env_id",
    [(A2C, "Pendulum-v1"), (A2C, "CartPole-v1"), (RPO, "Pendulum-v1"), (TRPO, "Pendulum-v1"), (TRPO, "CartPole-v1")],
)
def test_every_algorithm_resumes_at_an_update_and_between_two(kind: Any, env_id: str, stop: int) -> None:
    settings: Dict[str, Any] = {
        "kind": kind,
        "env_id": env_id,
        "agent": {"learning_rate_scheduler": "StepLR", "learning_rate_scheduler_kwargs": {"step_size": 2}},
    }
    whole = make_trainer(run_name="whole", **settings)
    whole.train()
    make_trainer(run_name="parts", hooks=[StopAt(stop)], **settings).train()
    second = make_trainer(resume="runs/parts", **settings)
    torch.rand(7)
    second.train()
    assert differences(whole.state_dict(), second.state_dict()) == []
    assert rows_without_time(Path("runs/whole")) == rows_without_time(Path("runs/parts"))


@pytest.mark.parametrize("stop", [32, 41, 46])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind, cell", [(PPO, "gru"), (PPO, "lstm"), (A2C, "lstm")])
def test_recurrent_states_are_taken_up_at_an_update_in_a_block_and_in_an_episode(
    kind: Any, cell: str, shared: bool, stop: int
) -> None:
    settings: Dict[str, Any] = {
        "kind": kind,
        "env_id": "CartPole-v1",
        "shared": shared,
        "networks": {"recurrent": cell, "recurrent_size": 6},
        "agent": {"sequence_length": 8},
    }
    whole = make_trainer(run_name="whole", **settings)
    whole.train()
    cut = make_trainer(run_name="parts", hooks=[StopAt(stop)], **settings)
    cut.train()
    states = agent_state(cut.agent)["recurrent_states"]["state"]["states"]["policy"]
    assert all(bool(state.any()) for state in states.values())
    second = make_trainer(resume="runs/parts", **settings)
    torch.rand(7)
    second.train()
    assert differences(agent_state(whole.agent), agent_state(second.agent)) == []
    assert differences(whole.state_dict(), second.state_dict()) == []
    assert rows_without_time(Path("runs/whole")) == rows_without_time(Path("runs/parts"))


def test_a_run_with_another_memory_is_refused() -> None:
    make_trainer(run_name="parts", hooks=[StopAt(20)], networks={"recurrent": "gru", "recurrent_size": 6}).train()
    for networks in ({"recurrent": "lstm", "recurrent_size": 6}, {"recurrent": "gru", "recurrent_size": 7}, {}):
        with pytest.raises(CheckpointMismatchError):
            make_trainer(resume="runs/parts", networks=networks).train()
    with pytest.raises(CheckpointMismatchError, match="states of blocks"):
        make_trainer(
            resume="runs/parts",
            networks={"recurrent": "gru", "recurrent_size": 6},
            agent={"sequence_length": 8},
        ).train()


@pytest.mark.parametrize("timesteps, rows", [(32, [16, 32]), (40, [16, 32, 40])])
def test_a_run_that_was_finished_is_prolonged_as_if_it_had_been_longer(timesteps: int, rows: List[int]) -> None:
    whole = make_trainer(run_name="whole")
    whole.train()
    make_trainer(run_name="parts", timesteps=timesteps).train()
    again = make_trainer(resume="runs/parts", timesteps=timesteps)
    again.train()  # nothing to do, and no further row
    assert [int(float(row["timestep"])) for row in read_rows(Path("runs/parts/progress.csv"))] == rows
    second = make_trainer(resume="runs/parts")
    second.train()
    assert differences(whole.state_dict(), second.state_dict()) == []
    assert rows_without_time(Path("runs/whole")) == rows_without_time(Path("runs/parts"))


def test_a_window_that_was_cut_is_no_best_one_but_the_last_window_of_a_finished_run_may_be() -> None:
    settings: Dict[str, Any] = dict(env_id="CartPole-v1", timesteps=60, agent={"rollouts": 64})
    finished = make_trainer(run_name="finished", **settings)
    finished.train()
    cut = make_trainer(run_name="cut", hooks=[StopAt(59)], **settings)
    cut.train()
    # All environments have finished an episode in both.
    assert finished.best_return is not None and finished.best_timestep == 60 and cut.best_return is None
    saved = read_checkpoint("runs/finished/checkpoints/best.aqua")
    assert saved.metadata["best"] == {"return": finished.best_return, "timestep": 60}
    assert not Path("runs/cut/checkpoints/best.aqua").exists()
    again = make_trainer(resume="runs/finished", **settings)
    again.train()
    assert (again.best_return, again.best_timestep) == (finished.best_return, 60)
    resumed = make_trainer(resume="runs/cut", **settings)
    resumed.train()
    assert (resumed.best_return, resumed.best_timestep) == (finished.best_return, 60)


def test_the_argument_goes_before_the_configuration() -> None:
    for name in ("one", "two"):
        make_trainer(run_name=name, hooks=[StopAt(20)]).train()
    for resume, folder in (("runs/one", "one"), (Path("runs/two"), "two"), (False, "three")):
        trainer = make_trainer(resume="runs/two" if folder == "one" else "runs/one", run_name="three", timesteps=24)
        trainer.train(resume=resume)
        assert trainer.run_folder == Path("runs") / folder
    newest = make_trainer(resume=False, timesteps=28)
    newest.train(resume=True)
    assert newest.run_folder == Path("runs/three") and newest.timestep == 28


@pytest.mark.parametrize("name", ["runs/parts", "runs/parts/checkpoints", "runs/parts/checkpoints/last.aqua"])
def test_a_run_is_named_by_its_folder_its_checkpoints_or_one_of_them(name: str) -> None:
    make_trainer(run_name="parts", timesteps=16).train()
    trainer = make_trainer(timesteps=20)
    trainer.train(resume=name)
    assert trainer.timestep == 20 and trainer.run_folder is not None
    assert trainer.run_folder.resolve() == Path("runs/parts").resolve()


@pytest.mark.parametrize(
    "resume, kind, message",
    [
        (3, TrainerError, "resume is 3; expected True, False, or the path of a run."),
        (b"runs", TrainerError, "resume is b'runs'; expected True, False, or the path of a run."),
        ("", TrainerError, "resume is empty; expected True, False, or the path of a run."),
        ("missing", CheckpointNotFoundError, "resume is 'missing', which does not exist."),
        ("runs", CheckpointNotFoundError, "resume is 'runs', which is no run folder"),
    ],
)
def test_a_wrong_resume_is_an_error_before_anything_is_made(resume: Any, kind: Any, message: str) -> None:
    make_trainer(run_name="some", timesteps=16).train()
    before = sorted(str(path) for path in Path(".").rglob("*"))
    trainer = make_trainer(timesteps=16)
    with pytest.raises(kind) as caught:
        trainer.train(resume=resume)
    assert message in str(caught.value)
    assert sorted(str(path) for path in Path(".").rglob("*")) == before
    trainer.train()
    assert trainer.timestep == 16


def test_a_trainer_goes_back_to_an_earlier_checkpoint_of_its_own_run() -> None:
    trainer = make_trainer(run_name="whole", checkpoint_interval=20, keep_checkpoints=10)
    trainer.train()
    state, rows = trainer.state_dict(), rows_without_time(Path("runs/whole"))
    with pytest.raises(CheckpointNotFoundError):
        trainer.train(resume="runs/nowhere")
    trainer.train(resume="runs/whole/checkpoints/step_20.aqua")
    assert differences(state, trainer.state_dict()) == []
    assert rows_without_time(Path("runs/whole")) == rows


def test_hooks_best_score_and_wall_time_limits_over_a_cut() -> None:
    settings: Dict[str, Any] = dict(env_id="CartPole-v1", timesteps=160)
    whole = make_trainer(run_name="whole", hooks=[Count()], **settings)
    whole.train()
    first = make_trainer(run_name="parts", hooks=[Count()], stop_seconds=1e-9, **settings)
    first.train()
    assert (first.timestep, first.get_status()["stop_reason"]) == (0, "stop_seconds reached")
    cut = make_trainer(resume="runs/parts", hooks=[Count(), StopAt(101)], **settings)
    cut.train()
    second = make_trainer(resume="runs/parts", hooks=[Count()], **settings)
    second.train()
    assert second.hooks[0].steps == 160  # type: ignore[attr-defined]
    assert whole.best_return is not None
    assert (second.best_return, second.best_timestep) == (whole.best_return, whole.best_timestep)
    files = [read_checkpoint("runs/{}/checkpoints/best.aqua".format(name)) for name in ("whole", "parts")]
    assert differences(files[0].parts, files[1].parts) == []


def test_tensorboard_shows_every_row_once() -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    make_trainer(run_name="parts", tensorboard=True, hooks=[StopAt(21)]).train()
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which count seconds
    make_trainer(resume="runs/parts", tensorboard=True).train()
    reader = accumulator.EventAccumulator("runs/parts/tensorboard", size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    tag = "loss/total"
    scalars = reader.Scalars(tag) if tag in reader.Tags()["scalars"] else reader.Tensors(tag)
    assert [event.step for event in scalars] == [3 * step for step in (16, 32, 48, 64)]
    steps = reader.Scalars("timestep") if "timestep" in reader.Tags()["scalars"] else reader.Tensors("timestep")
    assert [event.step for event in steps] == [3 * step for step in (16, 32, 48, 64)]


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


def foreign_trainer(**settings: Any) -> SequentialTrainer:
    """A trainer on environments that offer no state and cannot be replayed."""
    made = make_trainer(timesteps=40, **settings)
    vector = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("Pendulum-v1")] * 3)
    return SequentialTrainer(GymnasiumWrapper(vector), made.agent, made.cfg, hooks=made.hooks)


def test_a_foreign_vector_environment_resumes_approximately_and_says_so(log_lines: list) -> None:
    foreign_trainer(run_name="foreign", hooks=[StopAt(24)]).train()
    shutil.copytree("runs/foreign", "runs/copy")
    resumed = foreign_trainer(resume="runs/foreign")
    resumed.train()
    assert resumed.timestep == 40
    assert any("an approximation of the uninterrupted one" in line for line in log_lines)
    # Approximate as it is, it repeats itself.
    again = foreign_trainer(resume="runs/copy")
    again.train()
    assert differences(agent_state(resumed.agent), agent_state(again.agent)) == []


def test_a_foreign_vector_environment_that_has_made_no_step_begins_as_it_would_have_begun(log_lines: list) -> None:
    whole = foreign_trainer(run_name="whole")
    whole.train()
    foreign_trainer(run_name="parts", stop_seconds=1e-9).train()
    resumed = foreign_trainer(resume="runs/parts")
    resumed.train()
    assert differences(whole.state_dict(), resumed.state_dict()) == []
    assert not any("approximation" in line for line in log_lines)


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
    Path("runs/empty/checkpoints").mkdir(parents=True)
    return "runs/empty"


def _truncated() -> str:
    make_trainer(timesteps=16, run_name="cut").train()
    path = Path("runs/cut/checkpoints/last.aqua")
    path.write_bytes(path.read_bytes()[:-200])
    return str(path)


def _of_other_size() -> str:
    import AquaML
    from AquaML.learning.model import default_models
    from AquaML.learning.reinforcement.on_policy.ppo import PPO

    AquaML.seed_everything(0)
    pattern = make_trainer(timesteps=16, run_name="wide")
    env = GymnasiumWrapper("Pendulum-v1", num_envs=3)
    agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=(32,)), pattern.agent.cfg)
    SequentialTrainer(env, agent, pattern.cfg).train()
    return "runs/wide"
