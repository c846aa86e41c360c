"""Where an agent keeps the recurrent states of its models."""

from typing import Any, Dict, List, Mapping, Optional

import torch

from AquaML.environment.base import TensorDict
from AquaML.errors import AgentError, StateError
from AquaML.learning.memory.block_states import StatesByRole
from AquaML.learning.model.base import Model
from AquaML.learning.model.sequences import RESETS, cleared
from AquaML.stateful import Stateful, require_keys, tensor_differences

TRAINING, EVALUATION, PREDICTION = "training", "evaluation", "prediction"
"""Who acts; each has states of its own, so that none disturbs another."""


class _Present:
    """States of one caller as they go into the next step, and where an episode begins with it."""

    def __init__(self, states: StatesByRole, begins: torch.Tensor) -> None:
        self.states = states
        self.begins = begins


class RecurrentStates(Stateful):
    """The states of all recurrent models, for each caller.

    Those of training are part of a run; evaluation and prediction begin anew in each process.

    Args:
        models: Role to model, for models with a recurrent state.
        device: Where the states live.
    """

    def __init__(self, models: Mapping[str, Model], device: torch.device) -> None:
        self.shapes = {role: dict(model.recurrent_state) for role, model in models.items()}
        self.device = device
        self._present: Dict[str, _Present] = {}

    @property
    def roles(self) -> List[str]:
        """Roles of the recurrent models."""
        return list(self.shapes)

    def begin(self, caller: str, mask: torch.Tensor) -> None:
        """Clear the states where episodes begin.

        Args:
            caller: Whose states.
            mask: ``(num_envs, 1)`` bool. Where another number of environments had states before, all begin.
        """
        present = self._present.get(caller)
        if present is None or len(present.begins) != len(mask):
            self._present[caller] = self._fresh(len(mask))
            return
        present.begins = present.begins | mask
        present.states = {
            role: {name: cleared(state, mask) for name, state in states.items()}
            for role, states in present.states.items()
        }

    def _fresh(self, rows: int) -> _Present:
        states = {
            role: {name: torch.zeros((rows,) + tuple(shape), device=self.device) for name, shape in named.items()}
            for role, named in self.shapes.items()
        }
        return _Present(states, torch.ones((rows, 1), dtype=torch.bool, device=self.device))

    def enter(self, caller: str, rows: int) -> StatesByRole:
        """Return what goes into the next step, by role; :data:`RESETS` is among it.

        Raises:
            AgentError: There are states for another number of rows.
        """
        if caller not in self._present:
            self._present[caller] = self._fresh(rows)
        present = self._present[caller]
        if len(present.begins) != rows:
            raise AgentError(
                "The recurrent states of {} are those of {} environments, but {} are to act; call on_reset(mask) with "
                "a mask of ({}, 1) when other environments begin.".format(caller, len(present.begins), rows, rows)
            )
        return {role: dict(states, **{RESETS: present.begins}) for role, states in present.states.items()}

    def leave(self, caller: str, outputs: Mapping[str, TensorDict]) -> None:
        """Take over the states after a step.

        Args:
            caller: Whose states.
            outputs: Role to what its model returned; a role that is missing was not asked, and keeps its states.
        """
        present = self._present[caller]
        for role, named in outputs.items():
            present.states[role] = {name: named[name].detach() for name in self.shapes[role]}
        present.begins = torch.zeros_like(present.begins)

    def of(self, caller: str, role: str) -> TensorDict:
        """Return the present states of one model, ``(num_envs, *shape)``."""
        return self._present[caller].states[role]

    def forget(self, caller: Optional[str] = None) -> None:
        """Forget the states of a caller; None: of all."""
        for name in list(self._present) if caller is None else [caller]:
            self._present.pop(name, None)

    def state_dict(self) -> Dict[str, Any]:
        """Return the states of training; empty before its first step."""
        present = self._present.get(TRAINING)
        if present is None:
            return {"begins": None, "states": {}}
        states = {role: {name: state.clone() for name, state in s.items()} for role, s in present.states.items()}
        return {"begins": present.begins.clone(), "states": states}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare roles, names and shapes."""
        require_keys(state, ("begins", "states"), "recurrent states")
        if state["begins"] is None:
            return
        require_keys(state["states"], self.shapes, "recurrent states")
        expected = self._fresh(len(state["begins"]))
        lines = tensor_differences({"begins": expected.begins}, {"begins": state["begins"]})
        for role, named in expected.states.items():
            lines += tensor_differences(named, state["states"][role])
        if lines:
            raise StateError("recurrent states: {}".format("; ".join(lines)))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over the states of training."""
        self.forget(TRAINING)
        if state["begins"] is not None:
            states = {
                role: {name: value.to(self.device).clone() for name, value in named.items()}
                for role, named in state["states"].items()
            }
            self._present[TRAINING] = _Present(states, state["begins"].to(self.device).clone())
