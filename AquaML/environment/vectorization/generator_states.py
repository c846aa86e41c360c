"""The random streams of a batch of environments as one array, however many they are."""

from typing import Any, Mapping, Sequence

import numpy as np

_WORD = 2**64
_KIND = "PCG64"


def get_generator_states(generators: Sequence[np.random.Generator]) -> np.ndarray:
    """Return the states of PCG64 generators, ``(N, 6)`` uint64.

    The columns are the upper and lower half of the state, the same of the increment, whether half a word is left over,
    and that half word. Written out one by one, thousands of them would fill a checkpoint's metadata.
    """
    rows = []
    for generator in generators:
        saved: Mapping[str, Any] = generator.bit_generator.state
        state, increment = saved["state"]["state"], saved["state"]["inc"]
        halves = [state // _WORD, state % _WORD, increment // _WORD, increment % _WORD]
        rows.append(halves + [saved["has_uint32"], saved["uinteger"]])
    return np.array(rows, np.uint64).reshape(len(rows), 6)


def set_generator_states(generators: Sequence[np.random.Generator], states: np.ndarray) -> None:
    """Put PCG64 generators where :func:`get_generator_states` found others."""
    for generator, row in zip(generators, np.asarray(states).tolist()):
        generator.bit_generator.state = {
            "bit_generator": _KIND,
            "state": {"state": row[0] * _WORD + row[1], "inc": row[2] * _WORD + row[3]},
            "has_uint32": row[4],
            "uinteger": row[5],
        }
