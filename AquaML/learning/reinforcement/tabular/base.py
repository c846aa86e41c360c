"""What tabular agents share: the table, exploration, and the temporal-difference step."""

import abc
from typing import Any, Dict, Mapping, Optional

import torch

from AquaML.environment.spaces import SpaceLayout
from AquaML.errors import AgentError, AquaMLError
from AquaML.learning.finite_guard import of_step, require_finite
from AquaML.learning.reinforcement.base import Agent, TensorDict
from AquaML.learning.reinforcement.exploration import epsilon_greedy, exploration_chance
from AquaML.learning.reinforcement.tabular.table import ActionValueTable
from AquaML.learning.reinforcement.tabular.tabular_cfg import TabularCfg
from AquaML.stateful import WEIGHTS


class TabularAgent(Agent):
    """Learns from every step, of many environments at once; has no models.

    Args:
        models: None.
        cfg: The configuration; None: defaults.
    """

    config_class = TabularCfg
    cfg: TabularCfg

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[TabularCfg] = None) -> None:
        if models:
            raise AgentError("{} learns a table and takes no models; got {}.".format(type(self).__name__, list(models)))
        super().__init__(None, cfg)
        self.table: Optional[ActionValueTable] = None

    def bind_spaces(self, observations: SpaceLayout, actions: SpaceLayout, action_bounds: str = "none") -> None:
        """Learn the spaces and make the table.

        Raises:
            AgentError: Observations or actions cannot be counted.
        """
        super().bind_spaces(observations, actions, action_bounds)
        if self.table is None:
            try:
                if len(actions.specs) != 1:
                    raise AgentError("A table needs one action, but there are {}.".format(list(actions.specs)))
                (action,) = actions.specs.values()
                self.table = ActionValueTable(observations.specs, action, self.cfg.initial_value, self.device)
                self.register_part("table", self.table, WEIGHTS)
            except AquaMLError:
                self._unbind_spaces()
                raise

    def _unbind_spaces(self) -> None:
        super()._unbind_spaces()
        self._parts = [part for part in self._parts if part.target is not self.table]
        self.table = None

    def _require_table(self) -> ActionValueTable:
        if self.table is None:
            raise AgentError(
                "{} does not know the environment yet; call setup(env.getEnvInfo()) or load().".format(
                    type(self).__name__
                )
            )
        return self.table

    # ------------------------------------------------------------------ acting

    def act(self, states: TensorDict, timestep: int, timesteps: int) -> TensorDict:
        """Choose the best actions, in training random ones now and then; see :meth:`Agent.act`."""
        table = self._require_table()
        rows = table.rows_of(states)
        if self.is_deterministic or not self.is_training:
            return self.name_actions(table.best_actions(rows))
        return self.name_actions(self._explore(rows, self.exploration(timestep, timesteps)))

    def exploration(self, timestep: int, timesteps: int) -> float:
        """Return the chance of a random action at a vector step."""
        return exploration_chance(self.cfg, timestep, timesteps)

    def _explore(self, rows: torch.Tensor, chance: float) -> torch.Tensor:
        table = self._require_table()
        return epsilon_greedy(table.best_actions(rows), table.values.shape[1], chance)

    # ------------------------------------------------------------------ learning

    def record_transition(
        self,
        states: TensorDict,
        actions: TensorDict,
        rewards: torch.Tensor,
        next_states: TensorDict,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        infos: Dict[str, Any],
        timestep: int,
        timesteps: int,
    ) -> None:
        """Move the table towards the targets of a step; see :meth:`Agent.record_transition`."""
        table, valid = self._require_table(), infos.get("valid")
        # A single number that is not finite would stay in the table, and spread.
        require_finite(of_step("reward", {"rewards": rewards}, valid))
        rows, taken = table.rows_of(states), next(iter(actions.values()))[:, 0]
        following = self.following_values(table.rows_of(next_states), timestep, timesteps)
        targets = rewards[:, 0] + self.cfg.discount_factor * torch.where(
            terminated[:, 0], torch.zeros_like(following), following
        )
        errors = targets - table.values[rows, taken]
        if valid is not None:
            chosen = valid[:, 0]
            rows, taken, errors = rows[chosen], taken[chosen], errors[chosen]
        if len(rows):
            table.move(rows, taken, errors, self.cfg.learning_rate)
            self.track("loss/temporal_difference", errors.abs().mean())
        self.track("policy/exploration", self.exploration(timestep, timesteps))

    @abc.abstractmethod
    def following_values(self, rows: torch.Tensor, timestep: int, timesteps: int) -> torch.Tensor:
        """Return what the states that a step led to are worth, ``(N,)``.

        Args:
            rows: Rows of the true successors, ``(N,)``.
            timestep: Index of the vector step.
            timesteps: Vector steps of the whole run.
        """

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        """Everything has been learned already."""
