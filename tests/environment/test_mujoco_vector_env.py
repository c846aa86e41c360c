"""Robots of one's own: physics against hand-computed numbers, and each option against what it promises."""

import os
import subprocess
import sys
from typing import Any, Dict, List

import numpy as np
import pytest
import torch

from AquaML.environment.checker import check_env
from AquaML.errors import EnvironmentContractError, StateError
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

mujoco = pytest.importorskip("mujoco")

from AquaML.environment.mujoco import LogUniform, MujocoVectorEnv, Normal, Uniform  # noqa: E402

STEP = 0.01
GRAVITY = 9.81

BALL = """
<mujoco><option timestep="0.01"/>
  <worldbody><body name="ball" pos="0 0 100"><joint name="height" type="slide" axis="0 0 1"/>
    <geom size="0.1" mass="2"/><site name="top" pos="0 0 0.1"/></body></worldbody>
  <actuator><motor name="lift" joint="height" ctrlrange="-50 50"/></actuator>
  <sensor><framepos name="where" objtype="body" objname="ball"/></sensor>
</mujoco>"""

CART = """
<mujoco><option timestep="0.01" gravity="0 0 0"/>
  <worldbody>
    <body name="cart"><joint name="place" type="slide" axis="1 0 0"/><geom name="box" size="0.1" mass="2"/>
      <body name="pole"><joint name="angle" axis="0 1 0" damping="0.1"/>
        <geom name="rod" type="capsule" fromto="0 0 0 0 0 0.5" size="0.02" mass="0.1"/></body></body>
  </worldbody>
  <actuator><motor name="push" joint="place" gear="4" ctrlrange="-1 1"/></actuator>
  <keyframe><key name="aside" qpos="3 0.2" qvel="0 1"/></keyframe>
</mujoco>"""

BLOCK = """
<mujoco><option timestep="0.01"/>
  <worldbody><geom name="floor" type="plane" size="9 9 1"/>
    <body name="block" pos="0 0 0.1"><freejoint/><geom name="cube" type="box" size="0.1 0.1 0.1" mass="3"/></body>
  </worldbody>
</mujoco>"""


class Ball(MujocoVectorEnv):
    """Falls, or is lifted; observes height and speed."""

    def __init__(self, num_envs: int = 2, model: Any = BALL, **options: Any) -> None:
        super().__init__(model, num_envs, **options)

    def observation(self) -> Any:
        return np.hstack([self.qpos, self.qvel])

    def reward(self, actions: np.ndarray) -> Any:
        return self.qpos[:, 0]


class Clock(Ball):
    """Observes how many steps its episode is old, and the control that arrived."""

    def observation(self) -> Any:
        return {"state": self.elapsed[:, None].astype(float), "privileged": self.watch("ctrl")}


class Cart(Ball):
    """All kinds of numbers at once, with arrays of its own."""

    def __init__(self, num_envs: int = 4, model: Any = CART, **options: Any) -> None:
        super().__init__(num_envs, model, **options)

    def prepare(self) -> None:
        self.extra_state["target"] = np.zeros((self.num_envs, 1))

    def begin_episode(self, rows: np.ndarray, generator: np.random.Generator) -> None:
        self.extra_state["target"][rows] = generator.uniform(-1.0, 1.0, (len(rows), 1))

    def observation(self) -> Any:
        seen = np.hstack([self.qpos, self.qvel, self.extra_state["target"], self.actions])
        return {"state": seen, "privileged": self.parameter("body_mass")}

    def reward(self, actions: np.ndarray) -> Any:
        distance = np.abs(self.joint_position("place") - self.extra_state["target"])[:, 0]
        return {"near": 1.0 - distance, "effort": -0.1 * np.square(actions - self.previous_actions).sum(1)}

    def terminated(self) -> np.ndarray:
        return np.abs(self.qpos[:, 0]) > 0.3

    def log(self) -> Dict[str, np.ndarray]:
        return {"speed": self.qvel[:, 0]}


EVERYTHING: Dict[str, Any] = {
    "frame_skip": 2,
    "max_episode_steps": 17,
    "initial_noise": 0.1,
    "random_initial_length": True,
    "randomization": {
        ("body_mass", "body_inertia"): Uniform(0.5, 1.5),
        "dof_damping": Normal(0.0, 0.01),
        "opt.gravity": Normal(0.0, 0.1),
    },
    "observation_noise": {"state": 0.01},
    "observation_delay": {"state": (0, 3)},
    "action_noise": 0.1,
    "action_delay": (0, 2),
}


def actions_for(env: MujocoVectorEnv, steps: int, seed: int = 0) -> List[torch.Tensor]:
    size = env.action_layout.specs["action"].shape[0]
    draws = torch.rand(steps, env.num_envs, size, generator=torch.Generator().manual_seed(seed))
    return list(draws * 2.0 - 1.0)


def play(env: MujocoVectorEnv, actions: List[torch.Tensor]) -> torch.Tensor:
    """Return everything that steps returned, one row per step."""
    rows = []
    for action in actions:
        seen, rewards, terminated, truncated, infos = env.step(action)
        done = terminated | truncated
        final = [torch.where(done, values, 0.0 * values) for values in (infos["final_obs"] or {}).values()]
        final = final or [0.0 * values for values in seen.values()]
        parts = list(seen.values()) + [rewards, terminated, truncated] + final + list(infos["log"].values())
        rows.append(torch.cat([part.double().flatten() for part in parts]))
    return torch.stack(rows)


# ---------------------------------------------------------------------- physics and what is read of it


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


class Block(Ball):
    """Lies on the floor; what acts on it is nothing."""

    def action_range(self) -> Any:
        return np.array([-1.0]), np.array([1.0])

    def controls(self, actions: np.ndarray) -> np.ndarray:
        return np.zeros((self.num_envs, 0))


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


# ---------------------------------------------------------------------- episodes


def test_time_limit_termination_and_final_observation() -> None:
    class Faller(Ball):
        def terminated(self) -> np.ndarray:
            # 4 steps of free fall: 0.001 * 9.81 * 10 / 10.
            return self.qpos[:, 0] < -0.0097

        def initial_state(self, rows: np.ndarray, generator: np.random.Generator) -> Any:
            # The second one starts higher and never gets there.
            return 5.0 * (rows[:, None] == 1), np.zeros((len(rows), 1))

    env = Faller(max_episode_steps=6, frame_skip=1)
    first, _ = env.reset(seed=0)
    assert first["state"].tolist() == [[0.0, 0.0], [5.0, 0.0]]
    flags = []
    for step in range(1, 13):
        seen, _, terminated, truncated, infos = env.step(torch.zeros(2, 1))
        flags.append((terminated[:, 0].tolist(), truncated[:, 0].tolist()))
        for row, age in ((0, (step - 1) % 4 + 1), (1, (step - 1) % 6 + 1)):
            height = 5.0 * row - GRAVITY * STEP**2 * age * (age + 1) / 2
            ended = bool(terminated[row] | truncated[row])
            assert ended == (age == (4, 6)[row])
            if ended:
                assert infos["final_obs"]["state"][row, 0].item() == pytest.approx(height, rel=1e-6)
                assert seen["state"][row].tolist() == [5.0 * row, 0.0]
            else:
                assert seen["state"][row, 0].item() == pytest.approx(height, rel=1e-6)
    assert flags[3] == ([True, False], [False, False])
    assert flags[5] == ([False, False], [False, True])


def test_termination_wins_over_the_time_limit_and_a_finite_horizon_terminates() -> None:
    class Short(Ball):
        def terminated(self) -> np.ndarray:
            return self.elapsed == np.array([2, 5])

    env = Short(max_episode_steps=2)
    env.reset(seed=0)
    env.step(torch.zeros(2, 1))
    _, _, terminated, truncated, _ = env.step(torch.zeros(2, 1))
    assert (terminated[:, 0].tolist(), truncated[:, 0].tolist()) == ([True, False], [False, True])
    env = Ball(max_episode_steps=1, finite_horizon=True)
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(torch.zeros(2, 1))
    assert terminated.all() and not truncated.any()


def test_initial_noise_moves_hinges_and_slides_and_leaves_quaternions() -> None:
    env = Block(400, BLOCK, initial_noise=0.3)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.qpos, np.tile(env.model.qpos0, (400, 1)))
    assert 0.29 < np.abs(env.qvel).max() <= 0.3
    cart = Cart(400, keyframe="aside", initial_noise=0.3)
    cart.reset(seed=0)
    moved = cart.qpos - [3.0, 0.2]
    assert 0.29 < np.abs(moved).max() <= 0.3 and np.abs(moved.mean(0)).max() < 0.04
    # The standard deviation of a uniform distribution of half width 0.3.
    np.testing.assert_allclose(moved.std(0), 0.3 / np.sqrt(3), rtol=0.1)


def test_terms_of_the_reward_are_added_and_logged() -> None:
    env = Cart(2)
    env.reset(seed=0)
    target = env.extra_state["target"].copy()
    _, rewards, _, _, infos = env.step(torch.tensor([[0.5], [-1.0]]))
    near = 1.0 - np.abs(env.qpos[:, :1] - target)
    effort = -0.1 * np.array([[0.25], [1.0]])
    np.testing.assert_allclose(infos["log"]["reward/near"].numpy(), near, rtol=1e-6)
    np.testing.assert_allclose(infos["log"]["reward/effort"].numpy(), effort, rtol=1e-6)
    np.testing.assert_allclose(rewards.numpy(), near + effort, rtol=1e-6)
    np.testing.assert_allclose(infos["log"]["speed"].numpy()[:, 0], env.qvel[:, 0], rtol=1e-6)


def test_first_episodes_of_random_age_end_spread_out_and_later_ones_are_whole() -> None:
    limit, count = 5, 200
    env = Clock(count, max_episode_steps=limit, random_initial_length=True)
    first, _ = env.reset(seed=0)
    ages = first["state"][:, 0].clone()
    assert set(ages.tolist()) == set(range(limit))
    # 40 of each age are expected, with a standard deviation of 5.7.
    assert np.bincount(ages.long().numpy()).min() > 20
    ends = torch.zeros(3 * limit, count, dtype=torch.bool)
    for step in range(3 * limit):
        _, _, _, truncated, infos = env.step(torch.zeros(count, 1))
        ends[step] = truncated[:, 0]
        assert (infos["final_obs"]["state"][truncated] == limit).all()
    for row in range(count):
        when = (torch.nonzero(ends[:, row])[:, 0] + 1).tolist()
        assert when == [limit - int(ages[row]) + limit * turn for turn in range(3)]


def test_evaluations_play_whole_episodes() -> None:
    env = Clock(8, max_episode_steps=10, random_initial_length=True)
    agent = PPO(default_models(env.getEnvInfo()), PPOCfg(rollouts=4))
    assert evaluate(env, agent, episodes=16, seed=0).lengths == [10] * 16
    env.reset(seed=0)
    assert env.elapsed.max() > 0


# ---------------------------------------------------------------------- noise and delay


def test_noise_has_its_deviation_and_leaves_physics_and_other_keys_alone() -> None:
    quiet, noisy = Cart(500), Cart(500, observation_noise={"state": [0.1, 0.2, 0.3, 0.4, 0.0, 0.5]})
    first = [env.reset(seed=3)[0] for env in (quiet, noisy)]
    draws = [first[1]["state"] - first[0]["state"]]
    for action in actions_for(quiet, 4):
        seen = [env.step(action)[0] for env in (quiet, noisy)]
        assert np.array_equal(quiet.qpos, noisy.qpos)
        assert torch.equal(seen[0]["privileged"], seen[1]["privileged"])
        draws.append(seen[1]["state"] - seen[0]["state"])
    noise = torch.cat(draws).numpy()
    # 2,500 draws: the relative error of a standard deviation is 1.4 %.
    np.testing.assert_allclose(noise.std(0), [0.1, 0.2, 0.3, 0.4, 0.0, 0.5], rtol=0.08)
    assert np.abs(noise.mean(0)).max() < 0.05
    assert np.abs(np.corrcoef(draws[1].numpy()[:, 0], draws[2].numpy()[:, 0])[0, 1]) < 0.2


def test_noise_by_a_function() -> None:
    env = Ball(3, observation_noise=lambda values, g: np.round(values, 1), action_noise=lambda a, g: 2.0 * a)
    env.reset(seed=0)
    seen, *_ = env.step(torch.full((3, 1), 0.25))
    # Twice 12.5 newtons, on 2 kg.
    speed = (25.0 / 2.0 - GRAVITY) * STEP
    np.testing.assert_allclose(env.qvel, speed, rtol=1e-12)
    np.testing.assert_array_equal(env.actions, np.full((3, 1), 12.5))
    np.testing.assert_array_equal(seen["state"].numpy(), [[0.0, 0.0]] * 3)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_observations_take_exactly_as_many_steps_as_said(delay: int) -> None:
    env = Clock(2, max_episode_steps=7, observation_delay={"state": delay})
    assert env.reset(seed=0)[0]["state"].tolist() == [[0.0], [0.0]]
    for step in range(1, 22):
        seen, _, _, truncated, infos = env.step(torch.zeros(2, 1))
        age = (step - 1) % 7 + 1
        assert bool(truncated.all()) == (age == 7)
        if age == 7:
            # What the robot would have observed, and then the next episode without a trace of the last.
            assert infos["final_obs"]["state"].tolist() == [[7.0 - delay]] * 2
            assert seen["state"].tolist() == [[0.0], [0.0]]
        else:
            assert seen["state"].tolist() == [[max(0.0, age - delay)]] * 2


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_actions_take_exactly_as_many_steps_as_said(delay: int) -> None:
    env = Clock(1, max_episode_steps=7, action_delay=delay, action_bounds="clip")
    env.reset(seed=0)
    sent: List[float] = []
    for step in range(1, 22):
        sent = ([] if (step - 1) % 7 == 0 else sent) + [float(step)]
        seen, _, _, truncated, infos = env.step(torch.full((1, 1), float(step)))
        arrived = sent[-1 - delay] if len(sent) > delay else 0.0
        source = infos["final_obs"] if truncated.all() else seen
        assert source["privileged"].tolist() == [[arrived]]
        assert truncated.all() or env.actions.tolist() == [[float(step)]]


def test_random_delays_are_drawn_for_each_environment_and_episode() -> None:
    env = Clock(300, max_episode_steps=6, observation_delay={"state": (1, 3)})
    env.reset(seed=0)
    found = []
    for step in range(1, 12):
        seen, *_ = env.step(torch.zeros(300, 1))
        if step in (5, 11):
            found.append(5.0 - seen["state"][:, 0])
    for delays in found:
        assert np.bincount(delays.long().numpy())[1:].min() > 70
        assert set(delays.tolist()) == {1.0, 2.0, 3.0}
    assert 150 < int((found[0] != found[1]).sum()) < 250


def test_noise_stays_with_what_is_delayed() -> None:
    env = Ball(2, observation_noise=1.0, observation_delay=2)
    plain = Ball(2, observation_noise=1.0)
    for one in (env, plain):
        one.reset(seed=5)
    history = [plain.step(torch.zeros(2, 1))[0]["state"].clone() for _ in range(5)]
    seen = [env.step(torch.zeros(2, 1))[0]["state"].clone() for _ in range(5)]
    assert all(torch.equal(one, other) for one, other in zip(seen[2:], history))


# ---------------------------------------------------------------------- models that differ


def test_every_environment_has_the_acceleration_of_its_own_mass() -> None:
    env = Ball(50, randomization={"body_mass": Uniform(0.5, 2.0)}, max_episode_steps=1)
    env.reset(seed=0)
    before = np.zeros(50)
    for _ in range(3):
        masses = env.parameter("body_mass")[:, 1].copy()
        assert masses.min() >= 1.0 and masses.max() <= 4.0 and len(set(masses.tolist())) == 50
        assert not np.array_equal(masses, before)
        _, _, _, _, infos = env.step(torch.full((50, 1), 0.5))
        expected = (25.0 / masses - GRAVITY) * STEP
        np.testing.assert_allclose(infos["final_obs"]["state"][:, 1].numpy(), expected, rtol=1e-5)
        before = masses
    # Nobody else's model was touched.
    assert env.model.body_mass[1] == 2.0


def test_derived_constants_follow_their_parameters() -> None:
    env = Cart(3, randomization={("body_mass", "body_inertia"): Uniform(0.5, 1.5, of="cart")})
    env.reset(seed=0)
    for model in env.simulation.models:
        fresh = mujoco.MjModel.from_xml_string(CART)
        fresh.body_mass[:], fresh.body_inertia[:] = model.body_mass, model.body_inertia
        assert model.body_mass[1] != 2.0 and model.body_mass[2] == fresh.body_mass[2]
        factor = model.body_mass[1] / 2.0
        np.testing.assert_allclose(model.body_inertia[1], env.model.body_inertia[1] * factor, rtol=1e-12)
        mujoco.mj_setConst(fresh, mujoco.MjData(fresh))
        assert np.array_equal(model.dof_invweight0, fresh.dof_invweight0)
        assert not np.array_equal(model.dof_invweight0, env.model.dof_invweight0)


def test_what_a_distribution_means() -> None:
    changes = {
        "geom_friction": Uniform(0.3, 0.6, mode="set", columns=0, of=["rod", "box"], together=True),
        "dof_damping": LogUniform(0.5, 2.0),
        "actuator_gear": Normal(0.0, 0.5, columns=[0]),
        "opt.gravity": Normal(-9.81, 0.1, mode="set", together=True),
    }
    env = Cart(300, randomization=changes)
    friction, gear = env.parameter("geom_friction"), env.parameter("actuator_gear")
    assert not np.ptp(friction[:, :, 0]) > 0
    env.reset(seed=0)
    assert np.array_equal(friction[:, 0, 0], friction[:, 1, 0]) and len(set(friction[:, 0, 0].tolist())) == 300
    assert 0.3 <= friction[:, :, 0].min() < 0.32 and 0.58 < friction[:, :, 0].max() <= 0.6
    assert np.array_equal(friction[:, :, 1:], np.tile(env.model.geom_friction[:, 1:], (300, 1, 1)))
    damping = env.parameter("dof_damping")
    assert not damping[:, 0].any() and damping[:, 1].min() >= 0.05 and damping[:, 1].max() <= 0.2
    assert np.log(damping[:, 1] / 0.1).mean() == pytest.approx(0.0, abs=0.08)
    assert (gear[:, 0, 0].mean(), gear[:, 0, 0].std()) == (pytest.approx(4.0, abs=0.1), pytest.approx(0.5, rel=0.15))
    assert not gear[:, 0, 1:].any()
    gravity = np.array([model.opt.gravity for model in env.simulation.models])
    assert np.ptp(gravity, axis=1).max() == 0.0 and gravity.std() == pytest.approx(0.1, rel=0.15)


def test_models_changed_by_a_method_and_their_options_are_saved_with_the_run() -> None:
    class Own(Cart):
        def randomize(self, rows: np.ndarray, models: Any, generator: np.random.Generator) -> None:
            super().randomize(rows, models, generator)
            for model in models:
                model.opt.viscosity = generator.uniform(0.0, 0.1)
                model.geom_rgba[0, :3] = generator.uniform(0.0, 1.0, 3)

    env, other = (Own(4, randomization={"body_mass": Uniform(0.5, 1.5)}) for _ in range(2))
    env.reset(seed=0)
    other.reset(seed=1)
    assert other.set_state(env.get_state())
    assert np.array_equal(env.parameter("geom_rgba"), other.parameter("geom_rgba"))
    for ours, theirs in zip(env.simulation.models, other.simulation.models):
        assert ours.opt.viscosity == theirs.opt.viscosity > 0.0
        assert np.array_equal(ours.body_mass, theirs.body_mass)


def test_one_model_for_all_and_one_for_each_are_the_same_where_nothing_differs() -> None:
    options = dict(EVERYTHING, randomization=None)
    shared = Cart(6, **options)
    single = Cart(6, **dict(options, randomization={"body_mass": Uniform(1.0, 1.0)}))
    assert len({id(model) for model in shared.simulation.models}) == 1
    assert len({id(model) for model in single.simulation.models}) == 6
    # The draws of the masses would move the random stream of the initial states.
    single.randomize = lambda rows, models, generator: None  # type: ignore[method-assign]
    for env in (shared, single):
        env.reset(seed=2)
    actions = actions_for(shared, 60)
    assert torch.equal(play(shared, actions), play(single, actions))


# ---------------------------------------------------------------------- seeds, threads, saved state


def test_seeds_repeat_and_threads_do_not_matter() -> None:
    def run(seed: int, threads: int) -> torch.Tensor:
        env = Cart(16, threads=threads, **EVERYTHING)
        env.reset(seed=seed)
        result = play(env, actions_for(env, 60))
        env.close()
        return result

    one = run(0, 1)
    assert torch.equal(one, run(0, 4))
    assert not torch.equal(one, run(1, 1))


def test_a_saved_state_goes_on_bit_by_bit_with_every_option_on() -> None:
    env = Cart(5, **EVERYTHING)
    env.reset(seed=0)
    play(env, actions_for(env, 23))
    state = env.state_dict()
    expected = play(env, actions_for(env, 60, seed=1))
    other = Cart(5, **EVERYTHING)
    other.reset(seed=9)
    play(other, actions_for(other, 7, seed=2))
    for target in (env, other, Cart(5, **EVERYTHING)):
        target.validate_state(state)
        target.load_state_dict(state)
        assert target.restored_exactly
        assert torch.equal(play(target, actions_for(env, 60, seed=1)), expected)


def test_a_state_of_another_robot_is_refused() -> None:
    class More(Cart):
        def prepare(self) -> None:
            super().prepare()
            self.extra_state["phase"] = np.zeros(self.num_envs)

    env = Cart(3)
    env.reset(seed=0)
    with pytest.raises(StateError, match="phase"):
        More(3).set_state(env.get_state())
    with pytest.raises(EnvironmentContractError, match="reaches back 0 steps, this one 4"):
        Cart(3, action_delay=4).set_state(env.get_state())
    with pytest.raises(StateError, match="saved from 3 of 'Cart', this is 2 of 'Cart'"):
        Cart(2).validate_state(env.state_dict())


# ---------------------------------------------------------------------- the contract


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "everything"])
def test_the_checker_finds_nothing(options: Dict[str, Any]) -> None:
    check_env(Cart(3, **dict({"max_episode_steps": 20}, **options)))


def test_shapes_names_and_types_of_the_spaces() -> None:
    env = Cart(2)
    info = env.getEnvInfo()
    assert {name: spec.shape for name, spec in info["observation_cfg"].items()} == {"state": (6,), "privileged": (3,)}
    action = info["action_cfg"]["action"]
    assert (action.low.tolist(), action.high.tolist(), action.shape) == ([-1.0], [1.0], (1,))
    assert (env.name, env.max_episode_length, env.action_bounds) == ("Cart", None, "rescale")

    class Pixels(Ball):
        def observation(self) -> Any:
            return {"image": np.full((self.num_envs, 4, 4), 200, np.uint8), "touch": self.qpos > 0.0}

    image, touch = Pixels().getEnvInfo()["observation_cfg"].values()
    assert (image.dtype, image.shape, image.high.max(), touch.dtype) == ("uint8", (4, 4), 255.0, "bool")
    assert Pixels().reset()[0]["image"].max() == 200


def test_making_robots_leaves_no_trace_in_their_own_arrays() -> None:
    class Counting(Cart):
        def reward(self, actions: np.ndarray) -> Any:
            self.extra_state["target"] += 1.0
            return super().reward(actions)

    env = Counting(2)
    assert not env.extra_state["target"].any()


def test_actions_and_their_bounds() -> None:
    for bounds, sent, arrives in (("rescale", 0.5, 25.0), ("clip", 60.0, 50.0), ("none", 60.0, 60.0)):
        env = Ball(1, action_bounds=bounds)
        env.reset(seed=0)
        env.step(torch.full((1, 1), sent))
        assert env.actions.tolist() == [[arrives]]
        # MuJoCo itself holds controls in their range.
        np.testing.assert_allclose(env.qvel, (min(arrives, 50.0) / 2.0 - GRAVITY) * STEP, rtol=1e-12)

    class Above(Ball):
        def action_range(self) -> Any:
            return np.array([2.0]), np.array([4.0])

    assert Above().idle_action.tolist() == [2.0]


def test_spawned_robots_are_of_the_same_kind() -> None:
    env = Cart(3, CART, **EVERYTHING)
    other = env.spawn(7)
    assert (type(other), other.num_envs, other.max_episode_length) == (Cart, 7, 17)
    for one in (env.spawn(3), env):
        one.reset(seed=4)
        result = play(one, actions_for(one, 30))
    assert torch.equal(result, play_fresh(env.spawn(3)))

    class Fixed(Ball):
        def __init__(self) -> None:
            super().__init__(3)

    with pytest.raises(EnvironmentContractError, match="takes no num_envs"):
        Fixed().spawn(1)


def play_fresh(env: MujocoVectorEnv) -> torch.Tensor:
    env.reset(seed=4)
    return play(env, actions_for(env, 30))


def test_an_unstable_robot_ends_its_episode_and_is_said_once(log_lines: list) -> None:
    class Wild(Ball):
        def controls(self, actions: np.ndarray) -> np.ndarray:
            if self.elapsed[1] == 2:
                self.simulation.data[1].qvel[:] = np.inf
            return actions

    env = Wild(3)
    env.reset(seed=0)
    for step in range(1, 10):
        seen, rewards, terminated, _, infos = env.step(torch.zeros(3, 1))
        assert terminated[:, 0].tolist() == [False, step % 3 == 0, False]
        assert torch.isfinite(rewards).all() and torch.isfinite(seen["state"]).all()
        if step % 3 == 0:
            assert infos["final_obs"]["state"][1].tolist() == [0.0, 0.0]
    warned = [line for line in log_lines if "MuJoCo warns" in line]
    assert len(warned) == 1 and "Environment 1" in warned[0]


# ---------------------------------------------------------------------- pictures


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


# ---------------------------------------------------------------------- mistakes


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


# ---------------------------------------------------------------------- learning


class Hover(Ball):
    """Hold the ball at its height; the best return is close to 100, falling out of reach ends it after a second."""

    def __init__(self, num_envs: int = 16, **options: Any) -> None:
        super().__init__(num_envs, frame_skip=5, max_episode_steps=100, **options)

    def initial_state(self, rows: np.ndarray, generator: np.random.Generator) -> Any:
        return generator.uniform(-0.5, 0.5, (len(rows), 1)), np.zeros((len(rows), 1))

    def reward(self, actions: np.ndarray) -> np.ndarray:
        return np.exp(-2.0 * np.abs(self.qpos[:, 0]))

    def terminated(self) -> np.ndarray:
        return np.abs(self.qpos[:, 0]) > 5.0


def test_ppo_learns_to_hover() -> None:
    env = Hover(random_initial_length=True, randomization={"body_mass": Uniform(0.9, 1.1)}, action_delay=(0, 1))
    cfg = PPOCfg(rollouts=32, learning_epochs=8, mini_batches=4, learning_rate=1e-3)
    trainer = SequentialTrainer(
        env, PPO(default_models(env.getEnvInfo()), cfg), TrainerConfig(timesteps=1920, seed=0, disable_progressbar=True)
    )
    before = trainer.eval(episodes=16).return_mean
    trainer.train()
    after = trainer.eval(episodes=16).return_mean
    assert before < 30.0 and after > 75.0
