"""Environments that speak rsl_rl's ``VecEnv``, of every version: Genesis, and many projects of their own."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch
from loguru import logger

from AquaML.environment.leaf_names import rename_leaves
from AquaML.environment.simulator_buffers import SimulatorBuffer
from AquaML.environment.simulator_wrapper import SimulatorWrapper, require_attributes, seed_torch
from AquaML.environment.spaces import (
    ACTION_NAME,
    OBSERVATION_NAME,
    PRIVILEGED_NAME,
    SpaceLayout,
    Structure,
    TensorSpec,
    leaf_names,
    unbounded_leaf,
)
from AquaML.environment.tensor_actions import limit_actions
from AquaML.errors import EnvironmentContractError, did_you_mean

USUAL_NAMES = {
    "policy": OBSERVATION_NAME,
    "actor": OBSERVATION_NAME,
    "obs": OBSERVATION_NAME,
    "critic": PRIVILEGED_NAME,
}
"""What rsl_rl's groups are called in AquaML."""
_READ = ("num_envs", "num_actions", "device", "step", "get_observations")


class VecEnvStep(NamedTuple):
    """What ``step`` returned, whatever the version.

    Attributes:
        observations: Group to tensor, or to further groups.
        rewards: ``(num_envs,)``.
        dones: ``(num_envs,)``.
        extras: The dictionary of everything else.
    """

    observations: Any
    rewards: torch.Tensor
    dones: torch.Tensor
    extras: Mapping[str, Any]


class RslRlVecEnvWrapper(SimulatorWrapper):
    """An environment that speaks rsl_rl's ``VecEnv`` behind AquaML's step contract.

    Observations may be a TensorDict or dictionary of groups (rsl_rl 3 and newer), or a tensor with further groups in
    ``extras["observations"]`` (before). The groups ``"policy"``, ``"actor"`` and ``"obs"`` are called ``"state"``,
    ``"critic"`` is called ``"privileged"``. ``extras["time_outs"]`` counts only where an episode ended, and there it
    wins over a failure in the same step, which the interface does not show. Such environments reset themselves in the
    same step and hide the last observation, unless they hand it over in ``extras["final_obs"]``, or as
    ``extras["terminal"]`` with ``"env_ids"`` and ``"observations"``.

    Random numbers come from torch's global generators: ``reset(seed=...)`` seeds them.

    Args:
        env: The environment.
        names: The environment's name of a group or observation to yours.
        obs_groups: rsl_rl's mapping of observation sets to groups, such as ``{"actor": ["policy"], "critic": ["policy",
            "scan"]}``: the only group of the actor is then called ``"state"``, the only further one of the critic
            ``"privileged"``, and :attr:`observation_groups` tells the names for ``ModelCfg.inputs_name``.
        action_bounds: See :class:`~AquaML.environment.simulator_wrapper.SimulatorWrapper`.
        clip_actions: The bound of actions on both sides; None: they have none.
        finite_horizon: True if the time limit is part of the task: reaching it then counts as termination.
        random_initial_length: Whether the first episodes after :meth:`reset` begin at a random age
            (``episode_length_buf``), so that time limits do not all fall into one step.
        gives_final_observation: Whether ``extras`` hands over last observations.

    Attributes:
        observation_groups: Name of an observation set to the names of its observations; empty without ``obs_groups``.

    Raises:
        EnvironmentContractError: The environment lacks what is read here, or an argument does not fit it.
        SpaceError: A name is unknown, or two observations end up with the same.
    """

    _read: Tuple[str, ...] = _READ

    def __init__(
        self,
        env: Any,
        names: Optional[Mapping[str, str]] = None,
        obs_groups: Optional[Mapping[str, Sequence[str]]] = None,
        action_bounds: str = "clip",
        clip_actions: Optional[float] = None,
        finite_horizon: bool = False,
        random_initial_length: bool = False,
        gives_final_observation: bool = False,
    ) -> None:
        require_attributes(env, self._read, type(self).__name__)
        limit = _time_limit(getattr(env, "max_episode_length", None))
        if random_initial_length and (limit is None or not hasattr(env, "episode_length_buf")):
            raise EnvironmentContractError(
                "random_initial_length writes episode_length_buf up to max_episode_length; {} has no such pair.".format(
                    type(env).__name__
                )
            )
        theirs = layout_of_tensors(self._begin(env))
        sets = {name: list(groups) for name, groups in (obs_groups or {}).items()}
        usual = dict(USUAL_NAMES, **_names_by_sets(sets, theirs))
        ours = rename_leaves(theirs, usual, names)
        actions = SpaceLayout({ACTION_NAME: unbounded_leaf(ACTION_NAME, (int(env.num_actions),))}, ACTION_NAME)
        super().__init__(
            env,
            type(env).__name__,
            int(env.num_envs),
            ours,
            limit_actions(actions, clip_actions),
            env.device,
            action_bounds,
            finite_horizon,
        )
        self.max_episode_length = limit
        self.gives_final_observation = gives_final_observation
        items = ours.structure["items"] if isinstance(ours.structure, dict) else {}
        self.observation_groups: Dict[str, List[str]] = {
            name: [leaf for group in groups for leaf in leaf_names(items[group])] for name, groups in sets.items()
        }
        self._random_initial_length = random_initial_length
        self._warned_no_reset = False

    # ------------------------------------------------------------------ what differs between versions

    def _begin(self, env: Any) -> Any:
        """Reset if the environment can be, and return the first observations by group."""
        result = env.reset() if callable(getattr(env, "reset", None)) else None
        if result is None:
            result = env.get_observations()
        observations, extras = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        if isinstance(extras, torch.Tensor):
            raise EnvironmentContractError(
                "{}.reset() returned two tensors, the second of which are privileged observations; use "
                "LeggedGymWrapper.".format(type(env).__name__)
            )
        return by_group(observations, extras)

    def _unpack(self, result: Any) -> VecEnvStep:
        """Name the parts of what ``step`` returned."""
        if not isinstance(result, tuple) or len(result) != 4:
            raise EnvironmentContractError(
                "{}.step() returned {}; expected (observations, rewards, dones, extras). For five values or more, with "
                "privileged observations in the second place, use LeggedGymWrapper.".format(
                    self.name, "{} values".format(len(result)) if isinstance(result, tuple) else type(result).__name__
                )
            )
        observations, rewards, dones, extras = result
        return VecEnvStep(by_group(observations, extras), rewards, dones, extras)

    # ------------------------------------------------------------------ the step contract

    def restart(self, seed: Optional[int], out: SimulatorBuffer) -> None:
        """Start a new episode everywhere, if the environment can do so."""
        env = self.environment
        seed_torch(seed)
        if self._started and not callable(getattr(env, "reset", None)) and not self._warned_no_reset:
            self._warned_no_reset = True
            logger.warning("{} has no reset(): running episodes go on where new ones were asked for.", self.name)
        observations = self._begin(env)
        # What is logged of episodes that were cut off here belongs to no step.
        self._scalars(logged_of(getattr(getattr(env, "unwrapped", env), "extras", {})))
        if self._random_initial_length:
            self._spread_ages(env.episode_length_buf)
        out.store_observations(observations)

    def advance(self, actions: Any, out: SimulatorBuffer) -> None:
        """Step the environment."""
        result = self._unpack(self.environment.step(actions))
        out.store_rewards(result.rewards)
        out.store_done(result.dones, result.extras.get("time_outs"))
        store_handed_over(result.extras, out)
        out.store_observations(result.observations)
        out.log = self._scalars(logged_of(result.extras))


def logged_of(extras: Mapping[str, Any]) -> Any:
    """Return the scalars of episodes that ended; the older name is ``"episode"``."""
    return extras.get("log", extras.get("episode"))


def store_handed_over(extras: Mapping[str, Any], out: SimulatorBuffer) -> None:
    """Store last observations that a simulator puts into ``extras``, in either of the two forms in use."""
    final = extras.get("final_obs")
    if final is not None:
        out.store_final(final)
    terminal = extras.get("terminal")
    if terminal is not None:
        out.store_final_rows(terminal["env_ids"], terminal["observations"])


def by_group(observations: Any, extras: Optional[Mapping[str, Any]]) -> Any:
    """Return observations by group; before rsl_rl 3, further groups are in ``extras["observations"]``."""
    if hasattr(observations, "keys"):
        return observations
    further = dict((extras or {}).get("observations", {}))
    further.pop("policy", None)
    return {"policy": observations, **further}


def layout_of_tensors(observations: Any) -> SpaceLayout:
    """Describe observations by their tensors ``(num_envs, *shape)``, where a simulator declares no space.

    Raises:
        SpaceError: A leaf is no tensor of numbers.
    """
    specs: Dict[str, TensorSpec] = {}
    return SpaceLayout(specs, _describe(observations, "", specs))


def _describe(observations: Any, name: str, specs: Dict[str, TensorSpec]) -> Structure:
    if hasattr(observations, "keys"):
        keys = [str(key) for key in observations.keys()]  # noqa: SIM118 - a TensorDict iterates over its rows
        items = {key: _describe(observations[key], "{}/{}".format(name, key) if name else key, specs) for key in keys}
        return {"kind": "Dict", "items": items}
    shape = tuple(observations.shape[1:])
    specs[name] = unbounded_leaf(name, shape, str(observations.dtype).replace("torch.", ""))
    return name


def _names_by_sets(sets: Mapping[str, Sequence[str]], layout: SpaceLayout) -> Dict[str, str]:
    """Return AquaML's names for the groups of the actor and the critic."""
    known = list(layout.structure["items"]) if isinstance(layout.structure, dict) else []
    for name, groups in sets.items():
        for group in groups:
            if group not in known:
                raise EnvironmentContractError(
                    "obs_groups['{}'] names the group '{}', which the environment does not have.{}".format(
                        name, group, did_you_mean(group, known)
                    )
                )
    actor = sets.get("actor", sets.get("policy", []))
    further = [group for group in sets.get("critic", []) if group not in actor]
    names = {actor[0]: OBSERVATION_NAME} if len(actor) == 1 else {}
    if len(further) == 1:
        names[further[0]] = PRIVILEGED_NAME
    return names


def _time_limit(limit: Any) -> Optional[int]:
    """Return the time limit, the shortest where environments have several."""
    if limit is None:
        return None
    return int(limit.min()) if isinstance(limit, torch.Tensor) else int(limit)
