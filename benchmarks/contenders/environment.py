"""Environments alone, under random actions."""

from typing import Any, Callable

import gymnasium
import numpy as np

from benchmarks.gate import Gate
from benchmarks.specification import Specification

_PREPARED = 64
"""Batches of actions drawn beforehand and used in turn."""


def run(specification: Specification, gate: Gate) -> None:
    """Step with random actions, in units."""
    makers = {"gymnasium": _gymnasium, "envpool_bare": _envpool}
    step, space = makers.get(specification.backend, _aquaml)(specification)
    generator = np.random.default_rng(specification.seed)
    shape = (_PREPARED, specification.num_envs) + space.shape
    actions = generator.uniform(space.low, space.high, shape).astype(space.dtype)
    turn = 0

    def work() -> None:
        nonlocal turn
        step(actions[turn])
        turn = (turn + 1) % _PREPARED

    gate.introduction["settings"] = dict(gate.introduction.get("settings", {}), actions="uniform within their bounds")
    gate.loop(work)


def _gymnasium(specification: Specification) -> Any:
    env = gymnasium.make_vec(
        specification.task,
        num_envs=specification.num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
    )
    env.reset(seed=specification.seed)
    return env.step, env.single_action_space


def _envpool(specification: Specification) -> Any:
    import envpool

    env = envpool.make_gymnasium(specification.task, num_envs=specification.num_envs, seed=specification.seed)
    env.reset()
    return env.step, env.action_space


def _aquaml(specification: Specification) -> Any:
    import torch

    from benchmarks.rows import Rows

    rows = Rows(specification)
    rows.reset()
    step: Callable[[np.ndarray], Any] = lambda actions: rows.step(torch.from_numpy(actions))  # noqa: E731
    return step, rows.action_space
