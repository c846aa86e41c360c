"""A resumed off-policy run equals the uninterrupted one, bit for bit, and its memory is never another run's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from off_policy_trainers import EXTRAS, SETTINGS, make_off_policy
from pieces import StopAt, agent_state, differences

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.errors import CheckpointMismatchError, CheckpointNotFoundError
from AquaML.tracking.csv_sink import read_rows


def rows_without_time(folder: Path) -> List[Dict[str, str]]:
    rows = read_rows(folder / "progress.csv")
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "system/")) and v} for row in rows]


def names_in(folder: str) -> List[str]:
    return sorted(os.listdir("runs/{}/checkpoints".format(folder)))


def memory_file(run: str, stem: str = "last") -> Path:
    (path,) = Path("runs/{}/checkpoints".format(run)).glob(stem + ".memory-*.aqua")
    return path


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


SCHEDULED: Dict[str, Any] = {
    "learning_rate_scheduler": "StepLR",
    "learning_rate_scheduler_kwargs": {"step_size": 9},
}


@pytest.mark.filterwarnings("error:Detected call")
@pytest.mark.parametrize("extra", list(EXTRAS))
@pytest.mark.parametrize("name", list(SETTINGS))
def test_resume_equals_no_interruption(name: str, extra: str) -> None:
    whole = make_off_policy(name, extra, agent=SCHEDULED, run_name="whole")
    whole.train()
    # Before the first update, and after the memory was overwritten, in the middle of an episode.
    for stop in (3, 47):
        run = "runs/{}".format(stop)
        make_off_policy(name, extra, agent=SCHEDULED, run_name=str(stop), hooks=[StopAt(stop)]).train()
        second = make_off_policy(name, extra, agent=SCHEDULED, resume=run)
        torch.rand(7)  # the streams of a new process stand elsewhere
        second.train()
        assert second.timestep == 64
        assert differences(agent_state(whole.agent), agent_state(second.agent)) == []
        assert differences(whole.state_dict(), second.state_dict()) == []
        assert rows_without_time(Path("runs/whole")) == rows_without_time(Path(run))


def test_the_comparison_notices_a_memory_that_is_not_saved() -> None:
    whole = make_off_policy(run_name="whole")
    whole.train()
    make_off_policy(run_name="parts", agent={"save_memory": False}, hooks=[StopAt(47)]).train()
    second = make_off_policy(resume="runs/parts")
    second.train()
    assert differences(agent_state(whole.agent), agent_state(second.agent)) != []


def test_resume_in_new_processes_equals_no_interruption() -> None:
    whole = make_off_policy("TD3", "prioritized")
    whole.train()
    script = (
        "import sys; sys.path.insert(0, {!r}); from pieces import *; from off_policy_trainers import *; "
        "make_off_policy('TD3', 'prioritized', run_name='p', {}).train()"
    )
    for arguments in ("hooks=[StopAt(41)]", "resume='runs/p'"):
        code = script.format(str(Path(__file__).parent), arguments)
        subprocess.run([sys.executable, "-c", code], check=True)
    saved = dict(read_checkpoint("runs/p/checkpoints/last.aqua").parts)
    saved.update(read_checkpoint(memory_file("p")).parts)
    resumed = {name[len("agent/") :]: entry for name, entry in saved.items() if name.startswith("agent/")}
    assert differences(agent_state(whole.agent), resumed) == []


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_file_is_read_by_a_new_agent_that_knows_no_environment(name: str) -> None:
    trainer = make_off_policy(name, timesteps=10)
    trainer.train()
    trainer.agent.save("agent.aqua")
    fresh = make_off_policy(name).agent
    fresh.load("agent.aqua")
    layout = trainer.env.observation_layout.specs["state"]
    observation = np.full(layout.shape, 0.1, np.float32)
    assert np.array_equal(fresh.predict(observation), trainer.agent.predict(observation))


# ---------------------------------------------------------------------- the file of the memory


def test_the_memory_lies_beside_the_last_and_the_periodic_checkpoints_and_not_beside_the_best() -> None:
    trainer = make_off_policy(
        run_name="run", checkpoint_interval=20, keep_checkpoints=2, evaluation_interval=30, evaluation_episodes=1
    )
    trainer.train()
    stems = ["best", "last", "last.memory", "step_40", "step_40.memory", "step_60", "step_60.memory"]
    assert [name.split(".aqua")[0].split("-")[0] for name in names_in("run")] == stems
    for stem in ("last", "step_40", "step_60"):
        assert read_checkpoint("runs/run/checkpoints/{}.aqua".format(stem)).metadata["beside"] == (
            memory_file("run", stem).name
        )
    assert list(read_checkpoint(memory_file("run")).parts) == ["agent/memory"]


def test_an_older_checkpoint_is_taken_up_with_its_own_memory() -> None:
    whole = make_off_policy(run_name="whole", checkpoint_interval=20)
    whole.train()
    state = agent_state(whole.agent)
    for name in ("step_20", "step_40"):
        again = make_off_policy(resume="runs/whole/checkpoints/{}.aqua".format(name), checkpoint_interval=20)
        again.train()
        assert differences(state, agent_state(again.agent)) == []


@pytest.mark.parametrize("saved", ["step_40 without its memory", "best"])
def test_without_a_memory_a_run_goes_on_with_an_empty_one_and_says_so(saved: str, log_lines: list) -> None:
    if saved == "best":
        make_off_policy(run_name="run", evaluation_interval=40, evaluation_episodes=1, timesteps=41).train()
        path = "runs/run/checkpoints/best.aqua"
    else:
        make_off_policy(run_name="run", agent={"save_memory": False}, checkpoint_interval=40).train()
        assert names_in("run") == ["best.aqua", "last.aqua", "step_40.aqua"]
        path = "runs/run/checkpoints/step_40.aqua"
    del log_lines[:]
    second = make_off_policy(resume=path, agent={"memory_size": 600})
    second.train()
    assert second.timestep == 64 and second.agent.memory.size == 24
    assert [line for line in log_lines if "WARNING" in line and "memory" in line and "empty" in line]


def test_a_run_without_saved_memory_repeats_itself() -> None:
    found = []
    for name in ("one", "two"):
        make_off_policy(run_name=name, agent={"save_memory": False}, hooks=[StopAt(40)]).train()
        second = make_off_policy(agent={"save_memory": False}, resume="runs/" + name)
        second.train()
        found.append(agent_state(second.agent))
    assert differences(*found) == []


@pytest.mark.parametrize("harm", ["damaged", "missing", "of another checkpoint"])
def test_a_memory_that_cannot_be_read_costs_its_checkpoint_and_not_the_run(harm: str, log_lines: list) -> None:
    whole = make_off_policy(run_name="whole", checkpoint_interval=20)
    whole.train()
    state = agent_state(whole.agent)
    path = memory_file("whole")
    if harm == "damaged":
        damage(path)
    elif harm == "missing":
        path.unlink()
    else:
        path.write_bytes(memory_file("whole", "step_60").read_bytes())
    again = make_off_policy(resume="runs/whole", checkpoint_interval=20)
    again.train()
    # From step 60, with the memory of step 60.
    assert again.timestep == 64 and differences(state, agent_state(again.agent)) == []
    assert [line for line in log_lines if "passed over" in line and "last" in line]
    assert any("at vector step 60" in line for line in log_lines)


def test_a_missing_memory_is_an_error_that_tells_what_to_do_where_the_checkpoint_was_named() -> None:
    make_off_policy(run_name="run").train()
    memory_file("run").unlink()
    with pytest.raises(CheckpointNotFoundError, match="Copy both; weights alone are read by agent.load"):
        make_off_policy(resume="runs/run/checkpoints/last.aqua", timesteps=70).train()
    fresh = make_off_policy()
    fresh.agent.load("runs/run/checkpoints/last.aqua")


def test_memories_that_belong_to_no_checkpoint_are_swept_at_the_next_begin() -> None:
    make_off_policy(run_name="run", checkpoint_interval=40).train()
    orphan = memory_file("run").with_name("step_7.memory-3.aqua")
    orphan.write_bytes(memory_file("run").read_bytes())
    torn = memory_file("run").with_name("last.memory-999.aqua")
    torn.write_bytes(b"torn")
    make_off_policy(resume="runs/run", checkpoint_interval=40, timesteps=66).train()
    assert not orphan.exists() and not torn.exists()
    assert len([name for name in names_in("run") if ".memory-" in name]) == 2


@pytest.mark.parametrize(
    "change, words",
    [
        ({"memory_size": 90}, "memory"),
        ({"prioritized": True}, "one of them samples by priority"),
    ],
)
def test_a_memory_of_another_shape_is_refused_and_changes_nothing(change: Dict[str, Any], words: str) -> None:
    make_off_policy(run_name="run", hooks=[StopAt(40)]).train()
    other = make_off_policy(agent=change, resume="runs/run")
    before = {name: value.clone() for name, value in other.agent.policy.state_dict().items()}
    with pytest.raises(CheckpointMismatchError, match=words):
        other.train()
    assert all(torch.equal(before[name], value) for name, value in other.agent.policy.state_dict().items())


def test_a_memory_in_files_is_resumed_like_one_in_memory(tmp_path: Path) -> None:
    whole = make_off_policy(run_name="whole")
    whole.train()
    folder = tmp_path / "memory"
    folder.mkdir()
    options = {"memory_directory": str(folder)}
    make_off_policy(run_name="parts", agent=options, hooks=[StopAt(47)]).train()
    second = make_off_policy(agent=options, resume="runs/parts")
    second.train()
    assert differences(agent_state(whole.agent), agent_state(second.agent)) == []
    assert os.listdir(str(folder)) == []
