"""Isaac Lab and mjlab: direct and manager-based environments."""

from typing import Any, Dict, Mapping, Optional

import torch

from AquaML.environment.leaf_names import rename_leaves
from AquaML.environment.rsl_rl_envs import USUAL_NAMES, layout_of_tensors, logged_of, store_handed_over
from AquaML.environment.simulator_buffers import SimulatorBuffer
from AquaML.environment.simulator_wrapper import SimulatorWrapper, require_attributes
from AquaML.environment.spaces import ACTION_NAME, SpaceLayout, TensorSpec, layout_of
from AquaML.environment.tensor_actions import limit_actions
from AquaML.errors import EnvironmentContractError

_READ = ("num_envs", "device", "single_action_space", "cfg")


class IsaacLabWrapper(SimulatorWrapper):
    """An environment of Isaac Lab, direct or manager-based, behind AquaML's step contract.

    The group ``"policy"`` is called ``"state"``, ``"critic"`` is called ``"privileged"``; a group whose terms are not
    concatenated gives ``"state/<term>"``. Other groups keep their names.

    Isaac Lab resets in the same step. With ``cfg.compute_final_obs = True`` it hands over the last observation of an
    episode; without, the value of the one before it stands in at time limits. ``cfg.is_finite_horizon`` makes time
    limits terminal.

    Args:
        env: What ``gymnasium.make`` returned, or the environment itself.
        names: The environment's name of a group or observation to yours.
        action_bounds: See :class:`~AquaML.environment.simulator_wrapper.SimulatorWrapper`.
        clip_actions: The bound of actions on both sides; None: as the action space says, which usually has none.
        finite_horizon: Whether reaching the time limit counts as termination; None: as ``cfg.is_finite_horizon`` says.
        random_initial_length: Whether the first episodes after :meth:`reset` begin at a random age
            (``episode_length_buf``), so that time limits do not all fall into one step.

    Raises:
        EnvironmentContractError: The environment lacks what is read here.
        SpaceError: A name is unknown, or two observations end up with the same.
    """

    def __init__(
        self,
        env: Any,
        names: Optional[Mapping[str, str]] = None,
        action_bounds: str = "clip",
        clip_actions: Optional[float] = None,
        finite_horizon: Optional[bool] = None,
        random_initial_length: bool = False,
    ) -> None:
        bare = getattr(env, "unwrapped", env)
        require_attributes(bare, _READ, type(self).__name__)
        self._bare = bare
        limit = getattr(bare, "max_episode_length", None)
        if random_initial_length and (limit is None or not hasattr(bare, "episode_length_buf")):
            raise EnvironmentContractError(
                "random_initial_length writes episode_length_buf up to max_episode_length; {} has no such pair.".format(
                    type(bare).__name__
                )
            )
        if finite_horizon is None:
            finite_horizon = bool(getattr(bare.cfg, "is_finite_horizon", False))
        declared = getattr(bare, "single_observation_space", None)
        theirs = _layout(env.reset()[0], getattr(declared, "spaces", None) or {})
        super().__init__(
            env,
            _name_of(env, bare),
            int(bare.num_envs),
            rename_leaves(theirs, USUAL_NAMES, names),
            limit_actions(layout_of(bare.single_action_space, ACTION_NAME), clip_actions),
            bare.device,
            action_bounds,
            finite_horizon,
        )
        self.max_episode_length = None if limit is None else int(limit)
        self.gives_final_observation = self._hands_over_final()
        self._random_initial_length = random_initial_length

    def _hands_over_final(self) -> bool:
        return bool(getattr(self._bare.cfg, "compute_final_obs", False))

    def restart(self, seed: Optional[int], out: SimulatorBuffer) -> None:
        """Start a new episode everywhere; Isaac Lab seeds Python's, numpy's and torch's global generators."""
        observations, extras = self.environment.reset(seed=seed)
        # What is logged of episodes that were cut off here belongs to no step.
        self._scalars(logged_of(extras))
        if self._random_initial_length:
            self._spread_ages(self._bare.episode_length_buf)
        out.store_observations(observations)

    def advance(self, actions: Any, out: SimulatorBuffer) -> None:
        """Step the environment."""
        observations, rewards, terminated, truncated, extras = self.environment.step(actions)
        out.store_rewards(rewards)
        out.store_flags(terminated, truncated)
        store_handed_over(extras, out)
        out.store_observations(observations)
        out.log = self._scalars(logged_of(extras))


class MjlabWrapper(IsaacLabWrapper):
    """An environment of mjlab behind AquaML's step contract; what it shares with Isaac Lab is most of it.

    The group ``"actor"`` (or ``"policy"``) is called ``"state"``, ``"critic"`` is called ``"privileged"``.

    With ``cfg.auto_reset = False`` this wrapper resets what has ended, and so knows the last observation of every
    episode, at the price of one read from the device in each step. Otherwise mjlab resets in the same step and hides
    it, unless it hands it over in ``extras["terminal"]`` (``cfg.capture_terminal_observations``).

    Args:
        env: The environment.
        **options: As of :class:`IsaacLabWrapper`.
    """

    def _hands_over_final(self) -> bool:
        cfg = self._bare.cfg
        self._resets_here = not getattr(cfg, "auto_reset", True)
        return self._resets_here or bool(getattr(cfg, "capture_terminal_observations", False))

    def advance(self, actions: Any, out: SimulatorBuffer) -> None:
        """Step the environment, and reset what has ended if it does not do so itself."""
        super().advance(actions, out)
        if self._resets_here:
            ended = torch.nonzero(out.done[:, 0])[:, 0].to(self.simulator_device)
            if len(ended):
                out.move_to_final()
                observations, extras = self.environment.reset(env_ids=ended)
                out.store_observations(observations)
                # mjlab logs episodes when they are reset, and forgets it with the next step.
                out.log.update(self._scalars(logged_of(extras)))


def _layout(observations: Mapping[str, Any], declared: Mapping[str, Any]) -> SpaceLayout:
    """Describe groups by their declared spaces, and those that have none by their tensors."""
    specs: Dict[str, TensorSpec] = {}
    items = {}
    for group in observations:
        space = declared.get(group)
        part = layout_of_tensors({group: observations[group]}) if space is None else _named(group, space)
        specs.update(part.specs)
        items[group] = part.structure["items"][group]  # type: ignore[index]
    return SpaceLayout(specs, {"kind": "Dict", "items": items})


def _named(group: str, space: Any) -> SpaceLayout:
    return layout_of(_Group({group: space}), group)


class _Group:
    """A Dict space by its attributes alone, so that no package of spaces is needed."""

    def __init__(self, spaces: Dict[str, Any]) -> None:
        self.spaces = spaces


def _name_of(env: Any, bare: Any) -> str:
    spec = getattr(env, "spec", None)
    return getattr(spec, "id", None) or type(bare).__name__
