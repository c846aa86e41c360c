"""The sum of rewards over windows of fixed length, whatever ends in them."""

from typing import TYPE_CHECKING, Any, Dict, Optional

import torch

from AquaML.errors import ConfigError
from AquaML.learning.trainers.hooks import Hook
from AquaML.stateful import require_keys

if TYPE_CHECKING:
    from AquaML.learning.trainers.base import Trainer

NAME = "window/return_mean"


class WindowReturn(Hook):
    """Logs ``"window/return_mean"``: rewards of a fixed number of vector steps, summed, and averaged over environments.

    Unlike the return of episodes, this counts how often a robot falls only by the rewards that it then lacks: a robot
    that is paid 2 for every step that it stands has 2,000 in 1,000 steps even if it falls every second. Rows that only
    reset pay nothing.

    Args:
        steps: Vector steps of a window.

    Raises:
        ConfigError: ``steps`` is no positive integer.
    """

    def __init__(self, steps: int = 1000) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ConfigError("WindowReturn: steps is {!r}; expected an integer of at least 1.".format(steps))
        self.steps = steps
        self._passed = 0
        self._sum: Optional[torch.Tensor] = None
        self._latest: Optional[torch.Tensor] = None

    def on_transition(
        self, trainer: "Trainer", rewards: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, infos: Any
    ) -> None:
        """Add a step; a window that is full is averaged, on the device."""
        real = torch.float32 if rewards.device.type == "mps" else torch.float64
        if self._sum is None:
            self._sum = torch.zeros_like(rewards, dtype=real)
        valid = infos["valid"]
        self._sum += rewards if valid is None else torch.where(valid, rewards, torch.zeros_like(rewards))
        self._passed += 1
        if self._passed == self.steps:
            self._latest = self._sum.mean()
            self._sum.zero_()
            self._passed = 0

    def on_log(self, trainer: "Trainer", row: Dict[str, Any]) -> None:
        """Add the newest window's figure to the first row after its end."""
        if self._latest is not None:
            row[NAME] = float(self._latest)
            self._latest = None

    def state_dict(self) -> Dict[str, Any]:
        """Return the window under way."""
        return {"steps": self.steps, "passed": self._passed, "sum": self._sum, "latest": self._latest}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on with a saved window."""
        require_keys(state, self.state_dict(), "WindowReturn")
        self._passed, self._sum, self._latest = state["passed"], state["sum"], state["latest"]
