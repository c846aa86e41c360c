"""The door to the tasks: checks that a task is exactly Gymnasium's, and makes it."""

import dataclasses
import inspect
from typing import Any, Dict, Mapping, Optional, Set, Type

from AquaML.environment.mujoco.gymnasium_tasks.ant import Ant
from AquaML.environment.mujoco.gymnasium_tasks.half_cheetah import HalfCheetah
from AquaML.environment.mujoco.gymnasium_tasks.hopper import Hopper
from AquaML.environment.mujoco.gymnasium_tasks.humanoid import Humanoid
from AquaML.environment.mujoco.gymnasium_tasks.humanoid_standup import HumanoidStandup
from AquaML.environment.mujoco.gymnasium_tasks.inverted_double_pendulum import InvertedDoublePendulum
from AquaML.environment.mujoco.gymnasium_tasks.inverted_pendulum import InvertedPendulum
from AquaML.environment.mujoco.gymnasium_tasks.pusher import Pusher
from AquaML.environment.mujoco.gymnasium_tasks.reacher import Reacher
from AquaML.environment.mujoco.gymnasium_tasks.swimmer import Swimmer
from AquaML.environment.mujoco.gymnasium_tasks.task import GymnasiumTask, Original
from AquaML.environment.mujoco.gymnasium_tasks.walker2d import Walker2d
from AquaML.environment.vectorization.backend import Unsuited

_HOME = "gymnasium.envs.mujoco."

TASKS: Dict[str, Type[GymnasiumTask]] = {
    _HOME + "ant_v5:AntEnv": Ant,
    _HOME + "half_cheetah_v5:HalfCheetahEnv": HalfCheetah,
    _HOME + "hopper_v5:HopperEnv": Hopper,
    _HOME + "humanoid_v5:HumanoidEnv": Humanoid,
    _HOME + "humanoidstandup_v5:HumanoidStandupEnv": HumanoidStandup,
    _HOME + "inverted_double_pendulum_v5:InvertedDoublePendulumEnv": InvertedDoublePendulum,
    _HOME + "inverted_pendulum_v5:InvertedPendulumEnv": InvertedPendulum,
    _HOME + "pusher_v5:PusherEnv": Pusher,
    _HOME + "reacher_v5:ReacherEnv": Reacher,
    _HOME + "swimmer_v5:SwimmerEnv": Swimmer,
    _HOME + "walker2d_v5:Walker2dEnv": Walker2d,
}
"""Gymnasium's entry points to the classes that stand in for them."""

_MAKING = ("max_episode_steps", "disable_env_checker")
"""Keywords that ``gymnasium.make`` uses itself."""


def make(spec: Any, num_envs: int, kwargs: Mapping[str, Any], threads: Optional[int] = None) -> GymnasiumTask:
    """Make a batch of one of Gymnasium's MuJoCo tasks.

    Args:
        spec: Gymnasium's ``EnvSpec``.
        num_envs: Number of environments.
        kwargs: What the user gives ``gymnasium.make`` beside the id.
        threads: Number of threads; None: as many as this process has cores.

    Raises:
        Unsuited: The environment is another one, or one that would not equal Gymnasium's.
    """
    task = _task(spec)
    keywords = dict(spec.kwargs, **{name: value for name, value in kwargs.items() if name not in _MAKING})
    if keywords.get("render_mode") is not None:
        raise Unsuited("render_mode is {!r}, and a batch shows no picture".format(keywords["render_mode"]))
    original = _original(spec, kwargs)
    options = _options(task, spec.entry_point, keywords)
    backend = task(original, options, num_envs, threads)
    size, expected = backend.observe().shape[1:], original.observation_space.shape
    if size != expected:
        backend.close()
        raise Unsuited("the model gives observations of shape {}, its space declares {}".format(size, expected))
    return backend


def _task(spec: Any) -> Type[GymnasiumTask]:
    entry = spec.entry_point
    if not isinstance(entry, str) or entry not in TASKS:
        raise Unsuited("{} is none of Gymnasium's eleven MuJoCo tasks of version 5".format(spec.id))
    return TASKS[entry]


def _original(spec: Any, kwargs: Mapping[str, Any]) -> Original:
    import gymnasium

    try:
        import mujoco

        made = gymnasium.make(spec, **kwargs)
    except Exception as error:  # whatever is wrong with the keywords, Gymnasium's own way reports it
        raise Unsuited("{} cannot be made: {}".format(spec.id, error)) from error
    if not hasattr(mujoco, "mj_getState"):
        raise Unsuited("MuJoCo {} cannot save its state; update MuJoCo".format(mujoco.__version__))
    limit = kwargs.get("max_episode_steps")
    limit = spec.max_episode_steps if limit is None else limit
    environment: Any = made.unwrapped
    original = Original(
        model=environment.model,
        frame_skip=environment.frame_skip,
        positions=environment.init_qpos.copy(),
        velocities=environment.init_qvel.copy(),
        observation_space=environment.observation_space,
        action_space=environment.action_space,
        max_episode_steps=None if limit is None or limit < 0 else int(limit),
    )
    made.close()
    return original


def _options(task: Type[GymnasiumTask], entry_point: str, keywords: Mapping[str, Any]) -> Any:
    """Fill the task's options from Gymnasium's defaults and the user's keywords."""
    from gymnasium.envs.mujoco import MujocoEnv
    from gymnasium.envs.registration import load_env_creator

    own = inspect.signature(load_env_creator(entry_point)).parameters
    shown_only = set(inspect.signature(MujocoEnv).parameters) | {"default_camera_config"}
    known = {field.name for field in dataclasses.fields(task.options_type)}
    _require_equal(known, {name for name in own if name not in shown_only | {"xml_file", "kwargs"}}, task.__name__)
    unknown = [name for name in keywords if name not in own and name not in shown_only]
    if unknown:
        raise Unsuited("{} takes no keyword '{}'".format(task.__name__, unknown[0]))
    return task.options_type(**{name: keywords.get(name, own[name].default) for name in known})


def _require_equal(known: Set[str], gymnasiums: Set[str], name: str) -> None:
    if known != gymnasiums:
        raise Unsuited(
            "this version of Gymnasium gives {} other keywords than the ones AquaML was tested with: {}".format(
                name, ", ".join(sorted(known ^ gymnasiums))
            )
        )
