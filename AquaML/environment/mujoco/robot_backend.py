"""The step of a user's robots: their methods called and checked, noise and delay on the way, all of it saved."""

from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

from AquaML.environment.mujoco.backend import Judgement, MujocoBackend
from AquaML.environment.mujoco.disturbance import Disturbance
from AquaML.environment.mujoco.randomization import differences, restore, set_constants
from AquaML.environment.mujoco.rendering import Camera, Window, warn_not_drawn
from AquaML.environment.mujoco.simulation import Simulation
from AquaML.environment.spaces import ACTION_NAME, first_row
from AquaML.environment.step_arrays import StepArrays
from AquaML.errors import EnvironmentContractError, EnvironmentNonFiniteError, StateError


class RobotBackend(MujocoBackend):
    """Steps the robots of a :class:`~AquaML.environment.mujoco.vector_env.MujocoVectorEnv`.

    Args:
        robot: Who says what the task is.
        simulation: The physics, kept up to date, one model per environment where ``randomizes``.
        max_episode_steps: Time limit in steps; None: none.
        randomizes: Whether ``robot.randomize`` is called at the begin of episodes.
        random_initial_length: Whether the first episodes after a reset begin at a random age.
    """

    def __init__(
        self,
        robot: Any,
        simulation: Simulation,
        max_episode_steps: Optional[int],
        randomizes: bool,
        random_initial_length: bool,
    ) -> None:
        super().__init__(simulation, max_episode_steps)
        self.robot = robot
        self._random_initial_length = random_initial_length
        self._randomizes = randomizes
        self._starts_anew = False
        self._generator, self._noise_generator = np.random.default_rng(), np.random.default_rng()
        self._shapes: Dict[str, Tuple[int, ...]] = {}
        self._paths: Dict[str, Disturbance] = {}
        self._idle = np.zeros(0)
        self._screen: Any = None
        self._render_mode: Optional[str] = None
        self._view: Tuple[Tuple[int, int], Optional[int]] = ((0, 0), None)

    def connect(
        self, shapes: Mapping[str, Tuple[int, ...]], observation_paths: Mapping[str, Disturbance], action: Disturbance
    ) -> None:
        """Take what lies between robot and policy.

        Args:
            shapes: Key of the observation to ``(num_envs, *shape)``.
            observation_paths: Key to noise and delay, where there is any.
            action: Noise and delay of actions.
        """
        self._shapes = dict(shapes)
        self._paths = dict(observation_paths)
        self._action_path = action

    def show(self, render_mode: Optional[str], size: Tuple[int, int], camera: Optional[int]) -> None:
        """Say how :meth:`render` shows the first robot."""
        self._render_mode, self._view = render_mode, (size, camera)

    # ------------------------------------------------------------------ episodes

    def seed(self, seed: int) -> None:
        """Begin the random streams anew; noise has one of its own, so that it changes no initial state."""
        self._generator, self._noise_generator = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])

    def reset(self, seed: Optional[int], out: StepArrays) -> None:
        """Start every robot anew and write the first observations."""
        self._starts_anew = self._random_initial_length and not self.robot.evaluating
        super().reset(seed, out)

    def begin_episodes(self, rows: np.ndarray) -> None:
        """Randomise the model, place the robots, let their author do the rest."""
        robot, simulation = self.robot, self.simulation
        if self._starts_anew:
            self.elapsed[...] = self._generator.integers(0, self.max_episode_steps, self.num_envs)
            self._starts_anew = False
        if self._randomizes:
            models = [simulation.models[row] for row in rows]
            robot.randomize(rows, models, self._generator)
            set_constants(models, [simulation.data[row] for row in rows])
            robot.refresh_parameters(rows)
        simulation.begin(rows, *self._initial_state(rows))
        robot.actions[rows] = robot.idle_action
        robot.previous_actions[rows] = robot.idle_action
        for path in list(self._paths.values()) + [self._action_path]:
            path.begin(rows, self._generator)
        self._action_path.fill(robot.actions, rows)
        robot.begin_episode(rows, self._generator)

    def _initial_state(self, rows: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        state = self.robot.initial_state(rows, self._generator)
        if not isinstance(state, tuple) or len(state) != 2:
            raise EnvironmentContractError(
                "initial_state() returned {}; expected (positions, velocities).".format(_short(state))
            )
        model = self.robot.model
        return (
            _numbers(state[0], (len(rows), model.nq), "initial_state()", "positions"),
            _numbers(state[1], (len(rows), model.nv), "initial_state()", "velocities"),
        )

    # ------------------------------------------------------------------ a step

    def controls(self, native: Dict[str, np.ndarray]) -> np.ndarray:
        """Let actions pass through noise and delay, and ask the robot what its actuators make of them."""
        robot = self.robot
        robot.previous_actions[...] = robot.actions
        robot.actions[...] = native[ACTION_NAME]
        arrived = self._action_path.pass_on(native[ACTION_NAME], self._noise_generator)
        return _numbers(robot.controls(arrived), (self.num_envs, robot.model.nu), "controls()", "controls")

    def judge(self, native: Dict[str, np.ndarray]) -> Judgement:
        """Ask the robot for rewards, termination and what to log."""
        unstable = self._rescue()
        rewards, scalars = self.rewards(native[ACTION_NAME])
        terminated = self.terminated()
        scalars.update(self.log())
        return rewards, terminated if unstable is None else terminated | unstable, scalars

    def _rescue(self) -> Optional[np.ndarray]:
        """Put robots whose physics broke down to rest; return which, ``(num_envs,)`` bool, or None."""
        unstable = self.simulation.unstable.copy()
        rows = np.flatnonzero(unstable)
        if not len(rows):
            return None
        positions, velocities = self.robot.resting_state
        self.simulation.begin(rows, np.tile(positions, (len(rows), 1)), np.tile(velocities, (len(rows), 1)))
        return unstable

    def rewards(self, actions: np.ndarray) -> Tuple[np.ndarray, Dict[str, np.ndarray]]:
        """Return rewards ``(num_envs,)`` and their terms to log."""
        given = self.robot.reward(actions)
        shape = (self.num_envs,)
        if not isinstance(given, Mapping):
            return _numbers(given, shape, "reward()", "rewards"), {}
        if not given:
            raise EnvironmentContractError("reward() returned an empty dict; expected at least one term.")
        terms = {name: _numbers(values, shape, "reward()", "'{}'".format(name)) for name, values in given.items()}
        return np.sum(list(terms.values()), axis=0), {"reward/" + name: values for name, values in terms.items()}

    def terminated(self) -> np.ndarray:
        """Return which episodes ended for good, ``(num_envs,)`` bool."""
        flags = np.asarray(self.robot.terminated())
        if flags.shape != (self.num_envs,) or flags.dtype != np.bool_:
            raise EnvironmentContractError(
                "terminated() returned {}; expected {} of type bool.".format(_short(flags), (self.num_envs,))
            )
        return flags

    def log(self) -> Dict[str, np.ndarray]:
        """Return the scalars that the robot wants logged."""
        shape = (self.num_envs,)
        return {name: _numbers(values, shape, "log()", name, False) for name, values in self.robot.log().items()}

    def observations(self) -> Dict[str, np.ndarray]:
        """Return what the policy gets to see after a step."""
        seen = self._observed()
        for name, path in self._paths.items():
            seen[name] = path.pass_on(seen[name], self._noise_generator)
        return seen

    def first_observations(self, rows: np.ndarray) -> Dict[str, np.ndarray]:
        """Return what the policy gets to see of episodes that have just begun."""
        seen = self._observed()
        for name, path in self._paths.items():
            seen[name] = path.first(seen[name], rows, self._noise_generator)
        return seen

    def _observed(self) -> Dict[str, np.ndarray]:
        seen = self.robot.named_observation()
        if list(seen) != list(self._shapes):
            raise EnvironmentContractError(
                "observation() returned the keys {}; before it returned {}.".format(list(seen), list(self._shapes))
            )
        for name, values in seen.items():
            if values.shape != self._shapes[name]:
                raise EnvironmentContractError(
                    "observation() returned '{}' of shape {}; before it was {}.".format(
                        name, values.shape, self._shapes[name]
                    )
                )
        return seen

    # ------------------------------------------------------------------ state

    def task_state(self) -> Dict[str, Any]:
        """Return everything beside the physics: models, delays, random streams, the author's own arrays."""
        robot = self.robot
        return {
            "models": differences(robot.model, self.simulation.models) if self._randomizes else {},
            "paths": {name: path.get_state() for name, path in self._all_paths().items()},
            "generators": [self._generator.bit_generator.state, self._noise_generator.bit_generator.state],
            "actions": robot.actions.copy(),
            "previous_actions": robot.previous_actions.copy(),
            "extra": {name: np.array(values) for name, values in robot.extra_state.items()},
        }

    def set_state(self, state: Dict[str, Any], out: StepArrays) -> bool:
        """Put everything where it stood."""
        extra = {name: np.shape(values) for name, values in state["task"]["extra"].items()}
        ours = {name: np.shape(values) for name, values in self.robot.extra_state.items()}
        if extra != ours:
            raise StateError("The saved extra_state is {}, this robot's is {}.".format(extra, ours))
        if self._randomizes:
            # First, as the physics computes from them at once.
            restore(self.robot.model, self.simulation.models, state["task"]["models"])
            self.robot.refresh_parameters(np.arange(self.num_envs))
        for name in state["simulation"]:
            if name.startswith("watched/"):
                self.simulation.watch(name[len("watched/") :])
        return super().set_state(state, out)

    def set_task_state(self, state: Dict[str, Any]) -> None:
        """Take over what :meth:`task_state` returned."""
        robot = self.robot
        for name, path in self._all_paths().items():
            path.set_state(state["paths"][name])
        self._generator.bit_generator.state, self._noise_generator.bit_generator.state = state["generators"]
        robot.actions[...] = state["actions"]
        robot.previous_actions[...] = state["previous_actions"]
        for name, values in state["extra"].items():
            robot.extra_state[name][...] = values

    def _all_paths(self) -> Dict[str, Disturbance]:
        paths = {"observation/" + name: path for name, path in self._paths.items()}
        return dict(paths, action=self._action_path)

    # ------------------------------------------------------------------ pictures

    @property
    def render_mode(self) -> Optional[str]:
        """``"rgb_array"``, ``"human"`` or None."""
        return self._render_mode

    def render(self) -> Optional[np.ndarray]:
        """Show the first robot, or return its picture; None where that cannot be done, which is said once."""
        model, data = self.simulation.models[0], self.simulation.data[0]
        size, camera = self._view
        try:
            if self._screen is None:
                human = self._render_mode == "human"
                self._screen = Window(model, data, camera) if human else Camera(model, size, camera)
        except Exception as error:
            # Graphics libraries raise all kinds of errors where they are missing; the physics does not need them.
            self.display_failed = True
            warn_not_drawn(error, str(self._render_mode))
            return None
        if isinstance(self._screen, Camera):
            return self._screen.picture(data)
        self._screen.show()
        return None

    def close(self) -> None:
        """End threads and pictures."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None
        super().close()


def _numbers(values: Any, shape: Tuple[int, ...], method: str, what: str, finite: bool = True) -> np.ndarray:
    """Return what a method of the robot returned as float64, checked."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.shape != shape:
        raise EnvironmentContractError(
            "{} returned {} as {}; expected {}, one row per environment.".format(method, _short(array), what, shape)
        )
    array = array.astype(np.float64, copy=False)
    if finite and not np.isfinite(array).all():
        row = first_row(~np.isfinite(array))
        raise EnvironmentNonFiniteError(
            "{} returned {} in row {} of {}; look for a division by zero or the root of a negative number.".format(
                method, float(array[row][~np.isfinite(array[row])].flat[0]), row, what
            ),
            "reward" if method == "reward()" else "environment",
            what,
            (row,),
        )
    return array


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "a tuple of {}".format(len(value))
    shape = getattr(value, "shape", None)
    return repr(value) if shape is None else "{} of shape {}".format(value.dtype, tuple(shape))
