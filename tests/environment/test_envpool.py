"""EnvPool by name: next-step reset, seeds given where the pool is made, and no exact resume."""

from typing import Any

import pytest
import torch

pytest.importorskip("envpool")

from AquaML import check_env
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import EnvironmentContractError

pytestmark = pytest.mark.filterwarnings("ignore:.*precision lowered.*")


def pool(name: str = "Pendulum-v1", **kwargs: Any) -> GymnasiumWrapper:
    return GymnasiumWrapper(name, vectorization="envpool", workers=1, **kwargs)


def test_rows_of_a_reset_are_no_data() -> None:
    wrapper = pool(num_envs=3, max_episode_steps=4)
    info = wrapper.getEnvInfo()
    assert info["vectorization"]["backend"] == "envpool" and info["max_episode_length"] == 4
    assert info["autoreset"] == "next_step" and info["has_invalid_rows"] and info["name"] == "Pendulum-v1"
    wrapper.reset(seed=3)
    for step in range(10):
        states, rewards, terminated, truncated, infos = wrapper.step(torch.full((3, 1), 0.5))
        assert bool(truncated.all()) == bool(truncated.any()) == (step % 5 == 3) and not terminated.any()
        assert bool(infos["valid"].all()) == bool(infos["valid"].any()) == (step % 5 != 4)
        assert bool((rewards == 0).all()) == (step % 5 == 4)
        assert infos["final_obs"] is None and infos["log"] == {}
    wrapper.reset()  # in the middle of a pending reset
    assert wrapper.step(torch.zeros(3, 1))[4]["valid"].all()


def test_the_dynamics_are_the_pendulums() -> None:
    wrapper = pool(num_envs=2)
    states = wrapper.reset(seed=0)[0]["state"].clone()
    angle, speed = torch.atan2(states[:, 1], states[:, 0]), states[:, 2]
    result, rewards, _, _, _ = wrapper.step(torch.full((2, 1), 1.5))
    torch.testing.assert_close(rewards[:, 0], -(angle**2 + 0.1 * speed**2 + 0.001 * 1.5**2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        result["state"][:, 2], speed + (15 * torch.sin(angle) + 3 * 1.5) * 0.05, rtol=1e-4, atol=1e-5
    )


def test_seeds() -> None:
    wrapper = pool(num_envs=3)
    first = wrapper.reset(seed=3)[0]["state"].clone()
    other = wrapper.reset(seed=9)[0]["state"].clone()
    again = wrapper.reset(seed=3)[0]["state"].clone()
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(wrapper.reset()[0]["state"], first)
    wrapper.close()


def test_state_evaluation_and_contract() -> None:
    wrapper = pool(num_envs=2, max_episode_steps=6)
    check_env(wrapper, steps=20)
    assert wrapper.get_state() is None
    spawned = wrapper.spawn(3)
    assert spawned.num_envs == 3 and spawned.max_episode_length == 6
    assert spawned.getEnvInfo()["vectorization"]["backend"] == "envpool"


def test_scalars_of_a_robot_are_logged() -> None:
    wrapper = pool("Ant-v5", num_envs=2)
    states, _ = wrapper.reset(seed=0)
    assert states["state"].shape == (2, 105) and states["state"].dtype == torch.float32
    log = wrapper.step(torch.zeros(2, 8))[4]["log"]
    assert "reward_forward" in log and not {"env_id", "elapsed_step", "players/env_id"} & set(log)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(name="Pendulm-v1"), r"no task 'Pendulm-v1'\. Did you mean 'Pendulum-v1'"),
        (dict(name="Nothing-like-it"), r"See envpool\.list_all_envs\(\)"),
        (dict(colour=3), r"cannot make 'Pendulum-v1' with the keywords \['colour'"),
        (dict(render_mode="rgb_array"), r"takes the name of one of its tasks and no render_mode"),
    ],
)
def test_misuse(arguments: Any, message: str) -> None:
    with pytest.raises(EnvironmentContractError, match=message):
        pool(**arguments)
