"""SARSA."""

from typing import Any, Dict, Mapping, Optional

import torch

from AquaML.learning.reinforcement.base import TensorDict
from AquaML.learning.reinforcement.tabular.base import TabularAgent
from AquaML.learning.reinforcement.tabular.tabular_cfg import TabularCfg
from AquaML.stateful import RUN, Stateful, require_keys


class Plan(Stateful):
    """What will be done next.

    Attributes:
        actions: ``(num_envs, 1)``; None: nothing is planned.
        holds: ``(num_envs, 1)`` bool, where the plan is to be followed.
    """

    def __init__(self) -> None:
        self.actions: Optional[torch.Tensor] = None
        self.holds: Optional[torch.Tensor] = None

    def state_dict(self) -> Dict[str, Any]:
        """Return the plan."""
        return {"actions": self.actions, "holds": self.holds}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check that both are there."""
        require_keys(state, ("actions", "holds"), "plan")

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on with a saved plan."""
        self.actions, self.holds = state["actions"], state["holds"]


class SARSA(TabularAgent):
    """SARSA (Rummery and Niranjan, 1994): learns what its own behaviour is worth, exploration included.

    The action that comes next is drawn when a step is learned from, and then taken, unless the episode has ended.
    """

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[TabularCfg] = None) -> None:
        super().__init__(models, cfg)
        self.plan = Plan()
        self.register_part("plan", self.plan, RUN)

    def act(self, states: TensorDict, timestep: int, timesteps: int) -> TensorDict:
        """Take the planned actions, and choose others where an episode begins."""
        chosen = super().act(states, timestep, timesteps)
        plan = self.plan
        if not self.is_training or self.is_deterministic or plan.actions is None or plan.holds is None:
            return chosen
        name, fresh = next(iter(chosen.items()))
        return {name: torch.where(plan.holds, plan.actions, fresh)}

    def following_values(self, rows: torch.Tensor, timestep: int, timesteps: int) -> torch.Tensor:
        """Return the value of the action that is taken next, and plan it."""
        planned = self._explore(rows, self.exploration(timestep, timesteps))
        self.plan.actions, self.plan.holds = planned, torch.ones_like(planned, dtype=torch.bool)
        return self._require_table().values[rows, planned[:, 0]]

    def on_reset(self, mask: torch.Tensor) -> None:
        """Forget the plan where an episode begins."""
        if self.is_training and self.plan.holds is not None:
            self.plan.holds = self.plan.holds & ~mask

    def on_interruption(self) -> None:
        """Forget all plans."""
        self.plan.actions = self.plan.holds = None
