"""Many trainers one after the other in one process: each leaves nothing behind."""

import dataclasses
import gc
import tempfile
from pathlib import Path
from typing import List

import torch

from benchmarks.reliability.process_size import process_size
from benchmarks.reliability.soak import make_trainer

WARM_UP = 20
"""Trainers before the first measurement: caches of torch and of the allocator fill."""
_ENVIRONMENTS, _TIMESTEPS = 4, 32


@dataclasses.dataclass
class RestartFigures:
    """What trainers leave behind.

    Attributes:
        trainers: How many were made, trained for one update and closed after the warm-up.
        grown_mebibytes: Growth of the resident memory from the warm-up to the end.
        descriptors: Open files: fewest and most.
        threads: Threads: fewest and most.
    """

    trainers: int
    grown_mebibytes: float
    descriptors: List[int]
    threads: List[int]


def run(count: int, seed: int) -> RestartFigures:
    """Make, train and close ``count`` trainers after the warm-up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in range(WARM_UP):
            train_once(seed + number)
        sizes = [process_size()]
        gc.freeze()
        for number in range(count):
            train_once(seed + number)
            sizes.append(process_size())
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)
    return RestartFigures(
        trainers=count,
        grown_mebibytes=round((sizes[-1].resident_bytes - sizes[0].resident_bytes) / 2.0**20, 3),
        descriptors=[min(size.descriptors for size in sizes), max(size.descriptors for size in sizes)],
        threads=[min(size.threads for size in sizes), max(size.threads for size in sizes)],
    )


def train_once(seed: int) -> None:
    """Make a trainer with all that it has by default, make one update, and close everything."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(Path(folder), seed, _ENVIRONMENTS, _TIMESTEPS)
        trainer.train()
        trainer.coordinator.close()
