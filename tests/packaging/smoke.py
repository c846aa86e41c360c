"""Import every module of the installed AquaML, then train, save, load, resume, evaluate and predict.

A program of its own and not a test module, so that it runs where nothing but AquaML is installed::

    python tests/packaging/smoke.py
"""

import importlib
import os
import pkgutil
import platform
import tempfile
from pathlib import Path
from typing import Any, List


def import_every_module() -> int:
    """Import all modules of the package and return how many there are."""
    package = importlib.import_module("AquaML")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "AquaML.")]
    for name in names:
        importlib.import_module(name)
    assert len(names) > 40, names
    return len(names)


def make_trainer(timesteps: int, resume: Any = False) -> Any:
    """Return a trainer of a small PPO agent on Pendulum."""
    from AquaML import default_models, seed_everything
    from AquaML.environment.gymnasium_envs import GymnasiumWrapper
    from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
    from AquaML.learning.trainers.base import TrainerConfig
    from AquaML.learning.trainers.sequential import SequentialTrainer

    seed_everything(0)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=4)
    agent = PPO(default_models(env.getEnvInfo(), hidden_sizes=(16,)), PPOCfg(rollouts=32, device="cpu"))
    return SequentialTrainer(env, agent, TrainerConfig(timesteps=timesteps, seed=0, resume=resume))


def actions_of(trainer: Any) -> List[float]:
    """Return the agent's action for one fixed observation."""
    import numpy

    return numpy.asarray(trainer.agent.predict(numpy.array([1.0, 0.0, 0.5], numpy.float32))).tolist()


def use_everything() -> None:
    """Train, save, load, resume, evaluate and predict in the working directory."""
    whole = make_trainer(320)
    whole.train()
    expected = actions_of(whole)

    half = make_trainer(160)
    half.train()
    resumed = make_trainer(320, resume=str(half.run_folder))
    resumed.train()
    assert actions_of(resumed) == expected, "resumed training differs from training without interruption"

    resumed.agent.save("agent.pt")
    fresh = make_trainer(1)
    fresh.agent.load("agent.pt")
    assert actions_of(fresh) == expected, "a loaded agent acts differently"
    print(fresh.eval(episodes=4))


def main() -> None:
    """Run everything in a temporary folder and print one line."""
    import gymnasium
    import numpy
    import torch

    modules = import_every_module()
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            use_everything()
        finally:
            os.chdir(str(before))
    print(
        "smoke: {} modules imported, trained, resumed, loaded, evaluated; Python {}, torch {}, numpy {}, "
        "gymnasium {}".format(
            modules, platform.python_version(), torch.__version__, numpy.__version__, gymnasium.__version__
        )
    )


if __name__ == "__main__":
    main()
