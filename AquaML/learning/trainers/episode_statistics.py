"""Returns, lengths and other figures of episodes, counted on the device without waiting for it."""

from typing import Any, Dict, List, Optional

import torch

from AquaML.errors import StateError
from AquaML.stateful import Stateful, require_keys, tensor_differences
from AquaML.tracking.figures import read_figures

_SCALARS = ("info_sum", "info_number", "window_info", "window_info_count")
_MEANS = ("sum", "count")


class EpisodeStatistics(Stateful):
    """Sums of running episodes, and figures of those that ended since the last :meth:`read`.

    Args:
        num_envs: Number of environments.
        device: Where rewards live.
    """

    def __init__(self, num_envs: int, device: torch.device) -> None:
        self.num_envs = num_envs
        self.device = device
        self._real = torch.float32 if device.type == "mps" else torch.float64
        self.environment_steps_known = 0
        self._tensors = {name: self._zeros() for name in ("return", "length", "window_return", "window_length")}
        self._tensors["window_count"] = self._zeros()
        # Since the last time every environment had finished at least one episode:
        self._tensors.update(best_return=self._zeros(), best_count=self._zeros())
        self._tensors["lowest"] = self._zeros() + float("inf")
        self._tensors["highest"] = self._zeros() - float("inf")
        self._tensors["steps"] = torch.zeros((), dtype=torch.int64, device=device)
        # Scalars that environments log: a column for each name, so that a step costs the same however many there are.
        self._names: List[str] = []
        self._tensors.update({name: self._zeros(0) for name in _SCALARS})
        # Scalars that hold for the whole batch, as simulators give them when episodes end: sum and count since then.
        self._mean_names: List[str] = []
        self._means = self._no_means(0)

    def _zeros(self, columns: int = 1) -> torch.Tensor:
        return torch.zeros((self.num_envs, columns), dtype=self._real, device=self.device)

    def _no_means(self, number: int) -> Dict[str, torch.Tensor]:
        return {name: torch.zeros(number, dtype=self._real, device=self.device) for name in _MEANS}

    def update(
        self,
        rewards: torch.Tensor,
        done: torch.Tensor,
        valid: Optional[torch.Tensor],
        log: Dict[str, torch.Tensor],
    ) -> None:
        """Take notice of a step.

        Args:
            rewards: ``(num_envs, 1)``.
            done: ``(num_envs, 1)`` bool, whether an episode ended.
            valid: ``(num_envs, 1)`` bool, False for rows that count nowhere; None: all count.
            log: Name to ``(num_envs, 1)``, NaN where absent, or to ``()``, a mean over the batch.
        """
        tensors = self._tensors
        if valid is None:
            tensors["return"] += rewards
            tensors["length"] += 1.0
            self.environment_steps_known += self.num_envs
        else:
            tensors["return"] += torch.where(valid, rewards, torch.zeros_like(rewards))
            tensors["length"] += valid
            tensors["steps"] += valid.sum()
        if log:
            self._add_log(log, valid)
        if self.device.type == "cpu" and not bool(done.any()):
            return
        self._finish(done)

    def _add_log(self, log: Dict[str, torch.Tensor], valid: Optional[torch.Tensor]) -> None:
        means = {name: value for name, value in log.items() if value.dim() == 0}
        if means:
            self._add_means(means)
            log = {name: value for name, value in log.items() if value.dim() > 0}
        if log:
            self._add_scalars(log, valid)

    def _add_means(self, means: Dict[str, torch.Tensor]) -> None:
        unknown = [name for name in means if name not in self._mean_names]
        if unknown:
            self._mean_names += unknown
            fresh = self._no_means(len(unknown))
            self._means = {name: torch.cat([self._means[name], fresh[name]]) for name in _MEANS}
        if len(means) < len(self._mean_names):
            missing = torch.full_like(next(iter(means.values())), float("nan"))
            means = {name: means.get(name, missing) for name in self._mean_names}
        values = torch.stack([means[name] for name in self._mean_names])
        present = ~torch.isnan(values)
        self._means["sum"] += torch.where(present, values, torch.zeros_like(values))
        self._means["count"] += present

    def _add_scalars(self, log: Dict[str, torch.Tensor], valid: Optional[torch.Tensor]) -> None:
        unknown = [name for name in log if name not in self._names]
        if unknown:
            self._names += unknown
            for name in _SCALARS:
                self._tensors[name] = torch.cat([self._tensors[name], self._zeros(len(unknown))], dim=1)
        if len(log) < len(self._names):
            missing = torch.full_like(next(iter(log.values())), float("nan"))
            log = {name: log.get(name, missing) for name in self._names}
        values = torch.cat([log[name] for name in self._names], dim=1)
        # Only NaN, which stands for what is absent, differs from itself.
        present = values == values
        if valid is not None:
            present &= valid
        self._tensors["info_sum"] += values.masked_fill_(~present, 0.0)
        self._tensors["info_number"] += present

    def _finish(self, done: torch.Tensor) -> None:
        tensors, nothing = self._tensors, torch.zeros((), dtype=self._real, device=self.device)
        returns = torch.where(done, tensors["return"], nothing)
        tensors["window_return"] += returns
        tensors["best_return"] += returns
        tensors["window_length"] += torch.where(done, tensors["length"], nothing)
        tensors["window_count"] += done
        tensors["best_count"] += done
        tensors["lowest"] = torch.where(done, torch.min(tensors["lowest"], returns), tensors["lowest"])
        tensors["highest"] = torch.where(done, torch.max(tensors["highest"], returns), tensors["highest"])
        if self._names:
            total, number = tensors["info_sum"], tensors["info_number"]
            known = done & (number > 0)
            tensors["window_info"] += torch.where(known, total / number.clamp(min=1.0), nothing)
            tensors["window_info_count"] += known
            total.masked_fill_(done, 0.0)
            number.masked_fill_(done, 0.0)
        tensors["return"].masked_fill_(done, 0.0)
        tensors["length"].masked_fill_(done, 0.0)

    @property
    def environment_steps(self) -> int:
        """Number of transitions of all environments so far; rows that only reset are not counted."""
        return self.environment_steps_known + int(self._tensors["steps"])

    def pending(self) -> Dict[str, torch.Tensor]:
        """Return what :meth:`settle` needs as numbers, still on the device."""
        tensors = self._tensors
        count = tensors["window_count"].sum()
        figures = {
            "episode/count": count,
            "episode/return_mean": tensors["window_return"].sum() / count,
            "episode/return_min": tensors["lowest"].min(),
            "episode/return_max": tensors["highest"].max(),
            "episode/length_mean": tensors["window_length"].sum() / count,
            "best_window": tensors["best_return"].sum() / tensors["best_count"].sum(),
            "window_complete": (tensors["best_count"] > 0).all(),
            "steps": tensors["steps"],
        }
        means = tensors["window_info"].sum(dim=0) / tensors["window_info_count"].sum(dim=0)
        figures.update({"info/" + name: mean for name, mean in zip(self._names, means.unbind(0))})
        batch_means = self._means["sum"] / self._means["count"]
        figures.update({"info/" + name: mean for name, mean in zip(self._mean_names, batch_means.unbind(0))})
        return figures

    def settle(self, numbers: Dict[str, float]) -> Dict[str, float]:
        """Turn the numbers of :meth:`pending` into figures and begin anew.

        Returns:
            ``"environment_steps"``; if episodes ended, ``"episode/return_mean"``, ``"…_min"``, ``"…_max"``,
            ``"episode/length_mean"``, ``"episode/count"`` and ``"info/<name>"``; and ``"best_window"``, the mean
            return since every environment had last finished an episode, once that has happened again.
        """
        numbers = dict(numbers)
        steps = self.environment_steps_known + int(numbers.pop("steps"))
        if numbers.pop("window_complete"):
            self._clear("best_")
        else:
            del numbers["best_window"]
        if numbers["episode/count"]:
            self._clear("window_")
            self._means = self._no_means(len(self._mean_names))
            self._tensors["lowest"].fill_(float("inf"))
            self._tensors["highest"].fill_(-float("inf"))
        else:
            numbers = {name: value for name, value in numbers.items() if name == "best_window"}
        known = {name: value for name, value in numbers.items() if value == value}
        return dict(known, environment_steps=float(steps))

    def read(self) -> Dict[str, float]:
        """Return the figures since the last call and begin anew, see :meth:`settle`; one device-to-host transfer."""
        return self.settle(read_figures(self.pending())[0])

    def _clear(self, prefix: str) -> None:
        for name, tensor in self._tensors.items():
            if name.startswith(prefix):
                tensor.zero_()

    def forget_running(self) -> None:
        """Drop the sums of running episodes, after the environment was reset from outside."""
        for name, tensor in self._tensors.items():
            if name in ("return", "length", "info_sum", "info_number"):
                tensor.zero_()

    def state_dict(self) -> Dict[str, Any]:
        """Return all sums."""
        state = {
            "environment_steps_known": self.environment_steps_known,
            "names": list(self._names),
            "tensors": {name: tensor.clone() for name, tensor in self._tensors.items()},
        }
        if self._mean_names:
            state["mean_names"] = list(self._mean_names)
            state["means"] = {name: tensor.clone() for name, tensor in self._means.items()}
        return state

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Compare the number of environments."""
        means = ("mean_names", "means") if "means" in state else ()
        require_keys(state, ("environment_steps_known", "names", "tensors") + means, "episode statistics")
        expected = dict(self._tensors, **{name: self._zeros(len(state["names"])) for name in _SCALARS})
        lines = tensor_differences(expected, state["tensors"])
        if means:
            lines += tensor_differences(self._no_means(len(state["mean_names"])), state["means"])
        if lines:
            raise StateError("episode statistics: {}".format("; ".join(lines)))

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over all sums."""
        self.environment_steps_known = state["environment_steps_known"]
        self._names = list(state["names"])
        self._tensors = self._own(state["tensors"])
        self._mean_names = list(state.get("mean_names", ()))
        self._means = self._own(state["means"]) if self._mean_names else self._no_means(0)

    def _own(self, tensors: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        return {name: tensor.to(self.device).clone() for name, tensor in tensors.items()}
