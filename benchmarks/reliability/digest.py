"""SHA-256 over everything that a run is: its parts, its log, its checkpoints and what it does next."""

import hashlib
import struct
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import torch

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER
from AquaML.stateful import collect_states
from AquaML.tracking.csv_sink import FILE_NAME, read_rows

WALL_CLOCK = ("time/", "system/")
"""How figures begin that no two runs share."""
NEXT_ACTIONS = 1000


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a state; types, shapes and every bit count, the order of a dict's keys does not."""
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        digest.update("array {} {};".format(value.dtype.str, value.shape).encode("ascii"))
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict):
        digest.update("dict {};".format(len(value)).encode("ascii"))
        for key in sorted(value, key=repr):
            _feed(digest, key)
            _feed(digest, value[key])
    elif isinstance(value, (list, tuple)):
        digest.update("list {};".format(len(value)).encode("ascii"))
        for item in value:
            _feed(digest, item)
    elif isinstance(value, float):
        digest.update(b"float " + struct.pack("<d", value))
    elif value is None or isinstance(value, (bool, int, str)):
        digest.update("{} {!r};".format(type(value).__name__, value).encode("utf-8"))
    else:
        raise TypeError("a {} has no digest".format(type(value).__name__))


def run_digests(trainer: Any) -> Dict[str, str]:
    """Return the digests of a run that has ended: of each part, the log, each checkpoint and the next actions."""
    assert trainer.run_folder is not None
    found = _of_parts(collect_states(trainer.coordinator.parts()))
    found["log"] = digest_of(log_rows(trainer.run_folder))
    for path in sorted((trainer.run_folder / CHECKPOINT_FOLDER).glob("*.aqua")):
        for name, digest in _of_parts(read_checkpoint(path).parts).items():
            found["{}: {}".format(path.name, name)] = digest
    # Last, since it moves the environments on.
    found["next actions"] = digest_of(next_actions(trainer))
    return found


def _of_parts(parts: Dict[str, Any]) -> Dict[str, str]:
    return {name: digest_of(entry) for name, entry in parts.items()}


def log_rows(folder: Path) -> List[Dict[str, str]]:
    """Return the rows of a run's log without what the wall clock says; figures that are absent are left out."""
    return [
        {name: value for name, value in row.items() if value and not name.startswith(WALL_CLOCK)}
        for row in read_rows(folder / FILE_NAME)
    ]


def next_actions(trainer: Any, number: int = NEXT_ACTIONS) -> List[Dict[str, torch.Tensor]]:
    """Return at least ``number`` actions that follow the end of training, drawn as in training."""
    agent, env, states = trainer.agent, trainer.env, trainer.state_dict()["states"]
    agent.set_mode(training=False, deterministic=False)
    taken = []
    for step in range(-(-number // env.num_envs)):
        actions = agent.name_actions(agent.act(states, step, number))
        taken.append({name: value.clone() for name, value in actions.items()})
        states, _, terminated, truncated, _ = env.step(actions)
        agent.on_reset(terminated | truncated)
    return taken
