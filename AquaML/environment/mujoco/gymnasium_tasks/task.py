"""What Gymnasium's MuJoCo tasks have in common: model, random streams, the start of an episode."""

import abc
import dataclasses
from typing import Any, Dict, Generic, List, Optional, Tuple, TypeVar

import numpy as np

from AquaML.environment.mujoco.backend import MujocoBackend
from AquaML.environment.mujoco.simulation import Simulation
from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME
from AquaML.environment.vectorization.backend import Unsuited
from AquaML.environment.vectorization.generator_states import get_generator_states, set_generator_states

Options = TypeVar("Options")


@dataclasses.dataclass
class Original:
    """What is taken from one real environment, so that models and spaces cannot differ from Gymnasium's.

    Attributes:
        model: ``MjModel``.
        frame_skip: Physics steps per environment step.
        positions: Generalised positions ``(nq,)`` that starts are drawn around.
        velocities: Generalised velocities ``(nv,)`` that starts are drawn around.
        observation_space: Gymnasium space.
        action_space: Gymnasium space.
        max_episode_steps: Time limit in steps; None: none.
    """

    model: Any
    frame_skip: int
    positions: np.ndarray
    velocities: np.ndarray
    observation_space: Any
    action_space: Any
    max_episode_steps: Optional[int]


class GymnasiumTask(MujocoBackend, Generic[Options]):
    """A batch of one of Gymnasium's MuJoCo tasks; equal seeds and actions give equal episodes.

    Args:
        original: What is taken from a real environment.
        options: Keyword arguments of Gymnasium's class that concern observations, rewards, ends and starts.
        num_envs: Number of environments.
        threads: Number of threads; None: as many as this process has cores.

    Attributes:
        positions: Generalised positions ``(num_envs, nq)``, kept current.
        velocities: Generalised velocities ``(num_envs, nv)``, kept current.
    """

    options_type: Any
    """The dataclass of the options."""
    normal_velocities = False
    """Whether velocities at the start are normally distributed; otherwise uniformly, like positions."""

    def __init__(self, original: Original, options: Options, num_envs: int, threads: Optional[int] = None) -> None:
        simulation = Simulation([original.model], num_envs, original.frame_skip, threads)
        super().__init__(simulation, original.max_episode_steps)
        self.original = original
        self.options = options
        self.observation_space = original.observation_space
        self.action_space = original.action_space
        self.positions = simulation.watch("qpos")
        self.velocities = simulation.watch("qvel")
        self._generators: List[np.random.Generator] = [_generator(None) for _ in range(num_envs)]
        self.prepare()

    def prepare(self) -> None:
        """Watch what the task needs beside positions and velocities; called once."""

    @abc.abstractmethod
    def observe(self) -> np.ndarray:
        """Return the present observations ``(num_envs, size)`` in float64."""

    def observations(self) -> Dict[str, np.ndarray]:
        """Return the present observations under AquaML's name."""
        return {OBSERVATION_NAME: self.observe()}

    def controls(self, native: Dict[str, np.ndarray]) -> np.ndarray:
        """Return the actions: they are the controls."""
        self.remember()
        return native[ACTION_NAME]

    def remember(self) -> None:
        """Keep what the judgement compares with; called before the physics."""

    def squared_actions(self, native: Dict[str, np.ndarray]) -> np.ndarray:
        """Return the sum of squared actions ``(num_envs,)``, in the type of the actions as Gymnasium does."""
        return np.square(native[ACTION_NAME]).sum(axis=1)

    def body(self, name: Any) -> int:
        """Return the index of a body.

        Args:
            name: Its name or index.

        Raises:
            Unsuited: The model has no such body.
        """
        try:
            return int(self.original.model.body(name).id)
        except (KeyError, IndexError) as error:
            raise Unsuited("the model has no body {!r}: {}".format(name, error)) from error

    def seed(self, seed: int) -> None:
        """Give environment *i* the random stream that Gymnasium makes of ``seed + i``."""
        self._generators = [_generator(seed + index) for index in range(self.num_envs)]

    def begin_episodes(self, rows: np.ndarray) -> None:
        """Draw a start for each row from its own random stream."""
        starts = [self.draw_start(self._generators[row]) for row in rows]
        positions, velocities = (np.array(part) for part in zip(*starts))
        self.simulation.begin(rows, positions, velocities)

    def draw_start(self, generator: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
        """Draw generalised positions ``(nq,)`` and velocities ``(nv,)``, positions first."""
        scale = self.options.reset_noise_scale  # type: ignore[attr-defined]
        positions = self.original.positions + generator.uniform(-scale, scale, self.original.positions.size)
        size = self.original.velocities.size
        if self.normal_velocities:
            return positions, self.original.velocities + scale * generator.standard_normal(size)
        return positions, self.original.velocities + generator.uniform(-scale, scale, size)

    def task_state(self) -> Dict[str, Any]:
        """Return the states of the random streams."""
        return {"generators": get_generator_states(self._generators)}

    def set_task_state(self, state: Dict[str, Any]) -> None:
        """Continue the random streams."""
        set_generator_states(self._generators, state["generators"])


def distance_from_origin(positions: np.ndarray) -> np.ndarray:
    """Return the length of the first two coordinates ``(num_envs,)``."""
    return np.linalg.norm(positions[:, :2], axis=1)


def place_and_speed(positions: np.ndarray, speed: np.ndarray) -> Dict[str, np.ndarray]:
    """Return what Gymnasium's tasks on a plane log of place ``(num_envs, nq)`` and speed ``(num_envs, 2)``."""
    return {
        "x_position": positions[:, 0],
        "y_position": positions[:, 1],
        "distance_from_origin": distance_from_origin(positions),
        "x_velocity": speed[:, 0],
        "y_velocity": speed[:, 1],
    }


def flat(values: np.ndarray) -> np.ndarray:
    """Return ``(num_envs, ...)`` as ``(num_envs, size)``."""
    return values.reshape(len(values), -1)


def _generator(seed: Optional[int]) -> np.random.Generator:
    from gymnasium.utils import seeding

    return seeding.np_random(seed)[0]
