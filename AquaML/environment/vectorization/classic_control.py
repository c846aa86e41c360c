"""Gymnasium's classic control tasks, computed for the whole batch at once.

The arithmetic follows Gymnasium's classes operation by operation, in the same types and order, and every environment
draws from a random generator of its own: with equal seeds and actions the trajectories are Gymnasium's.
"""

import abc
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from gymnasium.utils import seeding

from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME
from AquaML.environment.step_arrays import StepArrays
from AquaML.environment.vectorization.backend import Unsuited, VectorBackend
from AquaML.environment.vectorization.generator_states import get_generator_states, set_generator_states

_SCALAR = (np.float32(1.0) * 1.0).dtype
"""Type of a float32 scalar times a Python number, as Gymnasium's classes compute: float64 before NumPy 2."""


class ClassicControl(VectorBackend):
    """A batch of one task; subclasses say which.

    Args:
        num_envs: Number of environments.
        max_episode_steps: Time limit in steps; None: none.

    Attributes:
        state: ``(variables, num_envs)`` float64: what the task integrates.
        elapsed: Steps of the running episodes, ``(num_envs,)`` int64.
    """

    VARIABLES = 2

    def __init__(self, num_envs: int, max_episode_steps: Optional[int]) -> None:
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.state = np.zeros((self.VARIABLES, num_envs))
        self.elapsed = np.zeros(num_envs, np.int64)
        self._generators: List[np.random.Generator] = []
        self._latest = np.zeros((num_envs, 0), np.float32)

    @abc.abstractmethod
    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Draw the state ``(variables,)`` that an episode starts in."""

    @abc.abstractmethod
    def advance(self, actions: np.ndarray) -> Tuple[Any, Any]:
        """Move :attr:`state` on by one step.

        Args:
            actions: Native actions, ``(num_envs,)`` or ``(num_envs, 1)``.

        Returns:
            Rewards and terminated, each ``(num_envs,)`` or one value for all.
        """

    def observe(self, state: np.ndarray, out: np.ndarray) -> None:
        """Write what states ``(variables, R)`` look like to ``(R, features)``."""
        out[...] = state.T

    def observe_first(self, state: np.ndarray, out: np.ndarray) -> None:
        """Write what states look like in which an episode starts."""
        self.observe(state, out)

    def reset(self, seed: Optional[int], out: StepArrays) -> None:
        """Start every episode anew and write the first observations."""
        if seed is not None:
            self._generators = [seeding.np_random(seed + index)[0] for index in range(self.num_envs)]
        elif not self._generators:
            self._generators = [seeding.np_random(None)[0] for _ in range(self.num_envs)]
        self._latest = out.observations[OBSERVATION_NAME]
        self._begin(np.arange(self.num_envs))

    def _begin(self, rows: np.ndarray) -> None:
        state = np.array([self.draw(self._generators[row]) for row in rows]).T
        first = np.empty((len(rows),) + self._latest.shape[1:], self._latest.dtype)
        self.observe_first(state, first)
        self.state[:, rows] = state
        self.elapsed[rows] = 0
        self._latest[rows] = first

    def step(self, native: Dict[str, np.ndarray], out: StepArrays) -> bool:
        """Advance every environment; those whose episode ends begin the next at once."""
        rewards, terminated = self.advance(native[ACTION_NAME])
        self.elapsed += 1
        out.rewards[:, 0] = rewards
        out.terminated[:, 0] = terminated
        out.log = {}
        self._latest = out.observations[OBSERVATION_NAME]
        self.observe(self.state, self._latest)
        over = terminated
        if self.max_episode_steps is not None:
            over = self.elapsed >= self.max_episode_steps
            np.greater(over, terminated, out=out.truncated[:, 0])
            over |= terminated
        else:
            out.truncated[...] = False
        if not np.count_nonzero(over):
            return False
        rows = np.flatnonzero(over)
        out.final[OBSERVATION_NAME][rows] = self._latest[rows]
        self._begin(rows)
        return True

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return states, clocks, random generators and the last observations; None before the first reset."""
        if not self._generators:
            return None
        return {
            "task": type(self).__name__,
            "state": self.state.copy(),
            "elapsed": self.elapsed.copy(),
            "generators": get_generator_states(self._generators),
            "observations": self._latest.copy(),
        }

    def set_state(self, state: Dict[str, Any], out: StepArrays) -> bool:
        """Put everything where it stood."""
        target = out.observations[OBSERVATION_NAME]
        if state["task"] != type(self).__name__ or np.shape(state["state"]) != self.state.shape:
            return False
        self.state[...] = state["state"]
        self.elapsed[...] = state["elapsed"]
        self._generators = [seeding.np_random(0)[0] for _ in range(self.num_envs)]
        set_generator_states(self._generators, state["generators"])
        target[...] = state["observations"]
        self._latest = target
        return True


class Pendulum(ClassicControl):
    """``Pendulum-v1``: angle and angular velocity of a pendulum to be swung up.

    Args:
        num_envs: Number of environments.
        max_episode_steps: Time limit in steps; None: none.
        g: Acceleration of gravity in m/s².
    """

    _HIGH = np.array([np.pi, 1.0])

    def __init__(self, num_envs: int, max_episode_steps: Optional[int], g: float = 10.0) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.g = g

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Draw angle and angular velocity."""
        return generator.uniform(low=-self._HIGH, high=self._HIGH)

    def advance(self, actions: np.ndarray) -> Tuple[Any, Any]:
        """Move on by 0.05 s; no episode terminates."""
        angle, velocity = self.state
        torque = np.minimum(np.maximum(actions[:, 0], -2.0), 2.0).astype(_SCALAR, copy=False)
        normalised = (angle + np.pi) % (2 * np.pi) - np.pi
        costs = np.square(normalised) + 0.1 * np.square(velocity) + 0.001 * np.square(torque)
        velocity = velocity + (3 * self.g / 2.0 * np.sin(angle) + 3.0 * torque) * 0.05
        self.state[1] = velocity = np.minimum(np.maximum(velocity, -8.0), 8.0)
        self.state[0] += velocity * 0.05
        return -costs, False

    def observe(self, state: np.ndarray, out: np.ndarray) -> None:
        """Write cosine and sine of the angle, and the angular velocity."""
        out[:, 0] = np.cos(state[0])
        out[:, 1] = np.sin(state[0])
        out[:, 2] = state[1]


class CartPole(ClassicControl):
    """``CartPole-v0`` and ``CartPole-v1``: a pole to be balanced on a cart.

    Args:
        num_envs: Number of environments.
        max_episode_steps: Time limit in steps; None: none.
        sutton_barto_reward: Whether rewards are 0, and -1 at the end, instead of 1.
    """

    VARIABLES = 4
    _MASS, _POLE_MASS, _HALF_LENGTH, _TAU = 0.1 + 1.0, 0.1, 0.5, 0.02
    _FARTHEST, _WIDEST = 2.4, 12 * 2 * np.pi / 360

    def __init__(self, num_envs: int, max_episode_steps: Optional[int], sutton_barto_reward: bool = False) -> None:
        super().__init__(num_envs, max_episode_steps)
        self._sutton_barto_reward = sutton_barto_reward

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Draw position, velocity, angle and angular velocity."""
        return generator.uniform(low=-0.05, high=0.05, size=(4,))

    def advance(self, actions: np.ndarray) -> Tuple[Any, Any]:
        """Move on by 0.02 s."""
        position, velocity, angle, spin = self.state
        force = np.where(actions == 1, 10.0, -10.0)
        cosine, sine = np.cos(angle), np.sin(angle)
        moment = self._POLE_MASS * self._HALF_LENGTH
        push = (force + moment * np.square(spin) * sine) / self._MASS
        turn = (9.8 * sine - cosine * push) / (
            self._HALF_LENGTH * (4.0 / 3.0 - self._POLE_MASS * np.square(cosine) / self._MASS)
        )
        acceleration = push - moment * turn * cosine / self._MASS
        position += self._TAU * velocity
        velocity += self._TAU * acceleration
        angle += self._TAU * spin
        spin += self._TAU * turn
        fallen = (np.abs(position) > self._FARTHEST) | (np.abs(angle) > self._WIDEST)
        if self._sutton_barto_reward:
            return np.where(fallen, -1.0, 0.0), fallen
        return 1.0, fallen


class MountainCar(ClassicControl):
    """``MountainCar-v0``: a weak car that must swing itself up a hill.

    Args:
        num_envs: Number of environments.
        max_episode_steps: Time limit in steps; None: none.
        goal_velocity: Least velocity at the goal.
    """

    def __init__(self, num_envs: int, max_episode_steps: Optional[int], goal_velocity: float = 0) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.goal_velocity = goal_velocity

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Draw the position; the car stands still."""
        return np.array([generator.uniform(low=-0.6, high=-0.4), 0.0])

    def advance(self, actions: np.ndarray) -> Tuple[Any, Any]:
        """Move on by one step."""
        position, velocity = self.state
        velocity += (actions - 1) * 0.001 + np.cos(3 * position) * (-0.0025)
        np.clip(velocity, -0.07, 0.07, out=velocity)
        position += velocity
        np.clip(position, -1.2, 0.6, out=position)
        velocity[(position == -1.2) & (velocity < 0)] = 0.0
        return -1.0, (position >= 0.5) & (velocity >= self.goal_velocity)


class MountainCarContinuous(MountainCar):
    """``MountainCarContinuous-v0``: the same hill, with a force as action.

    Gymnasium keeps position and velocity in float32 from the first step on; so does this, in their float64 places.
    """

    def advance(self, actions: np.ndarray) -> Tuple[Any, Any]:
        """Move on by one step."""
        starting = self.elapsed == 0
        arrived = np.empty(self.num_envs, bool)
        for rows, kind in ((starting, np.dtype(np.float64)), (~starting, _SCALAR)):
            if rows.any():
                moved, arrived[rows] = self._move(self.state[:, rows].astype(kind), actions[rows, 0])
                self.state[:, rows] = moved.astype(np.float32)
        effort = np.square(actions[:, 0].astype(np.float64)) * 0.1
        return np.where(arrived, 100.0, 0.0) - effort, arrived

    def _move(self, state: np.ndarray, actions: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        position, velocity = state
        slope = 0.0025 * np.cos((3 * position).astype(np.float64))
        inside = np.abs(actions) <= 1.0
        # A force beyond the bounds becomes a Python number, which is of higher precision.
        push = np.where(
            inside,
            actions.astype(_SCALAR) * 0.0015 - slope.astype(_SCALAR),
            (np.sign(actions).astype(np.float64) * 0.0015 - slope).astype(position.dtype),
        )
        velocity = np.clip(velocity + push, -0.07, 0.07)
        low = position.dtype.type(-1.2)
        position = np.clip(position + velocity, low, 0.6)
        velocity = np.where((position == low) & (velocity < 0), 0, velocity)
        return np.stack([position, velocity]), (position >= 0.45) & (velocity >= self.goal_velocity)


class Acrobot(ClassicControl):
    """``Acrobot-v1``: two links, the joint between them driven; the free end must reach a height."""

    VARIABLES = 4

    def __init__(self, num_envs: int, max_episode_steps: Optional[int]) -> None:
        super().__init__(num_envs, max_episode_steps)
        self._two = np.full(num_envs, 2.0)

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Draw both angles and angular velocities."""
        return generator.uniform(low=-0.1, high=0.1, size=(4,)).astype(np.float32)

    def observe(self, state: np.ndarray, out: np.ndarray) -> None:
        """Write cosine and sine of both angles, and the angular velocities."""
        out[:, 0], out[:, 1] = np.cos(state[0]), np.sin(state[0])
        out[:, 2], out[:, 3] = np.cos(state[1]), np.sin(state[1])
        out[:, 4:] = state[2:].T

    def advance(self, actions: np.ndarray) -> Tuple[Any, Any]:
        """Move on by 0.2 s, by one step of the classical Runge-Kutta method."""
        torque = actions - 1.0
        start, step = self.state, 0.2
        one = self._slope(start, torque)
        two = self._slope(start + step / 2.0 * one, torque)
        three = self._slope(start + step / 2.0 * two, torque)
        four = self._slope(start + step * three, torque)
        state = start + step / 6.0 * (one + 2 * two + 2 * three + four)
        for angle in state[:2]:
            while (angle > np.pi).any():
                angle[angle > np.pi] -= 2 * np.pi
            while (angle < -np.pi).any():
                angle[angle < -np.pi] += 2 * np.pi
        np.clip(state[2], -4 * np.pi, 4 * np.pi, out=state[2])
        np.clip(state[3], -9 * np.pi, 9 * np.pi, out=state[3])
        self.state[...] = state
        high = -np.cos(state[0]) - np.cos(state[1] + state[0]) > 1.0
        return np.where(high, 0.0, -1.0), high

    def _slope(self, state: np.ndarray, torque: np.ndarray) -> np.ndarray:
        """Return the derivative of ``(4, num_envs)`` states, with all masses, lengths and moments of inertia 1.

        The motion is chaotic, so every operation is Gymnasium's own, powers included: ``x**2`` of a scalar, ``x * x``,
        and ``numpy.power`` of an array on processors with AVX-512 differ in the last bit; ``float_power`` is the first.
        """
        first, second, first_speed, second_speed = state
        cosine, sine = np.cos(second), np.sin(second)
        d1 = 0.25 + (1.25 + 2 * 0.5 * cosine) + 1.0 + 1.0
        d2 = (0.25 + 0.5 * cosine) + 1.0
        phi2 = 0.5 * 9.8 * np.cos(first + second - np.pi / 2.0)
        phi1 = (
            -0.5 * np.float_power(second_speed, self._two) * sine
            - 2 * 0.5 * second_speed * first_speed * sine
            + 1.5 * 9.8 * np.cos(first - np.pi / 2)
            + phi2
        )
        second_turn = (torque + d2 / d1 * phi1 - 0.5 * np.float_power(first_speed, self._two) * sine - phi2) / (
            0.25 + 1.0 - np.float_power(d2, self._two) / d1
        )
        first_turn = -(d2 * second_turn + phi1) / d1
        return np.stack([first_speed, second_speed, first_turn, second_turn])

    def observe_first(self, state: np.ndarray, out: np.ndarray) -> None:
        """Write what Gymnasium computes in float32 right after a reset."""
        self.observe(state.astype(np.float32), out)


_PLACE = "gymnasium.envs.classic_control."
_TASKS: Dict[str, Tuple[Any, Tuple[str, ...]]] = {
    _PLACE + "pendulum:PendulumEnv": (Pendulum, ("g",)),
    _PLACE + "cartpole:CartPoleEnv": (CartPole, ("sutton_barto_reward",)),
    _PLACE + "mountain_car:MountainCarEnv": (MountainCar, ("goal_velocity",)),
    _PLACE + "continuous_mountain_car:Continuous_MountainCarEnv": (MountainCarContinuous, ("goal_velocity",)),
    _PLACE + "acrobot:AcrobotEnv": (Acrobot, ()),
}


def make(spec: Any, num_envs: int, kwargs: Dict[str, Any], threads: Optional[int] = None) -> ClassicControl:
    """Make a batch of a registered task.

    Args:
        spec: Its ``gymnasium.envs.registration.EnvSpec``.
        num_envs: Number of environments.
        kwargs: What ``gymnasium.make`` would be given.
        threads: Without effect; the arithmetic of one batch is too little to be shared out.

    Raises:
        Unsuited: There is no such batch.
    """
    if spec.entry_point not in _TASKS:
        raise Unsuited("there is no batched form of {}".format(spec.entry_point))
    task, known = _TASKS[spec.entry_point]
    given = dict(spec.kwargs, **kwargs)
    limit = given.pop("max_episode_steps", None)
    given.pop("disable_env_checker", None)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise Unsuited("its batched form has no keyword {}".format(", ".join(map(repr, unknown))))
    return task(num_envs, spec.max_episode_steps if limit is None else limit, **given)
