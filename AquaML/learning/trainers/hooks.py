"""Places where a user's own code joins the loop."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict

import torch

if TYPE_CHECKING:
    from AquaML.learning.trainers.base import Trainer
    from AquaML.learning.trainers.evaluation import EpisodeSummary


class Hook:
    """Base of hooks; override what is needed. ``trainer.stop(reason)`` ends training after the present step.

    A hook with ``state_dict`` and ``load_state_dict`` is saved in and restored from checkpoints.
    """

    def on_train_start(self, trainer: "Trainer") -> None:
        """The run folder is there and the first step comes next."""

    def on_transition(
        self, trainer: "Trainer", rewards: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, infos: Any
    ) -> None:
        """The environment has made a vector step, from which the agent has not learned yet.

        Args:
            trainer: The trainer.
            rewards: ``(num_envs, 1)``, as the environment gave them.
            terminated: ``(num_envs, 1)`` bool.
            truncated: ``(num_envs, 1)`` bool.
            infos: See :class:`~AquaML.environment.base.EnvironmentWrapper`; rows that only reset are not valid.
        """

    def on_step(self, trainer: "Trainer") -> None:
        """A vector step and the learning after it are done."""

    def on_log(self, trainer: "Trainer", row: Dict[str, Any]) -> None:
        """A row of figures is about to be written; entries may be added."""

    def on_evaluation(self, trainer: "Trainer", summary: "EpisodeSummary") -> None:
        """An evaluation during training is done."""

    def on_checkpoint(self, trainer: "Trainer", path: Path) -> None:
        """A checkpoint has been written."""

    def on_train_end(self, trainer: "Trainer") -> None:
        """Training is over, for whatever reason but an error."""
