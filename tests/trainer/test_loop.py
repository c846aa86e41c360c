"""The training loop: what agents are handed, figures, stops, hooks, best model, status."""

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from clock import Clock
from pieces import Count, StopAt, make_trainer

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError, TrainerError
from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from AquaML.tracking.csv_sink import read_rows

QUIET: Dict[str, Any] = {"disable_progressbar": True, "tensorboard": False}


class Recorder(Agent):
    """Keeps, without copying, what the loop hands over one step late."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: List[Any] = []
        self.resets: List[List[bool]] = []
        self.calls: List[str] = []

    def act(self, states: Any, timestep: int, timesteps: int) -> torch.Tensor:
        self.calls.append("act {}/{}".format(timestep, timesteps))
        return torch.zeros(len(states["state"]), 1)

    def record_transition(
        self,
        states: Any,
        actions: Any,
        rewards: Any,
        next_states: Any,
        terminated: Any,
        truncated: Any,
        infos: Any,
        timestep: int,
        timesteps: int,
    ) -> None:
        assert actions["action"].shape == (len(rewards), 1)
        self.rows.append(
            [v[:, 0].tolist() for v in (states["state"], rewards, next_states["state"], terminated, truncated)]
        )

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        self.calls.append("post {}/{}".format(timestep, timesteps))

    def on_reset(self, mask: torch.Tensor) -> None:
        self.resets.append(mask[:, 0].tolist())


def test_the_agent_gets_states_true_successors_flags_and_resets() -> None:
    env = GymnasiumWrapper(lambda: Clock((2, 3)), num_envs=2)
    agent = Recorder()
    SequentialTrainer(env, agent, TrainerConfig(timesteps=5, **QUIET)).train()
    # Time before the step, reward, time after the step, terminated, truncated; both environments run alike.
    expected = [
        (0.0, 1.0, 1.0, False, False),
        (1.0, 2.0, 2.0, True, False),
        (0.0, 1.0, 1.0, False, False),
        (1.0, 2.0, 2.0, False, False),
        (2.0, 3.0, 3.0, False, True),
    ]
    assert [tuple(row[k][0] for k in range(5)) for row in agent.rows] == expected
    assert agent.rows == [[[value] * 2 for value in row] for row in expected]
    assert agent.calls == [w for t in range(5) for w in ("act {}/5".format(t), "post {}/5".format(t))]
    assert agent.resets == [[True] * 2, [False] * 2, [True] * 2, [False] * 2, [False] * 2, [True] * 2]


def test_figures_of_a_run_equal_a_hand_count() -> None:
    env = GymnasiumWrapper(lambda: Clock((3, 5)), num_envs=2)
    trainer = SequentialTrainer(env, Recorder(), TrainerConfig(timesteps=8, log_interval=8, **QUIET))
    trainer.train()
    (row,) = read_rows(trainer.run_folder / "progress.csv")
    assert float(row["environment_steps"]) == 16 and float(row["timestep"]) == 8
    assert float(row["episode/count"]) == 4
    assert float(row["episode/return_mean"]) == (6 + 15) / 2
    assert float(row["episode/length_mean"]) == 4
    assert float(row["info/term"]) == (2.0 + 3.0) / 2  # means of 1..3 and 1..5; the reset's 1000 is nowhere
    assert float(row["info/success"]) == 0.5
    for name in ("time/environment", "time/inference", "time/update", "time/steps_per_second"):
        assert float(row[name]) > 0.0


def test_nothing_is_written_before_training_starts(tmp_path: Path) -> None:
    trainer = make_trainer()
    trainer.get_status()
    assert list(tmp_path.iterdir()) == []


def test_the_run_folder_holds_configuration_versions_and_checkpoints() -> None:
    trainer = make_trainer("CartPole-v1", checkpoint_interval=16, keep_checkpoints=2)
    trainer.train()
    folder = trainer.run_folder
    assert folder.parent == Path("runs") and folder.name.endswith("_PPO_CartPole-v1")
    text = (folder / "config.json").read_text()
    assert "Infinity" not in text and "NaN" not in text
    written = json.loads(text)
    assert written["agent"]["config"]["rollouts"] == 16
    assert written["trainer"]["config"]["seed"] == 5
    choice = written["environment"].pop("vectorization")
    assert choice["backend"] == "batched" and set(choice["passed_over"]) == {"sharded", "envpool"}
    assert written["environment"] == {
        "name": "CartPole-v1",
        "num_envs": 3,
        "autoreset": "same_step",
        "max_episode_length": 500,
    }
    assert json.loads((folder / "versions.json").read_text())["torch"] == str(torch.__version__)
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    # No window is complete yet in which every environment ended an episode, so nothing is best.
    assert names == ["last.aqua", "step_48.aqua", "step_64.aqua"]  # one environment has not ended an episode yet


def test_two_runs_of_one_name_get_two_folders() -> None:
    first, second = make_trainer(run_name="a/b:c", timesteps=4), make_trainer(run_name="a/b:c", timesteps=4)
    first.train()
    second.train()
    assert [item.run_folder.name for item in (first, second)] == ["a-b-c", "a-b-c_2"]


def test_status_before_during_and_after() -> None:
    seen = []

    class Watch(Hook):
        def on_step(self, trainer: Any) -> None:
            seen.append(trainer.get_status())

    trainer = make_trainer(hooks=[Watch()], timesteps=32)
    before = trainer.get_status()
    assert (before["state"], before["timestep"], before["run_folder"]) == ("new", 0, None)
    trainer.train()
    assert (seen[4]["state"], seen[4]["timestep"], seen[4]["environment_steps"]) == ("training", 5, 15)
    after = trainer.get_status()
    assert (after["state"], after["timestep"], after["stop_reason"]) == ("finished", 32, None)
    assert after["figures"]["loss/policy"] == after["figures"]["loss/policy"]


def test_hooks_are_called_in_their_places() -> None:
    calls: List[str] = []

    class Everything(Hook):
        def on_train_start(self, trainer: Any) -> None:
            calls.append("start {}".format(trainer.run_folder.exists()))

        def on_step(self, trainer: Any) -> None:
            calls.append("step {}".format(trainer.timestep))

        def on_log(self, trainer: Any, row: Dict[str, Any]) -> None:
            row["mine/figure"] = 7.0
            calls.append("log")

        def on_evaluation(self, trainer: Any, summary: Any) -> None:
            calls.append("evaluation {}".format(summary.episodes))

        def on_checkpoint(self, trainer: Any, path: Path) -> None:
            calls.append("checkpoint {}".format(path.name))

        def on_train_end(self, trainer: Any) -> None:
            calls.append("end")

    trainer = make_trainer(
        hooks=[Everything()],
        timesteps=3,
        log_interval=2,
        evaluation_interval=2,
        evaluation_episodes=2,
        checkpoint_interval=3,
    )
    trainer.train()
    assert calls == [
        "start True",
        "checkpoint last.aqua",
        "step 1",
        "step 2",
        "log",
        "log",
        "evaluation 2",
        "checkpoint best.aqua",
        "step 3",
        "checkpoint step_3.aqua",
        "log",
        "checkpoint last.aqua",
        "end",
    ]
    assert all(float(row["mine/figure"]) == 7.0 for row in read_rows(trainer.run_folder / "progress.csv"))


def test_a_hook_with_state_is_saved_and_restored() -> None:
    make_trainer(hooks=[Count(), StopAt(10)], run_name="run").train()
    counter = Count()
    make_trainer(hooks=[counter], resume="runs/run", timesteps=25).train()
    assert counter.steps == 25


def test_stop_conditions() -> None:
    for settings, words in (
        ({"stop_return": -1e9, "timesteps": 1000}, "stop_return reached"),
        ({"stop_seconds": 0.3, "timesteps": 10**7}, "stop_seconds reached"),
    ):
        trainer = make_trainer(**settings)
        trainer.train()
        status = trainer.get_status()
        assert status["state"] == "stopped" and words in status["stop_reason"]
        assert 0 < status["timestep"] < settings["timesteps"]
        assert (trainer.run_folder / "checkpoints" / "last.aqua").is_file()


def test_stop_return_with_evaluations_looks_at_them() -> None:
    trainer = make_trainer(stop_return=-1e9, evaluation_interval=10, evaluation_episodes=2, timesteps=1000)
    trainer.train()
    assert trainer.timestep == 10


def test_best_follows_the_windows_in_which_every_environment_ended_an_episode() -> None:
    class Improving(Clock):
        def step(self, action: Any) -> Any:
            observation, _, terminated, truncated, info = super().step(action)
            score = [1.0, 3.0, 2.0][min(self.episode, 2)]
            return observation, score if terminated or truncated else 0.0, terminated, truncated, info

    best: List[Any] = []

    class Watch(Hook):
        def on_checkpoint(self, trainer: Any, path: Path) -> None:
            if path.name == "best.aqua":
                best.append((trainer.timestep, trainer.best_return))

    env = GymnasiumWrapper(lambda: Improving((4,)), num_envs=2)
    cfg = TrainerConfig(timesteps=16, log_interval=4, checkpoint_interval=0, **QUIET)
    SequentialTrainer(env, Recorder(), cfg, hooks=[Watch()]).train()
    assert best == [(4, 1.0), (8, 3.0)]
    saved = read_checkpoint(next(Path("runs").glob("*/checkpoints/best.aqua")))
    assert saved.metadata["best"] == {"return": 3.0, "timestep": 8}


def test_a_not_finite_score_is_never_best() -> None:
    trainer = make_trainer(timesteps=4)
    trainer.train()
    for score in (float("nan"), float("inf"), -float("inf")):
        trainer.consider_best(score)
    assert trainer.best_return is None
    assert not (trainer.run_folder / "checkpoints" / "best.aqua").exists()


def test_an_exception_in_learning_ends_training_and_is_not_swallowed() -> None:
    class Broken(Recorder):
        def post_interaction(self, timestep: int, timesteps: int) -> None:
            if timestep == 2:
                raise ZeroDivisionError("learning failed")

    trainer = SequentialTrainer(GymnasiumWrapper(Clock()), Broken(), TrainerConfig(timesteps=9, **QUIET))
    with pytest.raises(ZeroDivisionError, match="learning failed"):
        trainer.train()
    assert trainer.get_status()["state"] == "failed"


def test_pieces_of_the_loop_can_be_overridden() -> None:
    class Twice(SequentialTrainer):
        def step(self) -> None:
            super().step()
            self.doubled = getattr(self, "doubled", 0) + 1

    trainer = Twice(GymnasiumWrapper(Clock()), Recorder(), TrainerConfig(timesteps=6, **QUIET))
    trainer.train()
    assert trainer.doubled == 6


def test_state_that_is_in_no_checkpoint_is_an_error_that_names_it() -> None:
    class WithOptimizer(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)

    with pytest.raises(AgentError, match="WithOptimizer.optimizer has a state but is in no checkpoint"):
        SequentialTrainer(GymnasiumWrapper(Clock()), WithOptimizer(), TrainerConfig(**QUIET)).train()

    class Mine(SequentialTrainer):
        def begin(self) -> None:
            self.extra = torch.nn.Linear(1, 1)
            super().begin()

    with pytest.raises(TrainerError, match="Mine.extra has a state but is in no checkpoint"):
        Mine(GymnasiumWrapper(Clock()), Recorder(), TrainerConfig(**QUIET)).train()
    assert not Path("runs").exists()


def test_learning_curve_is_a_picture_in_environment_steps() -> None:
    trainer = make_trainer(timesteps=450, num_envs=2, evaluation_interval=150, evaluation_episodes=2)
    trainer.train()
    picture = (trainer.run_folder / "learning_curve.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 5000
    for without in (make_trainer(timesteps=250, learning_curve=False), make_trainer(timesteps=20)):
        without.train()  # the first is told not to, in the second no episode ends
        assert not (without.run_folder / "learning_curve.png").exists()
