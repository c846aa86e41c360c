"""Q-learning."""

import torch

from AquaML.learning.reinforcement.tabular.base import TabularAgent


class QLearning(TabularAgent):
    """Q-learning (Watkins, 1989): learns what the best actions are worth, whatever it does meanwhile."""

    def following_values(self, rows: torch.Tensor, timestep: int, timesteps: int) -> torch.Tensor:
        """Return the value of the best action."""
        return self._require_table().values[rows].amax(dim=1)
