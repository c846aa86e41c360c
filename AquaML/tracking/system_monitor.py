"""Figures of the machine: memory of the process, load of the GPU."""

import sys
from typing import Any, Dict

import torch

_BYTES_PER_MEBIBYTE = 1024.0 * 1024.0


class SystemMonitor:
    """Samples the process and, with ``pip install nvidia-ml-py``, the GPU that training uses.

    Args:
        device: The device of the run.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._library: Any = None
        self._handle: Any = None
        if device.type == "cuda":
            self._open_gpu(device)

    def _open_gpu(self, device: torch.device) -> None:
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            # torch counts visible devices, the library all of them; the bus address is common to both.
            bus = getattr(torch.cuda.get_device_properties(device), "pci_bus_id", None)
            index = device.index or 0
            handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            same = [handle for handle in handles if pynvml.nvmlDeviceGetPciInfo(handle).bus == bus]
            self._handle = same[0] if len(same) == 1 else handles[index]
            self._library = pynvml
        except (pynvml.NVMLError, IndexError):
            self._handle = None

    def sample(self) -> Dict[str, float]:
        """Return the present figures: memory in MiB, load in percent, power in watts."""
        figures = {}
        memory = _peak_process_memory()
        if memory is not None:
            figures["system/peak_process_memory"] = memory
        if self._device.type == "cuda":
            figures["system/gpu_memory_allocated"] = torch.cuda.memory_allocated(self._device) / _BYTES_PER_MEBIBYTE
        if self._handle is not None:
            try:
                figures["system/gpu_load"] = float(self._library.nvmlDeviceGetUtilizationRates(self._handle).gpu)
                figures["system/gpu_power"] = self._library.nvmlDeviceGetPowerUsage(self._handle) / 1000.0
            except self._library.NVMLError:
                self._handle = None
        return figures

    def close(self) -> None:
        """Release the GPU's library."""
        if self._library is not None:
            self._library.nvmlShutdown()
            self._library = None


def _peak_process_memory() -> Any:
    try:
        import resource
    except ImportError:  # Windows has no such module.
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / (_BYTES_PER_MEBIBYTE if sys.platform == "darwin" else 1024.0)
