"""The step contract that every simulator is reduced to."""

import abc
from typing import Any, Dict, Optional, Tuple

import torch

from AquaML.environment.spaces import SpaceLayout, check_action_leaves
from AquaML.errors import EnvironmentContractError, StateError
from AquaML.stateful import Stateful, require_keys

TensorDict = Dict[str, torch.Tensor]
StepResult = Tuple[TensorDict, torch.Tensor, torch.Tensor, torch.Tensor, Dict[str, Any]]


class EnvironmentWrapper(Stateful, abc.ABC):
    """Base of all environment wrappers: a batch of environments that reset themselves.

    ``reset`` and ``step`` speak in dictionaries of tensors with ``num_envs`` rows on :attr:`device`. What ``step``
    returned stays unchanged until the second next ``step``.

    ``infos`` always has these keys:

    * ``"final_obs"``: a dict like the observations whose rows are the true last observations of the episodes that
      ended in this step (other rows are unspecified), or None when no episode ended, when the returned observations
      are themselves the last ones (``autoreset="next_step"``), or when the simulator hides them.
    * ``"valid"``: ``(num_envs, 1)`` bool, False for rows that only reset an environment and are no transition; None
      when all rows are transitions.
    * ``"log"``: name to a float32 tensor of scalars such as reward terms: ``(num_envs, 1)``, NaN where absent, or
      ``()`` where the simulator gives one number for the whole batch.

    Attributes:
        num_envs: Number of environments.
        device: Where returned tensors live.
        observation_layout: The observation space's leaves and nesting.
        action_layout: The action space's leaves and nesting.
        name: The environment's name.
        autoreset: ``"same_step"`` or ``"next_step"``, as seen by the caller of :meth:`step`.
        max_episode_length: The time limit in steps, or None.
        gives_final_observation: Whether the true last observation of an episode is known.
        has_invalid_rows: Whether ``"valid"`` can hold False.
        action_bounds: How actions meet their bounds: ``"clip"``, ``"rescale"`` or ``"none"``.
        evaluating: Whether an evaluation is playing, which counts whole episodes.
    """

    num_envs: int
    observation_layout: SpaceLayout
    action_layout: SpaceLayout
    name: str
    autoreset: str = "same_step"
    max_episode_length: Optional[int] = None
    gives_final_observation: bool = True
    has_invalid_rows: bool = False
    action_bounds: str = "none"
    evaluating: bool = False

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    @abc.abstractmethod
    def reset(self, seed: Optional[int] = None) -> Tuple[TensorDict, Dict[str, Any]]:
        """Start a new episode everywhere.

        Args:
            seed: Environment *i* is seeded with ``seed + i``; None continues the random streams.

        Returns:
            Observations and infos.
        """

    @abc.abstractmethod
    def step(self, actions: Any) -> StepResult:
        """Advance every environment by one step.

        Args:
            actions: Action name to ``(num_envs, *shape)`` tensor, or that tensor where there is one action. It is not
                changed.

        Returns:
            Next observations (what to act on next), rewards ``(num_envs, 1)`` float32, ``terminated`` and
            ``truncated`` ``(num_envs, 1)`` bool, never both, and infos.

        Raises:
            EnvironmentContractError: The actions or what the simulator returned break the contract.
        """

    def to(self, device: torch.device) -> None:
        """Move what is returned from now on to a device."""
        self.device = device

    def render(self) -> Any:
        """Show or return a picture of the environment.

        Raises:
            EnvironmentContractError: The wrapper cannot render.
        """
        raise EnvironmentContractError("{} cannot render.".format(type(self).__name__))

    def close(self) -> None:
        """Release the simulator; calling it twice is no error."""

    def spawn(self, num_envs: int) -> "EnvironmentWrapper":
        """Make independent environments of the same kind, for evaluation.

        Raises:
            EnvironmentContractError: The wrapper was given a made environment and cannot make another.
        """
        raise EnvironmentContractError(
            "{} cannot make another environment like '{}'; hand an evaluation environment to the trainer "
            "(evaluation_env=...).".format(type(self).__name__, self.name)
        )

    def getEnvInfo(self) -> Dict[str, Any]:  # noqa: N802 (the name is public API)
        """Return what an agent or reader needs to know about the environment.

        Returns:
            ``"observation_cfg"`` and ``"action_cfg"`` (name to :class:`~AquaML.environment.spaces.TensorSpec`, per
            environment), ``"observation_layout"``, ``"action_layout"``, ``"num_envs"``, ``"name"``, ``"device"``,
            ``"autoreset"``, ``"max_episode_length"``, ``"gives_final_observation"``, ``"has_invalid_rows"`` and
            ``"action_bounds"``.
        """
        return {
            "name": self.name,
            "num_envs": self.num_envs,
            "observation_cfg": self.observation_layout.specs,
            "action_cfg": self.action_layout.specs,
            "observation_layout": self.observation_layout,
            "action_layout": self.action_layout,
            "device": str(self.device),
            "autoreset": self.autoreset,
            "max_episode_length": self.max_episode_length,
            "gives_final_observation": self.gives_final_observation,
            "has_invalid_rows": self.has_invalid_rows,
            "action_bounds": self.action_bounds,
        }

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return the simulator's state for an exact resume, or None where that is impossible."""
        return None

    def set_state(self, state: Dict[str, Any]) -> bool:
        """Restore a state from :meth:`get_state`.

        Returns:
            Whether the environments stand exactly where they stood.
        """
        return False

    def state_dict(self) -> Dict[str, Any]:
        """Return the name, number of environments and simulator state."""
        return {"name": self.name, "num_envs": self.num_envs, "simulator": self.get_state()}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check that the state comes from as many environments of the same name."""
        require_keys(state, ("name", "num_envs", "simulator"), "environment")
        if state["name"] != self.name or state["num_envs"] != self.num_envs:
            raise StateError(
                "environment: saved from {} of '{}', this is {} of '{}'".format(
                    state["num_envs"], state["name"], self.num_envs, self.name
                )
            )

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Restore the simulator; :attr:`restored_exactly` tells whether that was possible."""
        simulator = state["simulator"]
        self.restored_exactly = simulator is not None and self.set_state(simulator)

    restored_exactly: bool = False

    def _named_actions(self, actions: Any) -> TensorDict:
        return check_action_leaves(self.action_layout.specs, actions, self.num_envs, "the agent")
