"""A fixed product, timed beside each unit, that shows how fast the machine is at that moment."""

import torch

from benchmarks.gate import Gate
from benchmarks.specification import Specification

_SIZE = 768


def run(specification: Specification, gate: Gate) -> None:
    """Multiply two square matrices as many times as the specification has vector steps."""
    left, right = torch.randn(_SIZE, _SIZE), torch.randn(_SIZE, _SIZE)
    gate.introduction = {"settings": {"product": "{0} x {0}, float32".format(_SIZE)}}
    gate.introduction["torch_threads"] = torch.get_num_threads()
    gate.loop(lambda: torch.mm(left, right))
