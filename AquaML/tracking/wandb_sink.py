"""Figures for Weights & Biases."""

import uuid
from pathlib import Path
from typing import Any, Dict, Optional

from AquaML.errors import MissingDependencyError, StateError
from AquaML.stateful import require_keys
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
        self.run_id: Optional[str] = None
        self._run: Any = None

    def open(self, folder: Path, configuration: Dict[str, Any]) -> None:
        """Begin the run, or go on with the one that a resumed run had.

        Raises:
            MissingDependencyError: wandb is not installed.
        """
        try:
            import wandb
        except ImportError as error:
            raise MissingDependencyError("TrainerConfig.wandb needs: pip install wandb") from error
        if self.run_id is None:
            # Not the folder's name: another run of that name, in another folder, would be continued instead.
            self.run_id = uuid.uuid4().hex
        self._run = wandb.init(
            project=self.project,
            name=folder.name,
            id=self.run_id,
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

    def state_dict(self) -> Dict[str, Any]:
        """Return the number of rows and which run of the project this is."""
        return {"rows": self.rows, "run_id": self.run_id}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check the number of rows and the run's identity."""
        require_keys(state, ("rows", "run_id"), "sink '{}'".format(self.name))
        super().validate_state({"rows": state["rows"]})
        if state["run_id"] is not None and not isinstance(state["run_id"], str):
            raise StateError("sink '{}': run_id is {!r}".format(self.name, state["run_id"]))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Restore the number of rows and the run's identity; called before :meth:`open`."""
        super().load_state_dict(state)
        self.run_id = state["run_id"]
