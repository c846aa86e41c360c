"""Seeding and saving of the process-wide random generators."""

import contextlib
import random
from typing import Any, Dict, Iterator, Tuple

import numpy as np
import torch

from AquaML.errors import ConfigError, StateError
from AquaML.stateful import Stateful, require_keys

LARGEST_SEED = 2**32 - 1


def seed_everything(seed: int) -> int:
    """Seed Python's, numpy's and torch's generators on all devices. Call it first in a script: models draw weights.

    Args:
        seed: 0 … 2**32 - 1, the range that numpy takes.

    Returns:
        The seed.

    Raises:
        ConfigError: The seed is no integer in that range.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= int(seed) <= LARGEST_SEED:
        raise ConfigError("seed is {!r}; expected an integer from 0 to {}.".format(seed, LARGEST_SEED))
    value = int(seed)
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


def derived_seed(seed: int, position: int) -> int:
    """Return another seed, from 0 to 2**31 - 1, that depends on a seed and on a position in the run."""
    return int(np.random.SeedSequence([seed, position]).generate_state(1)[0]) % 2**31


class RandomState(Stateful):
    """The states of Python's, numpy's and torch's global generators, on the CPU and on CUDA devices."""

    def state_dict(self) -> Dict[str, Any]:
        """Return all generator states as plain values."""
        kind, keys, position, has_gauss, cached = np.random.get_state()
        return {
            "python": random.getstate(),
            "numpy": {
                "kind": kind,
                "keys": np.array(keys),
                "position": int(position),
                "has_gauss": int(has_gauss),
                "cached_gaussian": float(cached),
            },
            "torch": torch.get_rng_state(),
            # Where nothing has used CUDA yet, asking would take memory on every device for nothing.
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        }

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check that all generators are there, by trying the states on generators of no other use."""
        require_keys(state, ("python", "numpy", "torch", "cuda"), "random state")
        try:
            random.Random().setstate(_as_tuples(state["python"]))
            np.random.RandomState().set_state(_numpy_state(state["numpy"]))
            torch.Generator().set_state(state["torch"].cpu())
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise StateError("random state: {}: {}".format(type(error).__name__, error)) from error

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Restore all generators; CUDA states that this machine has no device for are left out."""
        random.setstate(_as_tuples(state["python"]))
        np.random.set_state(_numpy_state(state["numpy"]))
        torch.set_rng_state(state["torch"].cpu())
        for index, generator in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(generator.cpu(), index)


def _numpy_state(saved: Dict[str, Any]) -> Tuple[Any, ...]:
    return saved["kind"], saved["keys"], saved["position"], saved["has_gauss"], saved["cached_gaussian"]


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Run a block without moving the global random streams."""
    state = RandomState()
    before = state.state_dict()
    try:
        yield
    finally:
        state.load_state_dict(before)
