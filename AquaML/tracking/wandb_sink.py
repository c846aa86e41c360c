"""Figures for Weights & Biases."""

from pathlib import Path
from typing import Any, Dict

from AquaML.errors import MissingDependencyError
from AquaML.tracking.sink import Sink


class WandbSink(Sink):
    """A wandb run in the run's folder; needs ``pip install wandb``.

    wandb's own environment variables hold, for example ``WANDB_MODE=offline``.

    Args:
        project: The wandb project.
    """

    name = "wandb"

    def __init__(self, project: str) -> None:
        super().__init__()
        self.project = project
        self._run: Any = None

    def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
        """Begin the run.

        Raises:
            MissingDependencyError: wandb is not installed.
        """
        try:
            import wandb
        except ImportError as error:
            raise MissingDependencyError("TrainerConfig.wandb needs: pip install wandb") from error
        self._run = wandb.init(
            project=self.project,
            name=folder.name,
            id=folder.name,
            dir=str(folder.resolve()),
            config=configuration,
            resume="allow",
        )

    def write(self, step: int, row: Dict[str, float]) -> None:
        """Log every figure over environment steps."""
        self._run.log(row, step=step)
        self.rows += 1

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish()
            self._run = None
