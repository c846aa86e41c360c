"""Host arrays that an environment backend writes into; no torch, so that worker processes need none."""

from typing import Dict, Mapping, Optional, Tuple

import numpy as np

from AquaML.environment.spaces import TensorSpec


class StepArrays:
    """What a step returns, as arrays with one row per environment.

    Attributes:
        observations: Leaf name to ``(num_envs, *shape)``: what to act on next.
        final: Leaf name to ``(num_envs, *shape)``: last observations, in the rows of episodes that ended.
        rewards: ``(num_envs, 1)`` float32.
        terminated: ``(num_envs, 1)`` bool.
        truncated: ``(num_envs, 1)`` bool.
        valid: ``(num_envs, 1)`` bool.
        log: Name to ``(num_envs,)`` float32 scalars, NaN where absent.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Show arrays under their names.

        Args:
            arrays: The names of :func:`array_shapes` to arrays of those shapes and types.
        """
        self.observations = _below("observation/", arrays)
        self.final = _below("final/", arrays)
        self.rewards = arrays["rewards"]
        self.terminated = arrays["terminated"]
        self.truncated = arrays["truncated"]
        self.valid = arrays["valid"]
        self.log: Dict[str, np.ndarray] = {}


def array_shapes(specs: Mapping[str, TensorSpec], num_envs: int) -> Dict[str, Tuple[Tuple[int, ...], str]]:
    """Return shape and name of type of every array of a step.

    Args:
        specs: The observation space's leaves.
        num_envs: Number of environments.
    """
    shapes: Dict[str, Tuple[Tuple[int, ...], str]] = {}
    for name, spec in specs.items():
        for prefix in ("observation/", "final/"):
            shapes[prefix + name] = ((num_envs,) + spec.shape, spec.dtype)
    shapes["rewards"] = ((num_envs, 1), "float32")
    for name in ("terminated", "truncated", "valid"):
        shapes[name] = ((num_envs, 1), "bool")
    return shapes


def _below(prefix: str, arrays: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


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
