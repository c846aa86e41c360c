"""How wrappers of simulators differ by nature; the rest must be alike."""

import dataclasses
from typing import Callable, Sequence

from AquaML.environment.base import EnvironmentWrapper

LIMIT = 6
"""The time limit of the stand-ins, as the simulator says it."""


@dataclasses.dataclass
class Case:
    """A wrapper over a stand-in.

    Attributes:
        make: Called as ``make(num_envs, world=ClockWorld, limit=LIMIT, **options of the wrapper)``.
        limit_age: The age at which a time limit of ``LIMIT`` ends an episode.
        first_age: The age of the first observation of an episode that began by a reset.
        both: How a fall at the very step of the time limit comes out.
        gives_final: Whether the last observation is known.
        privileged: Names of observations for the critic.
        counts: Whether episodes are counted from 0; False: their number is drawn, or always the first one.
    """

    make: Callable[..., EnvironmentWrapper]
    limit_age: int = LIMIT
    first_age: int = 0
    both: str = "terminated"
    gives_final: bool = True
    privileged: Sequence[str] = ("privileged",)
    counts: bool = True
