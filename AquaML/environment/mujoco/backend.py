"""The step of a batch of robots: physics, judgement, time limit, same-step reset, saved state."""

import abc
from typing import Any, Dict, Optional, Tuple

import numpy as np

from AquaML.environment.mujoco.simulation import Simulation
from AquaML.environment.step_arrays import StepArrays
from AquaML.environment.vectorization.backend import VectorBackend

Judgement = Tuple[np.ndarray, np.ndarray, Dict[str, np.ndarray]]


class MujocoBackend(VectorBackend):
    """A batch of equal robots; what the task is, subclasses say.

    Args:
        simulation: The physics.
        max_episode_steps: Time limit in steps; None: none.

    Attributes:
        elapsed: Steps of the running episodes, ``(num_envs,)`` int64.
    """

    def __init__(self, simulation: Simulation, max_episode_steps: Optional[int]) -> None:
        self.simulation = simulation
        self.num_envs = simulation.num_envs
        self.max_episode_steps = max_episode_steps
        self.elapsed = np.zeros(self.num_envs, np.int64)
        self._everyone = np.arange(self.num_envs)
        self._latest: Dict[str, np.ndarray] = {}

    @abc.abstractmethod
    def seed(self, seed: int) -> None:
        """Begin the random streams anew."""

    @abc.abstractmethod
    def begin_episodes(self, rows: np.ndarray) -> None:
        """Put the robots of some rows ``(R,)`` at the start of an episode, by ``self.simulation.begin``."""

    @abc.abstractmethod
    def observations(self) -> Dict[str, np.ndarray]:
        """Return the present observations of all robots, leaf name to ``(num_envs, *shape)``."""

    def first_observations(self, rows: np.ndarray) -> Dict[str, np.ndarray]:
        """Return observations after episodes of some rows ``(R,)`` have begun; only these rows are read."""
        return self.observations()

    @abc.abstractmethod
    def controls(self, native: Dict[str, np.ndarray]) -> np.ndarray:
        """Return the controls ``(num_envs, nu)`` that actions stand for; called once, before the physics."""

    @abc.abstractmethod
    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Judge the step that was just made.

        Returns:
            Rewards ``(num_envs,)``, terminated ``(num_envs,)`` bool, and scalars to log by name, ``(num_envs,)``.
        """

    def task_state(self) -> Dict[str, Any]:
        """Return what the task remembers beside the physics, its random streams above all."""
        return {}

    def set_task_state(self, state: Dict[str, Any]) -> None:
        """Take over what :meth:`task_state` returned."""

    def reset(self, seed: Optional[int], out: StepArrays) -> None:
        """Start every robot anew and write the first observations."""
        if seed is not None:
            self.seed(seed)
        self._begin(self._everyone, out)

    def _begin(self, rows: np.ndarray, out: StepArrays) -> None:
        self.elapsed[rows] = 0
        self.begin_episodes(rows)
        for name, values in self.first_observations(rows).items():
            out.observations[name][rows] = values[rows]
        self._latest = out.observations

    def step(self, native: Dict[str, np.ndarray], out: StepArrays) -> bool:
        """Advance every robot; those whose episode ends begin the next at once."""
        self.simulation.step(self.controls(native))
        self.elapsed += 1
        rewards, terminated, scalars = self.judge(native)
        out.rewards[:, 0] = rewards
        out.terminated[:, 0] = terminated
        out.truncated[...] = False
        if self.max_episode_steps is not None:
            np.greater_equal(self.elapsed, self.max_episode_steps, out=out.truncated[:, 0])
            out.truncated &= ~out.terminated
        out.log = {name: np.asarray(values, np.float32) for name, values in scalars.items()}
        for name, values in self.observations().items():
            out.observations[name][...] = values
        self._latest = out.observations
        rows = np.flatnonzero(out.terminated | out.truncated)
        if not len(rows):
            return False
        for name, values in out.observations.items():
            out.final[name][rows] = values[rows]
        self._begin(rows, out)
        return True

    def get_state(self) -> Dict[str, Any]:
        """Return physics, clocks, random streams and the last observations."""
        return {
            "simulation": self.simulation.get_state(),
            "elapsed": self.elapsed.copy(),
            "observations": {name: np.array(values) for name, values in self._latest.items()},
            "task": self.task_state(),
        }

    def set_state(self, state: Dict[str, Any], out: StepArrays) -> bool:
        """Put everything where it stood."""
        self.simulation.set_state(state["simulation"])
        self.elapsed[...] = state["elapsed"]
        self.set_task_state(state["task"])
        for name, values in out.observations.items():
            values[...] = state["observations"][name]
        self._latest = out.observations
        return True

    def close(self) -> None:
        """End the threads of the physics."""
        self.simulation.close()
