"""The ranges of all actions of an agent whose actions are bounded real numbers."""

from typing import Dict, Mapping

import torch

from AquaML.environment.base import TensorDict
from AquaML.environment.spaces import BOX, TensorSpec
from AquaML.errors import AgentError
from AquaML.learning.model.action_range import ActionRange


class ActionRanges:
    """Translates actions by name between their own units and places in -1 … 1.

    Args:
        specs: Action name to specification, as the policy has to fill it.
        owner: The agent's class, for messages.
        device: Where actions live.

    Attributes:
        dimensions: Number of all actions' entries.
        log_half_widths: Sum over them of the logarithm of half the range.

    Raises:
        AgentError: An action is of another kind, or has no bounds.
    """

    def __init__(self, specs: Mapping[str, TensorSpec], owner: str, device: torch.device) -> None:
        self._ranges: Dict[str, ActionRange] = {}
        for name, spec in specs.items():
            if spec.kind != BOX or not spec.is_floating or not spec.is_bounded:
                raise AgentError(
                    "{} learns bounded actions of real numbers, but action '{}' is {}. Use DQN or PPO for categories; "
                    "give the wrapper bounds (clip_actions) where there are none.".format(
                        owner, name, spec.kind if spec.kind != BOX else "a Box of {} without bounds".format(spec.dtype)
                    )
                )
            self._ranges[name] = ActionRange().to(device)
            self._ranges[name].bind({name: spec}, owner)
        self.dimensions = sum(spec.size for spec in specs.values())
        self.log_half_widths = sum(float((item.width / 2.0).log().sum()) for item in self._ranges.values())

    def to_symmetric(self, actions: TensorDict) -> TensorDict:
        """Return where actions lie in their ranges, as numbers from -1 to 1."""
        return {name: self._ranges[name].to_symmetric(values) for name, values in actions.items()}

    def moved(self, actions: TensorDict, by: TensorDict) -> TensorDict:
        """Return actions moved by some half widths, but not out of their ranges."""
        return {name: self._ranges[name].moved(values, by[name]) for name, values in actions.items()}
