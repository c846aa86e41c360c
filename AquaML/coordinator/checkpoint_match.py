"""Whether a checkpoint belongs to what should take it, and the one error that tells everything in which they differ."""

import dataclasses
from typing import List

from AquaML.errors import CheckpointAlgorithmError, CheckpointArchitectureError, CheckpointMismatchError
from AquaML.stateful import WEIGHTS, Misfit


@dataclasses.dataclass
class Differences:
    """Everything in which a checkpoint differs from an agent or a run.

    Attributes:
        algorithm: Differences of the algorithm.
        spaces: Differences of observations, actions, and of the inputs of models.
        misfits: Differences of the parts.
    """

    algorithm: List[str] = dataclasses.field(default_factory=list)
    spaces: List[str] = dataclasses.field(default_factory=list)
    misfits: List[Misfit] = dataclasses.field(default_factory=list)

    def require_none(self, opening: str, advice: str = "") -> None:
        """Raise if there is any difference.

        Args:
            opening: What is said first.
            advice: What is said last.

        Raises:
            CheckpointAlgorithmError: The algorithm differs.
            CheckpointArchitectureError: Spaces, models or normalisers differ.
            CheckpointMismatchError: Something else differs.
        """
        lines = self.algorithm + self.spaces + [misfit.text for misfit in self.misfits]
        if not lines:
            return
        kind = CheckpointMismatchError
        if self.algorithm:
            kind = CheckpointAlgorithmError
        elif self.spaces or any(misfit.role == WEIGHTS for misfit in self.misfits):
            kind = CheckpointArchitectureError
        raise kind("{}: {}.{}".format(opening, "; ".join(line.rstrip(".") for line in lines), advice and " " + advice))
