"""Robots of one's own: pictures, and what happens where none can be drawn."""

import os
import subprocess
import sys

import numpy as np
import pytest

from AquaML.errors import EnvironmentContractError

pytest.importorskip("mujoco")

from mujoco_robots import BALL, BLOCK, Ball, Block


def test_a_picture_shows_the_robot_where_it_is() -> None:
    env = Block(model=BLOCK, render_mode="rgb_array", render_size=(90, 120))
    env.reset(seed=0)
    picture = env.render()
    if picture is None:
        # Drawing is the driver's part; what happens without one is the next test's subject, which runs everywhere.
        pytest.skip("no OpenGL here")
    assert (picture.shape, picture.dtype) == ((90, 120, 3), np.uint8)
    assert np.array_equal(picture, env.render())
    env.simulation.begin(np.array([0]), np.array([[0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]]), np.zeros((1, 6)))
    assert not np.array_equal(picture, env.render())
    env.close()


WITHOUT_GL = """
import numpy as np
from AquaML.environment.mujoco import MujocoVectorEnv

class Ball(MujocoVectorEnv):
    def observation(self):
        return self.qpos
    def reward(self, actions):
        return self.qpos[:, 0]

for mode in ("rgb_array", "human"):
    env = Ball({model!r}, 2, render_mode=mode)
    env.reset(seed=0)
    assert env.render() is None and env.render() is None
    env.step(np.zeros((2, 1)))
    env.close()
"""


def test_what_cannot_be_drawn_is_said_once_and_the_robot_runs_on() -> None:
    names = ("DISPLAY", "WAYLAND_DISPLAY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    program = subprocess.run(
        [sys.executable, "-c", WITHOUT_GL.format(model=BALL)],
        env=dict(environment, MUJOCO_GL="disabled"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        check=False,
    )
    assert program.returncode == 0, program.stdout
    assert program.stdout.count("cannot be shown") == (2 if sys.platform == "linux" else 1), program.stdout
    assert "MUJOCO_GL=egl" in program.stdout


def test_there_is_nothing_to_see_without_a_render_mode() -> None:
    with pytest.raises(EnvironmentContractError, match="without a render mode"):
        Ball().render()
