"""Writes the files of this folder: ``python tests/reliability/golden/write.py`` from the repository's root.

They were written by the versions that ``expected.json`` names and are read by every version in continuous integration.
Write new ones, under new names, when the format changes; the old ones stay.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict

import gymnasium
import numpy as np
import torch

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from benchmarks.reliability.digest import digest_of
from benchmarks.reliability.loaded import picture_of_four, trained_agent
from benchmarks.reliability.tiny_run import NAME, tiny_trainer

HERE = Path(__file__).resolve().parent
HIDDEN = (8,)


def pendulum() -> GymnasiumWrapper:
    """Two pendulums."""
    return GymnasiumWrapper("Pendulum-v1", num_envs=2, vectorization="sync")


def named() -> GymnasiumWrapper:
    """Two environments with four observations."""
    return GymnasiumWrapper(picture_of_four, num_envs=2, vectorization="sync")


def observation_of(env: GymnasiumWrapper) -> Any:
    """Return one observation in the environment's own form, the same in every version."""
    numbers = np.linspace(-0.9, 0.9, 6)
    if "joints" not in env.observation_layout.specs:
        return numbers[:3].astype(np.float32)
    camera = np.arange(16, dtype=np.uint8).reshape(4, 4)
    return {"joints": numbers.astype(np.float32), "goal": numbers[:3], "mode": np.int64(2), "camera": camera}


def main() -> None:
    """Write all files and what is expected of them."""
    expected: Dict[str, Any] = {
        "written_by": {
            "python": sys.version.split()[0],
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "gymnasium": gymnasium.__version__,
        }
    }
    for name, env in (("pendulum.aqua", pendulum()), ("named.aqua", named())):
        agent = trained_agent(env, 7, HIDDEN)
        agent.save(HERE / name)
        expected[name] = {"action": np.asarray(agent.predict(observation_of(env))).tolist()}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        trainer = tiny_trainer(Path("runs"), timesteps=6, checkpoint_interval=0)
        trainer.train()
        file = Path("runs") / NAME / CHECKPOINT_FOLDER / "last.aqua"
        (HERE / "run.aqua").write_bytes(file.read_bytes())
        os.chdir(str(HERE))
        expected["run.aqua"] = {"action": trainer.agent.predict(observation_of(trainer.env)).tolist()}
    for name in ("pendulum.aqua", "named.aqua", "run.aqua"):
        checkpoint = read_checkpoint(HERE / name)
        expected[name]["digest"] = digest_of({"parts": checkpoint.parts, "metadata": checkpoint.metadata})
    (HERE / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
