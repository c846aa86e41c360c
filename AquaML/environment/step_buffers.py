"""Preallocated host arrays for what a step returns, written in place and handed out as tensors."""

from typing import Dict, Mapping, Optional

import numpy as np
import torch

from AquaML.environment.spaces import TensorSpec


class StepBuffer:
    """One set of host arrays and the tensors that show them on a device.

    On the CPU the tensors share memory with the arrays; elsewhere :meth:`publish` copies through pinned memory into
    device tensors that are allocated once.
    """

    def __init__(self, specs: Mapping[str, TensorSpec], num_envs: int, device: torch.device) -> None:
        self.device = device
        self._host: Dict[str, torch.Tensor] = {}
        self._shown: Dict[str, torch.Tensor] = {}
        for name, spec in specs.items():
            for prefix in ("observation/", "final/"):
                self._add(prefix + name, (num_envs,) + spec.shape, getattr(torch, spec.dtype))
        self._add("rewards", (num_envs, 1), torch.float32)
        for name in ("terminated", "truncated", "valid"):
            self._add(name, (num_envs, 1), torch.bool)
        self.observations = {name: self._array("observation/" + name) for name in specs}
        self.final = {name: self._array("final/" + name) for name in specs}
        self.rewards = self._array("rewards")
        self.terminated = self._array("terminated")
        self.truncated = self._array("truncated")
        self.valid = self._array("valid")
        self.log: Dict[str, np.ndarray] = {}

    def _add(self, name: str, shape: tuple, dtype: torch.dtype) -> None:
        on_host = self.device.type == "cpu"
        host = torch.zeros(shape, dtype=dtype, pin_memory=self.device.type == "cuda")
        self._host[name] = host
        self._shown[name] = host if on_host else torch.zeros(shape, dtype=dtype, device=self.device)

    def _array(self, name: str) -> np.ndarray:
        return self._host[name].numpy()

    def publish(self, prefix: str) -> Dict[str, torch.Tensor]:
        """Return the tensors below ``prefix`` by leaf name, current on the device."""
        return {name[len(prefix) :]: self.tensor(name) for name in self._host if name.startswith(prefix)}

    def tensor(self, name: str) -> torch.Tensor:
        """Return one tensor, current on the device."""
        shown, host = self._shown[name], self._host[name]
        if shown is not host:
            shown.copy_(host, non_blocking=True)
        return shown

    def log_tensors(self) -> Dict[str, torch.Tensor]:
        """Return this step's scalars as ``(num_envs, 1)`` float32 tensors."""
        return {name: torch.from_numpy(values).unsqueeze(1).to(self.device) for name, values in self.log.items()}


class StepBuffers:
    """Two :class:`StepBuffer` in turn: a step's results stay unchanged until the second next step."""

    def __init__(self, specs: Mapping[str, TensorSpec], num_envs: int, device: torch.device) -> None:
        self._pair = [StepBuffer(specs, num_envs, device) for _ in range(2)]
        self._index = 0

    def next(self) -> StepBuffer:
        """Return the set that is older."""
        self._index ^= 1
        return self._pair[self._index]


def add_scalars(log: Dict[str, np.ndarray], info: Mapping[str, object], row: int, rows: int, prefix: str = "") -> None:
    """Copy the numeric scalars of one environment's info, nested dictionaries included, into per-name arrays.

    Args:
        log: Name to ``(rows,)`` float32 array, NaN where absent; extended in place.
        info: The environment's info.
        row: The environment's index.
        rows: Number of environments.
        prefix: What to put before names.
    """
    for key, value in info.items():
        if str(key).startswith("_"):
            # Gymnasium's vector environments use such names for the masks of others.
            continue
        name = "{}{}".format(prefix, key)
        if isinstance(value, Mapping):
            add_scalars(log, value, row, rows, name + "/")
        else:
            number = as_scalar(value)
            if number is not None:
                if name not in log:
                    log[name] = np.full(rows, np.nan, np.float32)
                log[name][row] = number


def as_scalar(value: object) -> Optional[float]:
    """Return a number, bool or one-element numeric array as a float, and None for anything else."""
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        return float(value)
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf":
        return float(value.reshape(-1)[0])
    return None
