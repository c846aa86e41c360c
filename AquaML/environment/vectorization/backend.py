"""The interface between a wrapper and what steps its environments; it needs no torch."""

import abc
from typing import Any, Dict, Optional

import numpy as np

from AquaML.environment.step_arrays import StepArrays


class Unsuited(Exception):  # noqa: N818 - a refusal, not a fault
    """A backend cannot stand in for what was asked for; the message says why, and another backend takes over.

    It is no error of the user's: only who chooses a backend sees it, passes the reason on to the log, and raises it
    as an error where that backend was asked for by name.
    """


class VectorBackend(abc.ABC):
    """A batch of environments that writes its results into arrays it is given.

    Actions come converted: in the environments' own units, types and shapes. Results go out in stored form (see
    :class:`~AquaML.environment.spaces.TensorSpec`).

    Attributes:
        num_envs: Number of environments.
        autoreset: ``"same_step"`` or ``"next_step"``.
        gives_final_observation: Whether ``out.final`` gets the last observation of episodes that end.
        has_invalid_rows: Whether ``out.valid`` can hold False; if not, it is never written.
        display_failed: Whether a window was asked for and cannot be opened.
    """

    num_envs: int
    autoreset = "same_step"
    gives_final_observation = True
    has_invalid_rows = False
    display_failed = False

    @abc.abstractmethod
    def reset(self, seed: Optional[int], out: StepArrays) -> None:
        """Start every environment anew and write the first observations.

        Args:
            seed: Environment *i* is seeded with ``seed + i``; None continues the random streams.
            out: Where to write.
        """

    @abc.abstractmethod
    def step(self, native: Dict[str, np.ndarray], out: StepArrays) -> bool:
        """Advance every environment and write observations, rewards, flags and scalars.

        Args:
            native: Action name to ``(num_envs,) + native_shape`` arrays that nobody changes later.
            out: Where to write; all of it but ``final`` and ``valid`` is overwritten.

        Returns:
            Whether ``out.final`` holds the last observation of at least one episode.
        """

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return what an exact resume needs, or None where it is out of reach."""
        return None

    def set_state(self, state: Dict[str, Any], out: StepArrays) -> bool:
        """Restore a state from :meth:`get_state` and write the observations to act on.

        Returns:
            Whether the environments stand exactly where they stood.
        """
        return False

    @property
    def render_mode(self) -> Optional[str]:
        """How :meth:`render` shows the environments; None: not at all."""
        return None

    def render(self) -> Any:
        """Show or return a picture; only called where there is a :attr:`render_mode`."""
        return None

    def close(self) -> None:
        """Release what the environments hold."""
