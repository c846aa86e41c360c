"""Evaluation: equal quotas, no traces, rendering that never kills."""

from typing import Any

import numpy as np
import pytest
import torch
from clock import Clock
from pieces import StopAt, agent_state, differences, make_trainer

from AquaML.coordinator.random_state import RandomState
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import EnvironmentContractError
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig


def clock_evaluation(env: GymnasiumWrapper, **settings: Any) -> SequentialTrainer:
    from test_loop import Recorder

    return SequentialTrainer(env, Recorder(), TrainerConfig(**settings))


def test_every_environment_plays_the_same_number_of_episodes() -> None:
    lengths = iter([(2,), (9,)])
    env = GymnasiumWrapper(lambda: Clock(next(lengths)), num_envs=2)
    summary = clock_evaluation(env).eval(episodes=3)
    # Short episodes have return 3, long ones 45; three were asked for, so each environment plays two.
    assert sorted(summary.returns) == [3.0, 3.0, 45.0, 45.0]
    assert sorted(summary.lengths) == [2, 2, 9, 9]
    assert summary.return_mean == 24.0 and summary.return_std == 21.0 and summary.length_mean == 5.5
    assert summary.infos["term"] == (1.5 + 5.0) / 2
    assert summary.infos["success"] == 0.5


def test_without_a_number_of_episodes_timesteps_bound_the_evaluation(log_lines: list) -> None:
    env = GymnasiumWrapper(lambda: Clock((4,)), num_envs=2)
    assert clock_evaluation(env, timesteps=11).eval().lengths == [4, 4, 4, 4]
    summary = clock_evaluation(env, timesteps=3).eval()
    assert summary.episodes == 0 and summary.return_mean != summary.return_mean
    assert any("No episode ended within 3 vector steps" in line for line in log_lines)


def test_evaluation_leaves_no_trace() -> None:
    trainer = make_trainer(timesteps=40)
    trainer.train()
    state, streams = agent_state(trainer.agent), RandomState().state_dict()
    numpy_state = np.random.get_state()[1].copy()
    files = sorted(str(path) for path in trainer.run_folder.rglob("*"))
    other = GymnasiumWrapper("Pendulum-v1", num_envs=7)
    for stochastic in (False, True):
        SequentialTrainer(other, trainer.agent, TrainerConfig(stochastic_evaluation=stochastic)).eval(episodes=7)
    assert differences(state, agent_state(trainer.agent)) == []
    assert torch.equal(streams["torch"], torch.get_rng_state())
    assert streams["python"] == RandomState().state_dict()["python"]
    assert (numpy_state == np.random.get_state()[1]).all()
    assert files == sorted(str(path) for path in trainer.run_folder.rglob("*"))
    assert trainer.agent.is_training


def test_evaluations_during_training_do_not_change_it() -> None:
    plain, watched = make_trainer(), make_trainer(evaluation_interval=8, evaluation_episodes=2)
    plain.train()
    watched.train()
    assert differences(agent_state(plain.agent), agent_state(watched.agent)) == []


def test_training_goes_on_after_an_evaluation_on_the_same_environment(log_lines: list) -> None:
    stop = StopAt(40)
    trainer = make_trainer(timesteps=80, hooks=[stop])
    trainer.train()
    trainer.eval(episodes=3)
    assert trainer.state == "stopped"
    trainer.hooks.clear()
    trainer.train()
    assert trainer.timestep == 80
    # Rows 33 to 40 belonged to an incomplete rollout, whose episodes the evaluation ended.
    assert trainer.agent.memory.cursor == (80 - 40) % 16
    assert any("The evaluation ended the running episodes" in line for line in log_lines)
    assert not any("approximation" in line for line in log_lines)


def test_deterministic_evaluations_are_equal_and_stochastic_ones_are_not() -> None:
    trainer = make_trainer(timesteps=16)
    trainer.train()

    def returns(**settings: Any) -> Any:
        return SequentialTrainer(trainer.env, trainer.agent, TrainerConfig(seed=3, **settings)).eval(episodes=3).returns

    assert returns() == returns()
    assert returns() != returns(stochastic_evaluation=True)


@pytest.mark.parametrize("headless", [True, False])
def test_rendering_shows_every_step_unless_headless(headless: bool) -> None:
    env = Clock((4,), render_mode="rgb_array")
    clock_evaluation(GymnasiumWrapper(env), headless=headless, timesteps=8).eval()
    assert env.frames == (0 if headless else 8)


def test_what_cannot_be_shown_is_said_once_and_figures_come_all_the_same(log_lines: list) -> None:
    env = GymnasiumWrapper("Pendulum-v1")
    summary = make_trainer(headless=False, timesteps=200, num_envs=1).eval(episodes=1)
    assert summary.episodes == 1
    said = [line for line in log_lines if "Nothing is shown" in line]
    assert len(said) == 1 and "render_mode='human'" in said[0]
    with pytest.raises(EnvironmentContractError, match="without a render mode"):
        env.render()


def test_a_human_window_without_a_display_does_not_kill_the_evaluation(monkeypatch: Any) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    trainer = make_trainer(num_envs=1)
    env = GymnasiumWrapper("Pendulum-v1", render_mode="human")
    summary = SequentialTrainer(env, trainer.agent, TrainerConfig(headless=False)).eval(episodes=1)
    assert summary.lengths == [200]


def test_a_given_evaluation_environment_is_used() -> None:
    given = GymnasiumWrapper("Pendulum-v1", num_envs=4)
    trainer = make_trainer(evaluation_env=given, evaluation_interval=16, evaluation_episodes=4, timesteps=16)
    trainer.train()
    assert trainer.get_status()["figures"]["evaluation/episodes"] == 4.0


def test_an_environment_that_cannot_be_made_again_needs_an_evaluation_environment() -> None:
    from test_loop import Recorder

    cfg = TrainerConfig(evaluation_interval=5, disable_progressbar=True)
    with pytest.raises(EnvironmentContractError, match=r"evaluation_env=\.\.\."):
        SequentialTrainer(GymnasiumWrapper(Clock()), Recorder(), cfg).train()
