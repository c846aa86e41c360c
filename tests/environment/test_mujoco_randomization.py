"""Robots of one's own: noise, delays and models that differ are what their options say."""

from typing import Any, List

import numpy as np
import pytest
import torch

mujoco = pytest.importorskip("mujoco")

from mujoco_robots import CART, EVERYTHING, GRAVITY, STEP, Ball, Cart, Clock, actions_for, play  # noqa: E402

from AquaML.environment.mujoco import LogUniform, Normal, Uniform  # noqa: E402

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
