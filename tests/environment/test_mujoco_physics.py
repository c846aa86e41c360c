"""Robots of one's own: physics, and what is read of it, against hand-computed numbers and MuJoCo itself."""

import numpy as np
import pytest
import torch

mujoco = pytest.importorskip("mujoco")

from mujoco_robots import BLOCK, CART, GRAVITY, STEP, Ball, Block, Cart, actions_for  # noqa: E402


def test_a_falling_ball_is_where_the_integrator_puts_it_and_all_readings_are_of_that_moment() -> None:
    env = Ball(frame_skip=3)
    env.reset(seed=0)
    for step in range(1, 6):
        seen, rewards, *_ = env.step(torch.zeros(2, 1))
        count = 3 * step
        # The semi-implicit Euler method: first the speed, then the height by the new speed.
        speed = -GRAVITY * STEP * count
        fallen = GRAVITY * STEP**2 * count * (count + 1) / 2
        np.testing.assert_allclose(env.qpos, -fallen, rtol=1e-12)
        np.testing.assert_allclose(env.qvel, speed, rtol=1e-12)
        for place in (env.body_position("ball"), env.sensor("where"), env.site_position("top") - [0.0, 0.0, 0.1]):
            np.testing.assert_allclose(place, [[0.0, 0.0, 100.0 - fallen]] * 2, rtol=1e-12)
        np.testing.assert_allclose(env.body_velocity("ball"), [[0.0, 0.0, speed]] * 2, rtol=1e-12)
        np.testing.assert_allclose(seen["state"].numpy(), [[-fallen, speed]] * 2, rtol=1e-6)
        np.testing.assert_allclose(rewards.numpy(), [[-fallen]] * 2, rtol=1e-6)
    assert env.time_step == pytest.approx(0.03)


@pytest.mark.parametrize("integrator", ["Euler", "implicitfast", "RK4"])
def test_trajectories_are_those_of_mujoco(integrator: str) -> None:
    text = CART.replace("<option ", '<option integrator="{}" '.format(integrator))
    env = Cart(1, text, frame_skip=4, keyframe="aside")
    env.reset(seed=0)
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    mujoco.mj_forward(model, data)
    # Beyond 0.3 the episode would end.
    env.terminated = lambda: np.zeros(1, bool)  # type: ignore[method-assign]
    for action in actions_for(env, 30):
        env.step(action)
        data.ctrl[:] = action.double().numpy()[0]
        mujoco.mj_step(model, data, nstep=4)
        assert np.array_equal(env.qpos[0], data.qpos) and np.array_equal(env.qvel[0], data.qvel)


def test_readings_equal_those_of_mujoco() -> None:
    env = Cart(3, keyframe="aside", initial_noise=0.5)
    env.reset(seed=1)
    env.simulation.step(np.ones((3, 1)))
    for row, data in enumerate(env.simulation.data):
        velocity = np.zeros(6)
        mujoco.mj_objectVelocity(env.model, data, mujoco.mjtObj.mjOBJ_BODY, 2, velocity, 0)
        # mj_objectVelocity speaks of the body's centre of mass only for mjOBJ_BODY: the frame is mjOBJ_XBODY.
        mujoco.mj_objectVelocity(env.model, data, mujoco.mjtObj.mjOBJ_XBODY, 2, velocity, 0)
        np.testing.assert_allclose(env.body_velocity("pole")[row], velocity[3:], atol=1e-12)
        np.testing.assert_allclose(env.body_angular_velocity("pole")[row], velocity[:3], atol=1e-12)
        np.testing.assert_array_equal(env.body_rotation("pole")[row], data.body("pole").xmat.reshape(3, 3))
        np.testing.assert_array_equal(env.body_quaternion("pole")[row], data.body("pole").xquat)
        np.testing.assert_array_equal(env.geom_position("rod")[row], data.geom("rod").xpos)
        np.testing.assert_array_equal(env.joint_position("angle")[row], data.joint("angle").qpos)
        np.testing.assert_array_equal(env.joint_velocity("angle")[row], data.joint("angle").qvel)
        np.testing.assert_array_equal(env.watch("actuator_force")[row], data.actuator_force)


def test_the_contact_force_on_a_block_at_rest_is_its_weight() -> None:
    env = Block(model=BLOCK, frame_skip=10)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.contact_force("block"), np.zeros((2, 3)))
    for _ in range(30):
        env.step(torch.zeros(2, 1))
    np.testing.assert_allclose(env.contact_force("block"), [[0.0, 0.0, 3 * GRAVITY]] * 2, atol=1e-3)


def test_live_arrays_stay_the_same() -> None:
    env = Ball()
    env.reset(seed=0)
    height, place = env.qpos, env.body_position("ball")
    env.step(torch.ones(2, 1))
    assert height is env.qpos and height[0, 0] != 0.0
    assert place[0, 2] == 100.0 + height[0, 0]
