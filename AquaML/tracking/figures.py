"""Reading figures from a device in one transfer."""

from typing import Dict, List, Mapping, Union

import torch

Figures = Mapping[str, Union[float, torch.Tensor]]


def read_figures(*groups: Figures) -> List[Dict[str, float]]:
    """Return groups of figures as numbers; all tensors come to the host in one transfer.

    Args:
        groups: Name to a number, or to a tensor of one element.

    Returns:
        The groups in the same order.
    """
    values = [value for group in groups for value in group.values()]
    tensors = [value.detach().reshape(()) for value in values if isinstance(value, torch.Tensor)]
    # Counts need float64; Apple's GPU has none.
    wide = torch.float32 if any(tensor.device.type == "mps" for tensor in tensors) else torch.float64
    device = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), torch.device("cpu"))
    moved = [tensor.to(device=device, dtype=wide) for tensor in tensors]
    numbers = iter(torch.stack(moved).tolist() if moved else [])
    return [
        {name: next(numbers) if isinstance(value, torch.Tensor) else float(value) for name, value in group.items()}
        for group in groups
    ]
