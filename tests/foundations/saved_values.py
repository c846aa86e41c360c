"""A value on its way through a checkpoint file, and comparison to the bit."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from AquaML.coordinator.checkpoint_format import Checkpoint, read_checkpoint, write_checkpoint

FILE = Path("a.pt")


def raw(tensor: torch.Tensor) -> bytes:
    flat = tensor.contiguous().reshape(-1)
    return (flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy().tobytes()


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return (
            isinstance(right, torch.Tensor)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and raw(left) == raw(right)
        )
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and left.dtype.newbyteorder("=") == right.dtype
            and left.shape == right.shape
            and left.astype(right.dtype).tobytes() == right.tobytes()
        )
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or repr(left) == repr(right)
    return left == right


def through_file(value: Any) -> Any:
    parts = {"part": {"role": "run", "class": "Thing", "state": value}}
    write_checkpoint(FILE, Checkpoint({"kind": "test"}, parts))
    read = read_checkpoint(FILE)
    assert read.metadata == {"kind": "test"}
    return read.parts["part"]["state"]
