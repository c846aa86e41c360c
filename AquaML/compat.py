"""Probes for features that differ between versions of torch and numpy; nothing else in AquaML asks for a version."""

import contextlib
import inspect
from typing import Any, Callable, ContextManager, Dict, List, Optional, Tuple, Type

import torch

from AquaML.errors import ConfigError, DeviceError


def mps_available() -> bool:
    """Return whether Apple's GPU backend exists in this torch and on this machine."""
    backend = getattr(torch.backends, "mps", None)
    return backend is not None and bool(backend.is_available())


def scheduler_base_class() -> Type[Any]:
    """Return the base class of torch's learning-rate schedulers (renamed in torch 2.0)."""
    return getattr(torch.optim.lr_scheduler, "LRScheduler", None) or torch.optim.lr_scheduler._LRScheduler


def adam_arguments(device: torch.device) -> Dict[str, Any]:
    """Return the fastest implementation of Adam that this torch offers for a device, as keyword arguments."""
    known = inspect.signature(torch.optim.Adam.__init__).parameters
    if "fused" in known and device.type == "cuda":
        return {"fused": True}
    if "fused" in known and device.type == "cpu" and _fused_adam_works_on_cpu():
        return {"fused": True}
    return {}


def _fused_adam_works_on_cpu() -> bool:
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    try:
        torch.optim.Adam([parameter], fused=True).step()
    except (RuntimeError, ValueError):
        return False
    return True


def solve_lower_triangular(factor: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Solve ``factor @ x = right`` (renamed in torch 1.11).

    Args:
        factor: Lower triangular matrices ``(B, D, D)``.
        right: ``(B, D, K)``.

    Returns:
        ``x``, ``(B, D, K)``.
    """
    if hasattr(torch.linalg, "solve_triangular"):
        return torch.linalg.solve_triangular(factor, right, upper=False)
    return torch.triangular_solve(right, factor, upper=False)[0]


def safe_load_available() -> bool:
    """Return whether ``torch.load`` can refuse to run code hidden in a file (``weights_only``, torch 1.13)."""
    return "weights_only" in inspect.signature(torch.load).parameters


def autocast(device: torch.device, dtype: Optional[torch.dtype]) -> ContextManager[Any]:
    """Return a context in which matrix products run in ``dtype``; None is full precision.

    Args:
        device: Where the products run.
        dtype: ``torch.bfloat16``, ``torch.float16`` or None.

    Returns:
        A context manager.
    """
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(device_type=device.type, dtype=dtype)


def full_precision(device: torch.device) -> ContextManager[Any]:
    """Return a context in which matrix products run in float32, also within :func:`autocast`."""
    if device.type not in ("cpu", "cuda"):
        return contextlib.nullcontext()
    return torch.autocast(device_type=device.type, enabled=False)


def mixed_precision_dtype(option: Any, device: torch.device) -> Optional[torch.dtype]:
    """Resolve the ``mixed_precision`` option for a device.

    Args:
        option: False, True (bfloat16 where the device has it, else float16), ``"bf16"`` or ``"fp16"``.
        device: Where the products run.

    Returns:
        The reduced type, or None for full precision.

    Raises:
        DeviceError: The device cannot compute in the asked type.
    """
    if option is False:
        return None
    # torch's own is_bf16_supported() asks the current device, and newer ones count slow emulation as support.
    cuda_without_bfloat16 = (
        device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device)[0] < 8
    )
    if option is True:
        return torch.float16 if cuda_without_bfloat16 else torch.bfloat16
    if option == "bf16":
        if cuda_without_bfloat16:
            raise DeviceError("mixed_precision='bf16': {} has no bfloat16; use 'fp16' or False.".format(device))
        return torch.bfloat16
    if device.type != "cuda":
        raise DeviceError(
            "mixed_precision='fp16' needs a CUDA device, this one is {}; use 'bf16' or False.".format(device)
        )
    return torch.float16


def gradient_scaler(enabled: bool) -> Any:
    """Return a loss scaler for float16 on CUDA, disabled unless asked for."""
    modern = getattr(getattr(torch, "amp", None), "GradScaler", None)
    if modern is not None:
        return modern("cuda", enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled by ``torch.compile``, which works at the first call.

    Raises:
        ConfigError: This torch cannot compile.
    """
    compile_ = getattr(torch, "compile", None)
    if compile_ is None:
        raise ConfigError(
            "compile=True needs torch 2.0 or newer, this is {}; use compile=False.".format(torch.__version__)
        )
    return compile_(function)


def norms_of(tensors: List[torch.Tensor]) -> torch.Tensor:
    """Return the 2-norm of each tensor, all on one device and of one type, as one tensor."""
    jointly = getattr(torch, "_foreach_norm", None)
    # Before torch 1.12 there was only one at a time.
    return torch.stack(jointly(tensors) if jointly is not None else [tensor.norm() for tensor in tensors])


def interpolate(targets: List[torch.Tensor], sources: List[torch.Tensor], share: float) -> None:
    """Move tensors in place towards others: ``target += share * (source - target)``.

    Args:
        targets: What is moved.
        sources: Whither, in the same order.
        share: How much of the way, 0 … 1.
    """
    jointly = getattr(torch, "_foreach_lerp_", None)
    if jointly is not None:
        jointly(targets, sources, share)
        return
    # Old ones only move one at a time.
    for target, source in zip(targets, sources):
        target.lerp_(source, share)


def clip_gradient_norm(
    parameters: List[torch.nn.Parameter], maximum: Optional[float]
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Scale gradients in place so that their joint 2-norm is at most ``maximum``.

    Args:
        parameters: Parameters with gradients.
        maximum: The largest norm, or None to measure only.

    Returns:
        The norm before clipping, shape ``()``, and that of each gradient that there is, in order.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    alike = len({(gradient.device, gradient.dtype) for gradient in gradients}) == 1
    if not alike:
        norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf") if maximum is None else maximum)
        return norm, torch.stack([gradient.norm().to(norm) for gradient in gradients])
    # What clip_grad_norm_ does, without sorting the gradients by device and type.
    norms = norms_of(gradients)
    norm = norms.norm()
    if maximum is not None:
        factor = (maximum / (norm + 1e-6)).clamp_(max=1.0)
        # Before torch 2.1 the joint product took its factor from the host, for which one would wait.
        if hasattr(getattr(torch.ops.aten, "_foreach_mul_", None), "Tensor"):
            torch._foreach_mul_(gradients, factor)
        else:
            for gradient in gradients:
                gradient.mul_(factor)
    return norm, norms


def skips_by_flag(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimiser leaves everything as it is while its ``found_inf`` is 1, without a read of the host.

    Fused ones do since torch 2.0; the loss scaler asks in the same way.
    """
    takes_scaler = "grad_scaler" in inspect.signature(type(optimizer).step).parameters
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False)) and not takes_scaler


def require_numpy_bridge() -> None:
    """Check that this torch understands the installed numpy.

    Raises:
        DeviceError: torch is older than 2.3 and numpy is 2 or newer.
    """
    try:
        torch.zeros(1).numpy()
    except RuntimeError as error:
        import numpy

        raise DeviceError(
            "torch {} cannot use numpy {}: torch older than 2.3 needs numpy older than 2. Install 'numpy<2'.".format(
                torch.__version__, numpy.__version__
            )
        ) from error
