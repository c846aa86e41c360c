"""Robots of your own: an MJCF file, an observation, a reward, hundreds at once."""

import abc
import copy
import inspect
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import gymnasium
import numpy as np

from AquaML.environment.backend_wrapper import BackendWrapper
from AquaML.environment.mujoco.disturbance import Delay, Disturbance, Noise, per_key
from AquaML.environment.mujoco.randomization import Distribution, Fields, Randomization, parameter
from AquaML.environment.mujoco.readings import Readings
from AquaML.environment.mujoco.robot_backend import RobotBackend
from AquaML.environment.mujoco.robot_model import index_of, load_model, resting_state, single_axis_positions
from AquaML.environment.mujoco.simulation import Simulation
from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME, SpaceLayout, Structure, TensorSpec, layout_of
from AquaML.errors import EnvironmentContractError

_RENDER_MODES = (None, "rgb_array", "human")


class MujocoVectorEnv(Readings, BackendWrapper):
    """Base class of robots simulated by MuJoCo, as many as you like at once.

    Write :meth:`observation` and :meth:`reward`, and what else the task needs: :meth:`terminated`,
    :meth:`initial_state`, :meth:`controls`, :meth:`action_range`, :meth:`randomize`, :meth:`begin_episode`,
    :meth:`log`, :meth:`prepare`. All of them speak of all environments at once, in numpy arrays with one row each.

    A step is: the action passes through noise and delay, :meth:`controls`, ``frame_skip`` physics steps,
    :meth:`reward`, :meth:`terminated`, :meth:`log`, :meth:`observation`, whose values pass through noise and delay.
    An episode that ends is followed by the next at once; its final observation is what the robot would have observed,
    noise and delay included. Where MuJoCo finds the physics unstable, a warning says so, and the episode ends as
    terminated, at rest.

    Args:
        model: The path of an MJCF file, MJCF as a string, or an ``MjModel``.
        num_envs: Number of environments.
        frame_skip: Physics steps per step.
        max_episode_steps: Time limit in steps; None: none.
        seed: Seed of the first reset when the caller of :meth:`reset` gives none. The batch has one random stream.
        action_bounds: ``"rescale"`` maps a policy's -1 … 1 to :meth:`action_range`, ``"clip"`` cuts actions to it,
            ``"none"`` passes them on.
        finite_horizon: True if the time limit is part of the task: reaching it then counts as termination.
        keyframe: Name of the model's keyframe in which episodes begin; None: the model as it is written.
        initial_noise: Half width of the uniform noise on hinges, slides and all velocities in which episodes begin.
        randomization: Field of ``MjModel``, or a tuple of fields that share their draws, to a distribution, drawn
            for each environment at the begin of each episode: ``{"body_mass": Uniform(0.8, 1.2)}``.
        random_initial_length: Whether the first episodes after :meth:`reset` begin at a random age, so that the time
            limits of many environments do not fall together; evaluations play whole episodes all the same.
        observation_noise: Standard deviation (a number, or one for each entry) or function of values and generator,
            by key of the observation; a bare value where there is one key.
        observation_delay: Steps that an observation takes, or the lowest and highest number, drawn for each
            environment at the begin of each episode; by key like the noise. Until the first observation of an episode
            has aged that much, it stands in.
        action_noise: Like ``observation_noise``, in the units of :meth:`action_range`.
        action_delay: Like ``observation_delay``; until the first action of an episode arrives, the idle one acts:
            zero, or what of the range is nearest to it.
        render_mode: ``"rgb_array"``: :meth:`render` returns a picture of the first environment; ``"human"``: it shows
            MuJoCo's viewer; None: neither.
        render_size: Height and width of pictures in pixels.
        camera: Name of the model's camera; None: one that looks at the whole model.
        threads: Threads for the physics; None: as many as this process has cores.

    Attributes:
        actions: The newest actions as the agent gave them, after their bounds, ``(num_envs, A)``; idle before the
            first step of an episode.
        previous_actions: The actions of the step before.
        idle_action: What acts while no action has arrived yet, ``(A,)``.
        extra_state: Arrays of your own that must outlast a step, with one row per environment; they are saved and
            restored. Make them in :meth:`prepare`, set them in :meth:`begin_episode`.

    Raises:
        EnvironmentContractError: An argument is wrong, or a method returns something else than it should.
        MissingDependencyError: MuJoCo is not installed.
    """

    actions: np.ndarray
    previous_actions: np.ndarray
    idle_action: np.ndarray
    extra_state: Dict[str, np.ndarray]
    _made_with: Tuple[Tuple[Any, ...], Dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> "MujocoVectorEnv":
        """Remember the arguments, for :meth:`spawn`."""
        made = super().__new__(cls)
        made._made_with = (args, kwargs)
        return made

    def __init__(
        self,
        model: Union[str, "os.PathLike[str]", Any],
        num_envs: int = 1,
        frame_skip: int = 1,
        max_episode_steps: Optional[int] = None,
        seed: Optional[int] = None,
        action_bounds: str = "rescale",
        finite_horizon: bool = False,
        keyframe: Optional[str] = None,
        initial_noise: float = 0.0,
        randomization: Optional[Mapping[Fields, Distribution]] = None,
        random_initial_length: bool = False,
        observation_noise: Union[None, Noise, Mapping[str, Noise]] = None,
        observation_delay: Union[Delay, Mapping[str, Delay]] = 0,
        action_noise: Optional[Noise] = None,
        action_delay: Delay = 0,
        render_mode: Optional[str] = None,
        render_size: Tuple[int, int] = (240, 320),
        camera: Optional[str] = None,
        threads: Optional[int] = None,
    ) -> None:
        super().__init__(seed, action_bounds, finite_horizon)
        _require_whole({"num_envs": num_envs, "frame_skip": frame_skip})
        _require_whole({"max_episode_steps": max_episode_steps, "threads": threads}, optional=True)
        if random_initial_length and max_episode_steps is None:
            raise EnvironmentContractError("random_initial_length needs a time limit; give max_episode_steps.")
        if render_mode not in _RENDER_MODES:
            raise EnvironmentContractError(
                "render_mode is {!r}; expected one of {}.".format(render_mode, list(_RENDER_MODES))
            )
        self.name = type(self).__name__
        self.num_envs = num_envs
        self.max_episode_length = max_episode_steps
        self.initial_noise = initial_noise
        self._indices: Dict[Tuple[str, str], int] = {}
        self._parameters: Dict[str, np.ndarray] = {}
        self.model = load_model(model)
        self.resting_state = resting_state(self.model, keyframe)
        self._randomization = Randomization(self.model, randomization or {})
        own = bool(randomization) or type(self).randomize is not MujocoVectorEnv.randomize
        models = [copy.copy(self.model) for _ in range(num_envs)] if own else [self.model]
        self.simulation = Simulation(models, num_envs, frame_skip, threads, up_to_date=True)
        backend = RobotBackend(self, self.simulation, max_episode_steps, own, random_initial_length)
        self._backend: RobotBackend = backend
        view = None if camera is None else index_of(self.model, "camera", camera)
        backend.show(render_mode, render_size, view)
        actions = self._action_layout()
        self.extra_state = {}
        self.prepare()
        seen = self._first_look()
        specs = {name: _box(name, *_value_range(values)) for name, values in seen.items()}
        structure: Structure = {"kind": "Dict", "items": {name: name for name in specs}}
        if list(specs) == [OBSERVATION_NAME]:
            structure = OBSERVATION_NAME
        self.describe_spaces(SpaceLayout(specs, structure), actions)
        self._connect(seen, observation_noise, observation_delay, action_noise, action_delay)
        self.attach(backend)

    # ------------------------------------------------------------------ what a robot's author writes

    @abc.abstractmethod
    def observation(self) -> Union[np.ndarray, Mapping[str, np.ndarray]]:
        """Return what is observed now: ``(num_envs, D)``, which is called ``"state"``, or several such by name.

        What only a critic sees is called ``"privileged"``.
        """

    @abc.abstractmethod
    def reward(self, actions: np.ndarray) -> Union[np.ndarray, Mapping[str, np.ndarray]]:
        """Return the reward of the step just made, ``(num_envs,)``, or its terms by name, which are added and logged.

        Args:
            actions: What the agent asked for, in the units of :meth:`action_range`, ``(num_envs, A)``.
        """

    def terminated(self) -> np.ndarray:
        """Return which episodes have ended for good, ``(num_envs,)`` bool; the time limit is none of its business."""
        return np.zeros(self.num_envs, np.bool_)

    def log(self) -> Mapping[str, np.ndarray]:
        """Return scalars to log by name, ``(num_envs,)`` each."""
        return {}

    def prepare(self) -> None:
        """Called once, before anything else: make arrays in :attr:`extra_state`."""

    def begin_episode(self, rows: np.ndarray, generator: np.random.Generator) -> None:
        """Called when episodes have begun: set the rows ``(R,)`` of arrays of your own."""

    def initial_state(self, rows: np.ndarray, generator: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
        """Return where episodes begin: the keyframe, or the model as it is written, with ``initial_noise``.

        Args:
            rows: Indices ``(R,)`` of the environments.
            generator: Where to draw from.

        Returns:
            Positions ``(R, nq)`` and velocities ``(R, nv)``.
        """
        positions, velocities = (np.tile(values, (len(rows), 1)) for values in self.resting_state)
        if self.initial_noise:
            free = single_axis_positions(self.model)
            width = self.initial_noise
            positions[:, free] += generator.uniform(-width, width, (len(rows), len(free)))
            velocities += generator.uniform(-width, width, velocities.shape)
        return positions, velocities

    def action_range(self) -> Tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest actions, ``(A,)`` each: the actuators' ``ctrlrange``, else infinite."""
        limited = np.asarray(self.model.actuator_ctrllimited, np.bool_)
        low = np.where(limited, self.model.actuator_ctrlrange[:, 0], -np.inf)
        high = np.where(limited, self.model.actuator_ctrlrange[:, 1], np.inf)
        return low, high

    def controls(self, actions: np.ndarray) -> np.ndarray:
        """Return the controls ``(num_envs, nu)`` that actions ``(num_envs, A)`` stand for: the actions themselves."""
        return actions

    def randomize(self, rows: np.ndarray, models: Sequence[Any], generator: np.random.Generator) -> None:
        """Change the models of some environments at the begin of their episodes, by default as ``randomization`` says.

        Whoever overrides this gets a model per environment. Set values, starting from :attr:`model`: the changes of
        the last episode are still there. What MuJoCo derives from the values is recomputed afterwards.

        Args:
            rows: Indices ``(R,)`` of the environments.
            models: Their ``MjModel``, one per row.
            generator: Where to draw from.
        """
        self._randomization.apply(models, generator)

    # ------------------------------------------------------------------ what a robot's author may ask

    @property
    def elapsed(self) -> np.ndarray:
        """Steps of the running episodes, ``(num_envs,)`` int64, live."""
        return self._backend.elapsed

    def parameter(self, field: str) -> np.ndarray:
        """Return a field of all environments' models, ``(num_envs, *shape)``, live; a critic may profit from it."""
        if field not in self._parameters:
            self._parameters[field] = np.stack([parameter(model, field) for model in self.simulation.models])
        return self._parameters[field]

    def refresh_parameters(self, rows: np.ndarray) -> None:
        """Bring what :meth:`parameter` returned up to date for some environments, after their models changed."""
        for field, values in self._parameters.items():
            for row in rows:
                values[row] = parameter(self.simulation.models[row], field)

    def named_observation(self) -> Dict[str, np.ndarray]:
        """Return :meth:`observation` by name, as arrays."""
        seen = self.observation()
        named = dict(seen) if isinstance(seen, Mapping) else {OBSERVATION_NAME: seen}
        return {name: np.asarray(values) for name, values in named.items()}

    def spawn(self, num_envs: int) -> "MujocoVectorEnv":
        """Make independent robots of the same kind, without pictures.

        Noise, delay and randomisation stay as they are: hand another environment to the trainer to evaluate without.
        """
        args, kwargs = self._made_with
        signature = inspect.signature(type(self).__init__)
        given = signature.bind(self, *args, **kwargs)
        named = dict(given.arguments)
        named.pop(next(iter(signature.parameters)))
        for parameter_ in signature.parameters.values():
            if parameter_.kind is inspect.Parameter.VAR_KEYWORD:
                named.update(named.pop(parameter_.name, {}))
        accepts = _accepted(signature)
        if not accepts("num_envs"):
            raise EnvironmentContractError(
                "{}() takes no num_envs, so spawn() cannot make another number of environments; let it take one, or "
                "override spawn().".format(type(self).__name__)
            )
        changes = {"num_envs": num_envs, "seed": None, "render_mode": None}
        named.update({name: value for name, value in changes.items() if accepts(name)})
        return type(self)(**named)

    # ------------------------------------------------------------------ construction

    def _action_layout(self) -> SpaceLayout:
        limits = [np.asarray(limit, np.float64) for limit in self.action_range()]
        low, high = limits
        if low.ndim != 1 or low.shape != high.shape or not len(low) or not (low < high).all():
            raise EnvironmentContractError(
                "action_range() returned {} and {}; expected the lowest actions and, above them, the highest, "
                "for at least one action{}.".format(
                    low.tolist(), high.tolist(), "" if self.model.nu else " (the model has no actuator)"
                )
            )
        if self.action_bounds == "rescale" and not np.isfinite(limits).all():
            raise EnvironmentContractError(
                "action_range() has infinite bounds {} … {}, which action_bounds='rescale' cannot reach: give every "
                "actuator a ctrlrange in the MJCF, override action_range(), or use action_bounds='none'.".format(
                    low.tolist(), high.tolist()
                )
            )
        self.idle_action = np.clip(np.zeros_like(low), low, high)
        self.actions = np.tile(self.idle_action, (self.num_envs, 1))
        self.previous_actions = self.actions.copy()
        return SpaceLayout({ACTION_NAME: _box(ACTION_NAME, low, high)}, ACTION_NAME)

    def _first_look(self) -> Dict[str, np.ndarray]:
        """Call the author's methods once at rest, which tells the shapes and finds mistakes early."""
        before = {name: np.array(values) for name, values in self.extra_state.items()}
        positions, velocities = self.resting_state
        rows = np.arange(self.num_envs)
        self.simulation.begin(rows, np.tile(positions, (len(rows), 1)), np.tile(velocities, (len(rows), 1)))
        seen = self.named_observation()
        for name, values in seen.items():
            if values.ndim < 2 or len(values) != self.num_envs or values.dtype.kind not in "fiub" or not values.size:
                raise EnvironmentContractError(
                    "observation() returned '{}' of shape {} and type {}; expected numbers of shape ({}, …), one row "
                    "per environment and at least one column.".format(name, values.shape, values.dtype, self.num_envs)
                )
        self._backend.rewards(self.actions)
        self._backend.terminated()
        self._backend.log()
        for name, values in before.items():
            self.extra_state[name][...] = values
        return seen

    def _connect(
        self, seen: Dict[str, np.ndarray], noise: Any, delay: Any, action_noise: Any, action_delay: Delay
    ) -> None:
        keys: List[str] = list(seen)
        noises = per_key(noise, keys, "observation_noise")
        delays = per_key(None if isinstance(delay, int) and delay == 0 else delay, keys, "observation_delay")
        paths = {}
        for key in keys:
            if key in noises or key in delays:
                if seen[key].dtype.kind != "f":
                    raise EnvironmentContractError(
                        "Observation '{}' is of type {}; noise and delay are for real numbers only.".format(
                            key, seen[key].dtype
                        )
                    )
                what = "observation '{}'".format(key)
                paths[key] = Disturbance(noises.get(key), delays.get(key, 0), seen[key].shape, what)
        shapes = {name: values.shape for name, values in seen.items()}
        self._backend.connect(shapes, paths, Disturbance(action_noise, action_delay, self.actions.shape, "the action"))


def _box(name: str, low: np.ndarray, high: np.ndarray) -> TensorSpec:
    return layout_of(gymnasium.spaces.Box(low, high, dtype=low.dtype.type), name).specs[name]


def _value_range(values: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the bounds of one environment's part of an observation: those of its type."""
    if values.dtype.kind == "f":
        low: Any = -np.inf
        high: Any = np.inf
    else:
        low, high = (0, 1) if values.dtype.kind == "b" else (np.iinfo(values.dtype).min, np.iinfo(values.dtype).max)
    shape = values.shape[1:]
    return np.full(shape, low, values.dtype), np.full(shape, high, values.dtype)


def _accepted(signature: inspect.Signature) -> Any:
    names = set(signature.parameters)
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in signature.parameters.values())
    return lambda name: anything or name in names


def _require_whole(arguments: Mapping[str, Any], optional: bool = False) -> None:
    for name, value in arguments.items():
        if optional and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise EnvironmentContractError(
                "{} is {!r}; expected an integer of at least 1{}.".format(name, value, " or None" if optional else "")
            )
