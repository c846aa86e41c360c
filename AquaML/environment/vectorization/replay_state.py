"""The saved state of environments that are replayed: parts of a batch joined to a whole, and cut out of it again."""

from typing import Any, Dict, List, Sequence

import numpy as np


def join_replays(states: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """Return the state of a batch from those of its parts, as one process with all environments would have saved it.

    Args:
        states: What :meth:`~.sync.SyncVector.get_state` returned for each part, in the order of their environments.
    """
    episodes = [episode for state in states for episode in state["episodes"]]
    length = max(episode["length"] for episode in episodes)
    names = {name: values for state in states for name, values in state["actions"].items()}
    return {
        "episodes": episodes,
        "actions": {
            name: np.concatenate([_rows(state, name, values, length) for state in states], axis=1)
            for name, values in names.items()
        },
        "observations": {
            name: np.concatenate([state["observations"][name] for state in states])
            for name in states[0]["observations"]
        },
        "generators": [generator for state in states for generator in state["generators"]],
    }


def _rows(state: Dict[str, Any], name: str, pattern: np.ndarray, length: int) -> np.ndarray:
    """Return the newest ``length`` rows of actions; those before a part's oldest running episode are zeros."""
    number = len(state["episodes"])
    rows = np.zeros((length, number) + pattern.shape[2:], pattern.dtype)
    known = state["actions"].get(name, rows[:0])[max(0, len(state["actions"].get(name, ())) - length) :]
    rows[length - len(known) :] = known
    return rows


def cut_replay(state: Dict[str, Any], first: int, last: int) -> Dict[str, Any]:
    """Return the part of a batch's state that belongs to the environments from ``first`` to before ``last``."""
    episodes: List[Dict[str, Any]] = state["episodes"][first:last]
    length = max(episode["length"] for episode in episodes)
    return {
        "episodes": episodes,
        "actions": {name: values[len(values) - length :, first:last] for name, values in state["actions"].items()},
        "observations": {name: values[first:last] for name, values in state["observations"].items()},
        "generators": state["generators"][first:last],
    }
