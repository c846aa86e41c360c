"""Choice of the device on which tensors live."""

from typing import Dict, Optional, Union

import torch

from AquaML.compat import mps_available
from AquaML.errors import DeviceError

AUTO = "auto"
_UNKNOWN = "Unknown device {!r}; expected 'auto', 'cpu', 'cuda', 'cuda:<index>' or 'mps'."


def resolve_device(name: Union[str, torch.device]) -> torch.device:
    """Turn a device name into a device that exists on this machine.

    Args:
        name: ``"auto"`` (the first CUDA device if there is one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or
            ``"mps"``, or a ``torch.device``. Apple's GPU is used only when asked for, since it lacks float64.

    Returns:
        The device; a GPU carries its index, as its tensors' devices do.

    Raises:
        DeviceError: The name is unknown or the machine lacks the device.
    """
    if name == AUTO:
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if not isinstance(name, (str, torch.device)):
        raise DeviceError(_UNKNOWN.format(name))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(_UNKNOWN.format(name)) from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        return _resolve_cuda(name, device.index)
    if device.type == "mps":
        if not mps_available() or device.index:
            raise DeviceError("Device {!r} is not available on this machine; use 'cpu' or 'auto'.".format(name))
        return torch.device("mps", 0)
    raise DeviceError(_UNKNOWN.format(name))


def _resolve_cuda(name: Union[str, torch.device], index: Optional[int]) -> torch.device:
    if not torch.cuda.is_available():
        raise DeviceError(
            "Device {!r} was asked for, but torch {} sees no CUDA device here; use 'cpu' or 'auto', or install a torch "
            "build with CUDA.".format(name, torch.__version__)
        )
    chosen = torch.cuda.current_device() if index is None else index
    if chosen >= torch.cuda.device_count():
        raise DeviceError(
            "Device {!r} was asked for, but this machine has {} CUDA device(s), numbered from 0.".format(
                name, torch.cuda.device_count()
            )
        )
    return torch.device("cuda", chosen)


def agree_on_device(names: Dict[str, str]) -> Optional[torch.device]:
    """Find the one device that several configurations name; ``"auto"`` follows an explicit choice.

    Args:
        names: Who asks (for messages) to the device's name.

    Returns:
        The device, or None when all are ``"auto"``.

    Raises:
        DeviceError: Two explicit choices differ, or the device is missing.
    """
    explicit = {who: resolve_device(name) for who, name in names.items() if name != AUTO}
    if len(set(explicit.values())) > 1:
        listed = ", ".join("{} = '{}'".format(who, device) for who, device in explicit.items())
        raise DeviceError("The devices differ: {}. Name one device, or leave the others 'auto'.".format(listed))
    return next(iter(explicit.values()), None)
