"""Robots of one's own: mistakes are told with what was found, what was expected and what to do."""

from typing import Any

import numpy as np
import pytest
import torch

from AquaML.errors import EnvironmentContractError

pytest.importorskip("mujoco")

from mujoco_robots import BALL, BLOCK, Ball, Cart

from AquaML.environment.mujoco import LogUniform, Normal, Uniform


def returning(name: str, value: Any) -> Any:
    """Return a class of balls one of whose methods returns something wrong."""
    return type("Wrong", (Ball,), {name: lambda self, *arguments: value})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Ball(model="nowhere.xml"), "no MJCF file 'nowhere.xml'"),
        (lambda: Ball(model="<mujoco><worldbdy/></mujoco>"), "(?s)cannot compile the model.*worldbdy"),
        (lambda: Ball(model=3), "expected the path of an MJCF file"),
        (lambda: Ball(0), "num_envs is 0"),
        (lambda: Ball(frame_skip=2.5), "frame_skip is 2.5"),
        (lambda: Ball(max_episode_steps=0), "max_episode_steps is 0"),
        (lambda: Ball(random_initial_length=True), "needs a time limit"),
        (lambda: Ball(render_mode="film"), "render_mode is 'film'"),
        (lambda: Ball(camera="side"), "no camera 'side'. None of its cameras has a name"),
        (lambda: Cart(keyframe="asid"), "no key 'asid'. Did you mean 'aside'"),
        (lambda: Ball().body_position("bal"), "no body 'bal'. Did you mean 'ball'"),
        (lambda: Ball().sensor("wher"), "Did you mean 'where'"),
        (lambda: Ball().watch("qposs"), "no array 'qposs'"),
        (lambda: Ball().parameter("body_mas"), "Did you mean 'body_mass'"),
        (lambda: Ball(randomization={"body_mas": Uniform(0, 1)}), "Did you mean 'body_mass'"),
        (lambda: Ball(randomization={"body_mass": 0.1}), "expected Uniform"),
        (lambda: Ball(randomization={"body_mass": Uniform(0, 1, of="bal")}), "Did you mean 'ball'"),
        (lambda: Ball(randomization={"opt.gravity": Uniform(0, 1, of="z")}), "rows have no names"),
        (lambda: Ball(randomization={("body_mass", "geom_size"): Uniform(0, 1)}), "share their draws"),
        (
            lambda: Cart(randomization={"body_mass": Uniform(0, 1), ("body_mass", "body_inertia"): Uniform(0, 1)}),
            "body_mass more than once",
        ),
        (lambda: Uniform(2, 1), "lower bound is above"),
        (lambda: LogUniform(0, 1), "above 0"),
        (lambda: Normal(0, -1), "below 0"),
        (lambda: Uniform(0, 1, "times"), "mode of Uniform is 'times'"),
        (lambda: Ball(observation_noise=-1.0), "expected a standard deviation"),
        (lambda: Ball(observation_noise=[1.0, 2.0, 3.0]), "an array of shape \\(2,\\)"),
        (lambda: Cart(observation_noise=0.1), "observation_noise=\\{'state': 0.1\\}"),
        (lambda: Cart(observation_noise={"stat": 0.1}), "Did you mean 'state'"),
        (lambda: Ball(observation_delay=-1), "delay of observation 'state' is -1"),
        (lambda: Ball(action_delay=(3, 1)), "delay of the action is \\(3, 1\\)"),
        (
            lambda: Ball(model=BALL.replace('ctrlrange="-50 50"', "")),
            "infinite bounds.*give every actuator a ctrlrange",
        ),
        (lambda: Ball(model=BLOCK), "the model has no actuator"),
        (lambda: returning("observation", np.zeros(2))(), "observation\\(\\) returned 'state' of shape \\(2,\\)"),
        (
            lambda: returning("reward", np.zeros((2, 1)))(),
            "reward\\(\\) returned float64 of shape \\(2, 1\\) as rewards",
        ),
        (lambda: returning("reward", {})(), "empty dict"),
        (lambda: returning("reward", {"up": 1.0})(), "'up'; expected \\(2,\\)"),
        (lambda: returning("terminated", np.zeros(2))(), "expected \\(2,\\) of type bool"),
        (lambda: returning("log", {"x": np.zeros(3)})(), "log\\(\\) returned float64 of shape \\(3,\\) as x"),
    ],
)
def test_mistakes_are_told(make: Any, words: str) -> None:
    with pytest.raises(EnvironmentContractError, match=words):
        make()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "controls",
            np.zeros((2, 3)),
            "controls\\(\\) returned float64 of shape \\(2, 3\\) as controls; expected \\(2, 1\\)",
        ),
        ("controls", np.array([[0.0], [np.nan]]), "controls\\(\\) returned nan in row 1"),
        (
            "initial_state",
            np.zeros((2, 1)),
            "initial_state\\(\\) returned float64 of shape \\(2, 1\\); expected \\(pos",
        ),
        ("initial_state", (np.zeros((2, 1)), np.zeros((2, 2))), "as velocities; expected \\(2, 1\\)"),
        ("reward", np.array([0.0, np.nan]), "reward\\(\\) returned nan in row 1 of rewards"),
        ("reward", {"up": np.zeros(2), "down": np.array([np.inf, 0.0])}, "inf in row 0 of 'down'"),
        ("observation", np.zeros((2, 5)), "'state' of shape \\(2, 5\\); before it was \\(2, 2\\)"),
        ("observation", {"other": np.zeros((2, 2))}, "keys \\['other'\\]; before it returned \\['state'\\]"),
        ("observation", np.full((2, 2), np.nan), "Observation of environment 0 holds nan"),
    ],
)
def test_mistakes_made_later_are_told(name: str, value: Any, words: str) -> None:
    env = Ball()
    setattr(env, name, lambda *arguments: value)
    with pytest.raises(EnvironmentContractError, match=words):
        env.reset(seed=0)
        env.step(torch.zeros(2, 1))
