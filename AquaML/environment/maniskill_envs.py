"""ManiSkill: manipulation with SAPIEN, many environments on a GPU or one on the CPU."""

from typing import Any, Dict, Mapping, Optional, Union

import torch

from AquaML.environment.leaf_names import rename_leaves
from AquaML.environment.simulator_buffers import SimulatorBuffer
from AquaML.environment.simulator_wrapper import SimulatorWrapper, require_attributes, seed_torch
from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME, layout_of
from AquaML.errors import EnvironmentContractError, MissingDependencyError

_READ = ("num_envs", "single_observation_space", "single_action_space", "device", "auto_reset")
_FINAL = ("final_observation", "final_obs")


class ManiSkillWrapper(SimulatorWrapper):
    """A ``ManiSkillVectorEnv`` behind AquaML's step contract.

    A plain observation is called ``"state"``; a Dict (``obs_mode="state_dict"``, images) keeps its keys, nested ones
    joined by ``/``. ManiSkill resets in the same step and hands over the last observation.

    On the CPU ManiSkill has one environment. Several are Gymnasium's: put its ``CPUGymWrapper`` around each, and give a
    function that makes one, or an ``AsyncVectorEnv`` with reset in the same step, to
    :class:`~AquaML.environment.gymnasium_envs.GymnasiumWrapper`. Episodes after the first then draw from the process's
    torch generator, which their seed does not reach.

    Args:
        env: A ``ManiSkillVectorEnv`` with ``auto_reset=True``, an environment of ManiSkill, which is then wrapped in
            one, or a task's name for ``gymnasium.make``.
        names: The environment's name of an observation to yours.
        action_bounds: See :class:`~AquaML.environment.simulator_wrapper.SimulatorWrapper`.
        finite_horizon: True if the time limit is part of the task: reaching it then counts as termination.
        ignore_terminations: Whether success and failure do not end episodes; None: as the environment says. Only where
            this wrapper makes the ``ManiSkillVectorEnv``.
        **kwargs: Handed to ``gymnasium.make`` (a name only): ``num_envs``, ``obs_mode``, ``control_mode`` and so on.

    Raises:
        EnvironmentContractError: The arguments do not fit together.
        MissingDependencyError: ManiSkill is needed and not installed.
    """

    def __init__(
        self,
        env: Union[str, Any],
        names: Optional[Mapping[str, str]] = None,
        action_bounds: str = "clip",
        finite_horizon: bool = False,
        ignore_terminations: Optional[bool] = None,
        **kwargs: Any,
    ) -> None:
        vector = _vectorized(env, ignore_terminations, kwargs)
        require_attributes(vector, _READ, "ManiSkillWrapper")
        if not vector.auto_reset:
            raise EnvironmentContractError(
                "The ManiSkillVectorEnv was made with auto_reset=False; make it with auto_reset=True, its default."
            )
        observations = layout_of(vector.single_observation_space, OBSERVATION_NAME)
        super().__init__(
            vector,
            _name_of(vector),
            int(vector.num_envs),
            rename_leaves(observations, {}, names),
            layout_of(vector.single_action_space, ACTION_NAME),
            vector.device,
            action_bounds,
            finite_horizon,
        )
        self.max_episode_length = _time_limit(vector)

    def restart(self, seed: Optional[int], out: SimulatorBuffer) -> None:
        """Start a new episode everywhere; episodes after the first draw from torch's global generators."""
        seed_torch(seed)
        seeds = None if seed is None else [seed + index for index in range(self.num_envs)]
        out.store_observations(self.environment.reset(seed=seeds)[0])

    def advance(self, actions: Any, out: SimulatorBuffer) -> None:
        """Step the environments."""
        observations, rewards, terminated, truncated, infos = self.environment.step(actions)
        out.store_rewards(rewards)
        out.store_flags(terminated, truncated)
        final = next((infos[name] for name in _FINAL if name in infos), None)
        if final is not None:
            out.store_final(final)
            out.log = self._scalars_at_ends(infos.get("final_info", {}), out.done)
        out.store_observations(observations)

    def _scalars_at_ends(self, info: Mapping[str, Any], done: torch.Tensor) -> Dict[str, torch.Tensor]:
        """Return what is known of episodes that have ended, and NaN elsewhere."""
        running = torch.logical_not(done)
        numbers = self._scalars(info.get("episode", info))
        return {name: value.masked_fill_(running, float("nan")) for name, value in numbers.items() if value.dim() > 0}


def _vectorized(env: Any, ignore_terminations: Optional[bool], kwargs: Dict[str, Any]) -> Any:
    if hasattr(env, "auto_reset"):
        if kwargs or ignore_terminations is not None:
            raise EnvironmentContractError(
                "The vector environment is made already: {} have no effect; give them where it is made.".format(
                    ", ".join(list(kwargs) + ([] if ignore_terminations is None else ["ignore_terminations"]))
                )
            )
        return env
    try:
        import gymnasium
        import mani_skill.envs  # noqa: F401 - registers the tasks
        from mani_skill.vector.wrappers.gymnasium import ManiSkillVectorEnv
    except ImportError as error:
        raise MissingDependencyError(
            "ManiSkill is needed here and cannot be imported ({}): pip install mani_skill.".format(error)
        ) from error
    if not isinstance(env, str) and kwargs:
        raise EnvironmentContractError(
            "The environment is made already, so {} cannot be applied; give them where it is made.".format(
                ", ".join(kwargs)
            )
        )
    made = gymnasium.make(env, **kwargs) if isinstance(env, str) else env
    if _gives_arrays(made):
        raise EnvironmentContractError(
            "ManiSkillWrapper was given an environment in a CPUGymWrapper, which returns numpy arrays as Gymnasium "
            "does; give it to GymnasiumWrapper, or leave CPUGymWrapper out."
        )
    options = {} if ignore_terminations is None else {"ignore_terminations": ignore_terminations}
    return ManiSkillVectorEnv(made, auto_reset=True, record_metrics=True, **options)


def _gives_arrays(env: Any) -> bool:
    """Whether one of the wrappers around an environment turns its tensors into arrays without a batch."""
    while env is not None and type(env).__name__ != "CPUGymWrapper":
        env = getattr(env, "env", None)
    return env is not None


def _time_limit(vector: Any) -> Optional[int]:
    limit = getattr(vector, "max_episode_steps", None)
    if limit is None:
        try:
            from mani_skill.utils.gym_utils import find_max_episode_steps_value
        except ImportError:
            return None
        limit = find_max_episode_steps_value(vector)
    return None if limit is None else int(limit)


def _name_of(vector: Any) -> str:
    spec = getattr(vector, "spec", None)
    return getattr(spec, "id", None) or type(getattr(vector, "unwrapped", vector)).__name__
