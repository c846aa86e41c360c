"""An agent and a hook as users write them, with states of their own between steps."""

from typing import Any, Dict, List, Mapping

import torch

from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.trainers.hooks import Hook

Tensors = Dict[str, torch.Tensor]


class Steps:
    """The transitions since the last update: what an agent remembers and must therefore be saved."""

    def __init__(self) -> None:
        self.rows: List[Dict[str, Any]] = []

    def state_dict(self) -> Dict[str, Any]:
        """Return the rows."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over the rows."""
        self.rows = list(state["rows"])


class EpisodeGradient(Agent):
    """A policy gradient over the last twelve steps, with a noise that is correlated in time.

    Args:
        models: ``"policy"``.
    """

    required_models = ("policy",)
    LENGTH = 12

    def __init__(self, models: Mapping[str, Any]) -> None:
        super().__init__(models)
        self.optimizer = torch.optim.RMSprop(self.models["policy"].parameters(), lr=1e-3, momentum=0.5)
        self.register_part("optimizer", self.optimizer)
        self.steps = Steps()
        self.register_part("steps", self.steps, "run")

    def act(self, states: Tensors, timestep: int, timesteps: int) -> Any:
        """Draw actions."""
        with torch.no_grad():
            policy = self.models["policy"]
            inputs = policy.select_inputs(states)
            outputs = policy.act_deterministic(inputs) if self.is_deterministic else policy.act(inputs)
        return outputs["actions"]

    def record_transition(
        self,
        states: Tensors,
        actions: Tensors,
        rewards: torch.Tensor,
        next_states: Tensors,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        infos: Dict[str, Any],
        timestep: int,
        timesteps: int,
    ) -> None:
        """Remember the step, and report its reward."""
        self.steps.rows.append(
            {
                "states": {name: value.clone() for name, value in states.items()},
                "actions": {name: value.clone() for name, value in actions.items()},
                "rewards": rewards.clone(),
            }
        )
        self.track("reward/mean", rewards.mean())
        self.track("steps/number", len(self.steps.rows))

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        """Learn from the last steps."""
        rows = self.steps.rows
        if len(rows) < self.LENGTH:
            return
        policy = self.models["policy"]
        states = {name: torch.cat([row["states"][name] for row in rows]) for name in rows[0]["states"]}
        actions = {name: torch.cat([row["actions"][name] for row in rows]) for name in rows[0]["actions"]}
        rewards = torch.cat([row["rewards"] for row in rows])
        chosen: Any = actions if policy.names_actions else next(iter(actions.values()))
        evaluated = policy.evaluate(policy.select_inputs(states), chosen)
        loss = -(evaluated["log_prob"] * (rewards - rewards.mean())).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.track("loss/policy", loss)
        self.steps.rows = []

    def on_interruption(self) -> None:
        """Forget the steps: the episodes that they belong to were ended."""
        self.steps.rows = []


class Tally(Hook):
    """Counts steps and rows of the log, and has a state."""

    def __init__(self) -> None:
        self.counts = {"steps": 0, "rows": 0}

    def on_step(self, trainer: Any) -> None:
        """Count."""
        self.counts["steps"] += 1

    def on_log(self, trainer: Any, row: Dict[str, Any]) -> None:
        """Count, and add the count to the row."""
        self.counts["rows"] += 1
        row["hook/rows"] = float(self.counts["rows"])

    def state_dict(self) -> Dict[str, Any]:
        """Return the counts."""
        return dict(self.counts)

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over the counts."""
        self.counts = dict(state)
