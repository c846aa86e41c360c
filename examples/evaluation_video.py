"""Evaluate an agent and film it: a short training, then one episode as an animated GIF.

With ``headless=False`` the trainer renders every step. Here the environment is made with ``render_mode="rgb_array"``,
and its wrapper keeps the pictures. Where nothing can be rendered (no pygame, for example), this is said once and the
figures are computed all the same.

Run ``python examples/evaluation_video.py``; ``--load runs/<run>/checkpoints/best.aqua`` films an agent of another run.

With the defaults, about a minute and a half on two cores, the film shows a swing-up from below; its return is -251.
"""

import argparse
from pathlib import Path
from typing import Any, List, Optional

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.base import TrainerConfig
from AquaML.learning.trainers.sequential import SequentialTrainer


class FilmedWrapper(GymnasiumWrapper):
    """Keeps every picture that was rendered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.frames: List[np.ndarray] = []

    def render(self) -> Any:
        """Render, and keep the picture."""
        frame = super().render()
        if frame is not None:
            self.frames.append(frame)
        return frame


def write_film(frames: List[np.ndarray], path: Path, frames_per_second: int) -> None:
    """Write pictures as an animated GIF, one pixel to a pixel."""
    height, width = frames[0].shape[:2]
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    image = axes.imshow(frames[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = PillowWriter(fps=frames_per_second)
    with writer.saving(figure, str(path), dpi=100):
        for frame in frames:
            image.set_data(frame)
            writer.grab_frame()


def main(arguments: Optional[List[str]] = None) -> None:
    """Train or load an agent, then evaluate and film it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="Pendulum-v1", help="any Gymnasium environment id that renders pictures")
    parser.add_argument("--load", type=Path, default=None, help="a checkpoint; training is left out")
    parser.add_argument("--timesteps", type=int, default=10_000, help="vector steps of training")
    parser.add_argument("--seed", type=int, default=3, help="seed of the filmed episode")
    parser.add_argument("--output", type=Path, default=Path("videos/episode.gif"))
    options = parser.parse_args(arguments)

    AquaML.seed_everything(0)
    env = GymnasiumWrapper(options.env, num_envs=16)
    cfg = PPOCfg(rollouts=64, learning_epochs=8, mini_batches=8, learning_rate=1e-3, discount_factor=0.95)
    agent = PPO(default_models(env.getEnvInfo()), cfg)
    if options.load is None:
        SequentialTrainer(env, agent, TrainerConfig(timesteps=options.timesteps, seed=0)).train()
    else:
        agent.load(options.load)

    filmed = FilmedWrapper(options.env, render_mode="rgb_array")
    summary = SequentialTrainer(filmed, agent, TrainerConfig(seed=options.seed, headless=False)).eval(episodes=1)
    print("Evaluation: {}".format(summary))
    if filmed.frames:
        # Every second picture keeps the file small.
        write_film(filmed.frames[::2], options.output, frames_per_second=15)
        print("{} pictures are in '{}'.".format(len(filmed.frames[::2]), options.output))
    else:
        print("There is no film: '{}' gave no pictures; the warning above says why.".format(options.env))


if __name__ == "__main__":
    main()
