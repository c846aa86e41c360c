"""What wrappers of simulators do in a step: few operations of torch, however many environments, and nothing is read."""

from typing import Any, Dict, List

import pytest
import torch
from isaac_gym_stand_in import VecTaskStandIn
from isaac_lab_stand_in import IsaacLabStandIn, MjlabStandIn
from maniskill_stand_in import ManiSkillStandIn
from rsl_rl_stand_in import GenesisStandIn, LeggedGymStandIn
from worlds import ClockWorld

from AquaML.environment.isaac_gym_envs import IsaacGymWrapper
from AquaML.environment.isaac_lab_envs import IsaacLabWrapper, MjlabWrapper
from AquaML.environment.legged_gym_envs import LeggedGymWrapper
from AquaML.environment.maniskill_envs import ManiSkillWrapper
from AquaML.environment.rsl_rl_envs import RslRlVecEnvWrapper

dispatch = pytest.importorskip("torch.utils._python_dispatch")
MOST = 15
READS = ("_local_scalar_dense", "nonzero", "equal", "masked_select")
VIEWS = ("detach", "expand", "view", "_unsafe_view", "select", "slice", "unsqueeze", "alias", "lift_fresh")
"""These compute nothing."""


class Operations(getattr(dispatch, "TorchDispatchMode", object)):  # type: ignore[misc, name-defined]
    """Notes the operations that reach torch's dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.names: List[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def shows_operations() -> bool:
    """Whether this torch shows its operations to a mode that is entered like a context, as from 2.0 on."""
    try:
        with Operations() as operations:
            torch.zeros(1).add(1.0)
    except (AttributeError, TypeError):
        return False
    return "add" in operations.names


pytestmark = pytest.mark.skipif(not shows_operations(), reason="this torch cannot show its operations")


class Recorded:
    """Shows a stand-in's last step again and again, so that only the wrapper's own operations are counted."""

    def __init__(self, environment: Any, action: torch.Tensor, steps: int) -> None:
        self._environment = environment
        self._results = [environment.step(action.clone()) for _ in range(steps)]
        self._next = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    @property
    def unwrapped(self) -> Any:
        return self

    def step(self, actions: torch.Tensor) -> Any:
        self._next += 1
        return self._results[self._next % len(self._results)]


WRAPPERS: Dict[str, Any] = {
    "isaac_gym next_step": (VecTaskStandIn, {}, lambda env: IsaacGymWrapper(env, autoreset="next_step")),
    "isaac_gym same_step": (
        VecTaskStandIn,
        {"resets": "same_step"},
        lambda env: IsaacGymWrapper(env, autoreset="same_step"),
    ),
    "rsl_rl": (GenesisStandIn, {}, lambda env: RslRlVecEnvWrapper(env, clip_actions=1.0)),
    "legged_gym": (LeggedGymStandIn, {}, lambda env: LeggedGymWrapper(env, clip_actions=1.0)),
    "isaac_lab": (IsaacLabStandIn, {}, lambda env: IsaacLabWrapper(env, clip_actions=1.0)),
    "isaac_lab final_obs": (IsaacLabStandIn, {"compute_final_obs": True}, lambda env: IsaacLabWrapper(env)),
    "mjlab": (MjlabStandIn, {}, lambda env: MjlabWrapper(env, clip_actions=1.0)),
    "maniskill": (
        ManiSkillStandIn,
        {"nested": True},
        lambda env: ManiSkillWrapper(env, names={"critic": "privileged"}),
    ),
}


def recorded(name: str, num_envs: int, world: Any = ClockWorld) -> Recorded:
    """Return a stand-in's recorded steps."""
    stand_in, settings, _ = WRAPPERS[name]
    environment = stand_in(num_envs, world=world, **settings)
    environment.reset()
    if hasattr(environment, "reset_idx"):
        environment.reset_idx(torch.arange(num_envs))
    return Recorded(environment, torch.zeros(num_envs, environment.world.action_size), 20)


def wrapped(name: str, num_envs: int) -> Any:
    """Return a wrapper over recorded steps, far enough that what is looked at once has been."""
    wrapper = WRAPPERS[name][2](recorded(name, num_envs))
    wrapper.reset()
    for _ in range(40):
        wrapper.step({"action": torch.zeros(num_envs, 1)})
    return wrapper


def operations_of_steps(wrapper: Any, steps: int = 20) -> List[List[str]]:
    """Return the names of the operations in each step."""
    recorded = []
    actions = {"action": torch.zeros(wrapper.num_envs, 1)}
    for _ in range(steps):
        with Operations() as operations:
            wrapper.step(actions)
        recorded.append([name for name in operations.names if name not in VIEWS])
    return recorded


@pytest.mark.parametrize("name", list(WRAPPERS))
def test_a_step_is_few_operations_however_many_environments(name: str) -> None:
    few = operations_of_steps(wrapped(name, 4))
    many = operations_of_steps(wrapped(name, 1024))
    assert 3 <= max(map(len, few)) <= MOST, max(few, key=len)
    # With more environments there are more steps in which something is logged, but none that does more.
    assert max(map(len, many)) <= MOST, max(many, key=len)


@pytest.mark.parametrize("name", list(WRAPPERS))
def test_a_step_reads_nothing_back(name: str) -> None:
    for names in operations_of_steps(wrapped(name, 64)):
        assert not set(names) & set(READS), names
