"""Preallocated host arrays for what a step returns, written in place and handed out as tensors."""

from typing import Dict, Mapping

import numpy as np
import torch

from AquaML.environment.spaces import TensorSpec
from AquaML.environment.step_arrays import StepArrays, array_shapes


class StepBuffer(StepArrays):
    """One set of host arrays and the tensors that show them on a device.

    On the CPU the tensors share memory with the arrays; elsewhere :meth:`publish` copies through pinned memory into
    device tensors that are allocated once.
    """

    def __init__(self, specs: Mapping[str, TensorSpec], num_envs: int, device: torch.device) -> None:
        self.device = device
        self._host: Dict[str, torch.Tensor] = {}
        self._shown: Dict[str, torch.Tensor] = {}
        for name, (shape, dtype) in array_shapes(specs, num_envs).items():
            self._add(name, shape, getattr(torch, dtype))
        super().__init__({name: host.numpy() for name, host in self._host.items()})
        self._below = {
            prefix: {name[len(prefix) :]: name for name in self._host if name.startswith(prefix)}
            for prefix in ("observation/", "final/")
        }

    def _add(self, name: str, shape: tuple, dtype: torch.dtype) -> None:
        on_host = self.device.type == "cpu"
        host = torch.zeros(shape, dtype=dtype, pin_memory=self.device.type == "cuda")
        self._host[name] = host
        self._shown[name] = host if on_host else torch.zeros(shape, dtype=dtype, device=self.device)

    def publish(self, prefix: str) -> Dict[str, torch.Tensor]:
        """Return the tensors below ``"observation/"`` or ``"final/"`` by leaf name, current on the device."""
        return {leaf: self.tensor(name) for leaf, name in self._below[prefix].items()}

    def tensor(self, name: str) -> torch.Tensor:
        """Return one tensor, current on the device."""
        shown, host = self._shown[name], self._host[name]
        if shown is not host:
            shown.copy_(host, non_blocking=True)
        return shown

    def log_tensors(self) -> Dict[str, torch.Tensor]:
        """Return this step's scalars as ``(num_envs, 1)`` float32 tensors."""
        if not self.log:
            return {}
        # One transfer for all of them.
        columns = torch.from_numpy(np.stack(tuple(self.log.values()), axis=1))
        return dict(zip(self.log, columns.to(self.device).split(1, dim=1)))


class StepBuffers:
    """Two :class:`StepBuffer` in turn: a step's results stay unchanged until the second next step."""

    def __init__(self, specs: Mapping[str, TensorSpec], num_envs: int, device: torch.device) -> None:
        self._pair = [StepBuffer(specs, num_envs, device) for _ in range(2)]
        self._index = 0

    def next(self) -> StepBuffer:
        """Return the set that is older."""
        self._index ^= 1
        return self._pair[self._index]
