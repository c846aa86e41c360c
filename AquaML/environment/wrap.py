"""``wrap_env``: the wrapper that suits what it is given."""

import importlib
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from AquaML.environment.base import EnvironmentWrapper
from AquaML.errors import EnvironmentContractError, did_you_mean


class _Kind(NamedTuple):
    """A kind of environment.

    Attributes:
        wrapper: Module and class of its wrapper.
        attributes: What an environment of the kind has, all of it.
    """

    wrapper: Tuple[str, str]
    attributes: Tuple[str, ...]


_HERE = "AquaML.environment."

KINDS: Dict[str, _Kind] = {
    "isaac_gym": _Kind(
        (_HERE + "isaac_gym_envs", "IsaacGymWrapper"), ("zero_actions", "progress_buf", "reset_buf", "rl_device")
    ),
    "legged_gym": _Kind(
        (_HERE + "legged_gym_envs", "LeggedGymWrapper"),
        ("get_observations", "get_privileged_observations", "num_actions", "episode_length_buf"),
    ),
    "rsl_rl": _Kind(
        (_HERE + "rsl_rl_envs", "RslRlVecEnvWrapper"), ("get_observations", "num_actions", "num_envs", "device")
    ),
    "maniskill": _Kind(
        (_HERE + "maniskill_envs", "ManiSkillWrapper"), ("single_observation_space", "elapsed_steps", "get_state_dict")
    ),
    "mjlab": _Kind(
        (_HERE + "isaac_lab_envs", "MjlabWrapper"),
        ("single_action_space", "episode_length_buf", "device", "cfg", "cfg.auto_reset"),
    ),
    "isaac_lab": _Kind(
        (_HERE + "isaac_lab_envs", "IsaacLabWrapper"), ("single_action_space", "episode_length_buf", "device", "cfg")
    ),
    "pettingzoo": _Kind(
        (_HERE + "pettingzoo_envs", "PettingZooWrapper"), ("possible_agents", "observation_space", "action_space")
    ),
    "brax": _Kind((_HERE + "brax_envs", "BraxWrapper"), ("action_size", "observation_size", "reset", "step")),
    "gymnasium": _Kind(
        (_HERE + "gymnasium_envs", "GymnasiumWrapper"), ("observation_space", "action_space", "reset", "step")
    ),
}
"""Kinds of environments by name, in the order in which they are looked for: the more special ones first."""


def wrap_env(env: Any, kind: str = "auto", **options: Any) -> EnvironmentWrapper:
    """Put an environment into the wrapper that suits it.

    Args:
        env: An environment of any supported simulator, already made. A name, or a function that makes one environment,
            is taken for Gymnasium's unless ``kind`` says otherwise. A wrapper is returned as it is.
        kind: One of :data:`KINDS`, which then is not looked for; ``"auto"`` goes by the attributes that the wrappers
            read, on the environment and on its ``unwrapped``.
        **options: Handed to the wrapper.

    Raises:
        EnvironmentContractError: Nothing suits, or the kind is unknown.
    """
    if isinstance(env, EnvironmentWrapper):
        if options:
            raise EnvironmentContractError(
                "{} is a wrapper already, so {} cannot be applied; give them where it is made.".format(
                    type(env).__name__, ", ".join(options)
                )
            )
        return env
    if kind != "auto" and kind not in KINDS:
        raise EnvironmentContractError("There is no kind '{}'.{}".format(kind, did_you_mean(kind, KINDS)))
    chosen = KINDS[kind if kind != "auto" else _recognised(env)]
    module, name = chosen.wrapper
    wrapper: EnvironmentWrapper = getattr(importlib.import_module(module), name)(env, **options)
    return wrapper


def _recognised(env: Any) -> str:
    if isinstance(env, str):
        return "gymnasium"
    lacking: Dict[str, List[str]] = {}
    for name, kind in KINDS.items():
        lacking[name] = [attribute for attribute in kind.attributes if not _has(env, attribute)]
        if not lacking[name]:
            return name
    if callable(env):
        return "gymnasium"
    looked_for = "\n".join("  {}: {}".format(name, ", ".join(names)) for name, names in lacking.items())
    raise EnvironmentContractError(
        "{} is none of the environments that AquaML knows. Looked for, and missing:\n{}\nIf it is one of them, say "
        "wrap_env(env, kind=...); for a simulator of your own derive from SimulatorWrapper or "
        "EnvironmentWrapper.".format(type(env).__name__, looked_for)
    )


def _has(env: Any, attribute: str) -> bool:
    """Whether the environment, or the one in its wrappers, has an attribute; ``"a.b"`` looks inside ``a``."""
    bare = getattr(env, "unwrapped", env)
    first, _, rest = attribute.partition(".")
    for owner in (env, bare):
        if rest:
            inside: Optional[Any] = getattr(owner, first, None)
            if inside is not None and hasattr(inside, rest):
                return True
        # A property is not asked for its value, which may cost a reset.
        elif hasattr(type(owner), first) or first in getattr(owner, "__dict__", {}) or hasattr(owner, first):
            return True
    return False
