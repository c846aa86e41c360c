"""``wrap_env`` recognises what it is given."""

from typing import Any

import gymnasium
import pytest
from conformance import simulator_of
from isaac_gym_stand_in import VecTaskStandIn
from isaac_lab_stand_in import IsaacLabStandIn, MjlabStandIn
from maniskill_stand_in import ManiSkillStandIn
from pettingzoo_stand_in import ParallelStandIn
from rsl_rl_stand_in import GenesisStandIn, LeggedGymStandIn

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.wrap import KINDS, wrap_env
from AquaML.errors import EnvironmentContractError

STAND_INS = {
    "isaac_gym": VecTaskStandIn,
    "legged_gym": LeggedGymStandIn,
    "rsl_rl": GenesisStandIn,
    "isaac_lab": IsaacLabStandIn,
    "mjlab": lambda number: MjlabStandIn(number, auto_reset=True),
    "pettingzoo": ParallelStandIn,
}


@pytest.mark.parametrize("kind", list(STAND_INS))
@pytest.mark.parametrize("named", [True, False])
def test_each_kind_gets_its_wrapper(kind: str, named: bool) -> None:
    environment = STAND_INS[kind](3)
    wrapper = wrap_env(environment, kind=kind if named else "auto")
    assert type(wrapper).__name__ == KINDS[kind].wrapper[1]
    assert simulator_of(wrapper) is environment


def test_maniskill_is_known_by_what_it_wraps() -> None:
    class Bare:
        elapsed_steps = 0

        def get_state_dict(self) -> Any:
            return {}

    environment: Any = ManiSkillStandIn(2)
    environment.unwrapped = Bare()
    assert type(wrap_env(environment)).__name__ == "ManiSkillWrapper"


def test_brax_is_known_by_its_class() -> None:
    pytest.importorskip("jax")
    import brax_stand_in

    wrapper = wrap_env(brax_stand_in.PointMassEnvironment(), num_envs=2)
    assert type(wrapper).__name__ == "BraxWrapper" and wrapper.num_envs == 2


@pytest.mark.parametrize(
    "environment",
    [
        "Pendulum-v1",
        lambda: gymnasium.make("Pendulum-v1"),
        gymnasium.make("Pendulum-v1"),
        gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("Pendulum-v1")] * 2),
    ],
    ids=["id", "function", "environment", "vector"],
)
def test_everything_of_gymnasium_is_gymnasiums(environment: Any) -> None:
    wrapper = wrap_env(environment)
    assert isinstance(wrapper, GymnasiumWrapper) and wrapper.action_layout.specs["action"].high.tolist() == [2.0]
    # A vector environment is a gymnasium.Env in old versions, and yet not taken for a single one.
    assert wrapper.num_envs == (2 if hasattr(environment, "num_envs") else 1)


def test_options_go_to_the_wrapper_and_a_wrapper_stays() -> None:
    wrapper = wrap_env("Pendulum-v1", num_envs=3, action_bounds="rescale")
    assert (wrapper.num_envs, wrapper.action_bounds) == (3, "rescale")
    assert wrap_env(wrapper) is wrapper
    with pytest.raises(EnvironmentContractError, match="GymnasiumWrapper is a wrapper already, so num_envs"):
        wrap_env(wrapper, num_envs=4)


def test_what_is_not_known_is_told_what_was_looked_for() -> None:
    class Nothing:
        def step(self) -> None:
            pass

    with pytest.raises(EnvironmentContractError) as caught:
        wrap_env(Nothing())
    message = str(caught.value)
    assert "Nothing is none of the environments" in message
    assert "  isaac_gym: zero_actions, progress_buf, reset_buf, rl_device\n" in message
    assert "  gymnasium: observation_space, action_space, reset\n" in message
    with pytest.raises(EnvironmentContractError, match="There is no kind 'isaac_lap'. Did you mean 'isaac_lab'?"):
        wrap_env(Nothing(), kind="isaac_lap")


def test_a_named_kind_that_is_wrong_says_what_is_missing() -> None:
    with pytest.raises(EnvironmentContractError, match="GenesisStandIn has no observation_space, action_space"):
        wrap_env(GenesisStandIn(2), kind="isaac_gym")
