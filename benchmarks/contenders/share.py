"""AquaML in training, and after each unit the same actions replayed on environments alone."""

import time
from typing import Any, Dict

import torch

import AquaML
from benchmarks.contenders.aquaml import describe, make_trainer
from benchmarks.gate import Gate
from benchmarks.rows import make_environment
from benchmarks.specification import Specification


def run(specification: Specification, gate: Gate) -> None:
    """Train in units; each reply also holds ``"replay"``, the seconds of the environments alone.

    The twin starts from the same seed and is handed the same actions from the first step on, so it goes through the
    same episodes as the environments of the training, resets included.
    """
    AquaML.seed_everything(specification.seed)
    env, twin = make_environment(specification), make_environment(specification)
    trainer = make_trainer(specification, env)
    twin.reset(seed=specification.seed)

    def replay() -> Dict[str, float]:
        begun = time.perf_counter()
        for actions in gate.actions:
            twin.step(actions)
        return {"replay": time.perf_counter() - begun}

    gate.introduction = describe(specification, trainer)
    gate.record_action = _copied
    gate.after_unit = replay
    gate.attach(env)
    trainer.train()


def _copied(actions: Dict[str, Any]) -> Dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in actions.items()}
