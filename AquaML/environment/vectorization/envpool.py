"""EnvPool's environments in C++, by name only: another environment than Gymnasium's of the same id.

Its random streams are its own, an environment that ended is reset by the next step, and a fall on exactly the last
step counts as the time limit.
"""

from typing import Any, Dict, List, Optional

import numpy as np

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.spaces import SpaceLayout
from AquaML.environment.step_arrays import StepArrays
from AquaML.environment.vectorization.adapter import NEXT_STEP, VectorAdapter
from AquaML.environment.vectorization.backend import VectorBackend
from AquaML.errors import EnvironmentContractError, MissingDependencyError, did_you_mean

_NOT_SCALARS = ("env_id", "elapsed_step", "players")
"""Bookkeeping in EnvPool's info."""


class EnvPoolVector(VectorBackend):
    """A pool, made anew for each seed: EnvPool takes seeds only where it is made.

    :meth:`describe` must be called before the first reset.

    Args:
        name: EnvPool's name of the task.
        num_envs: Number of environments.
        threads: Number of threads; None: EnvPool decides.
        kwargs: Further keywords of ``envpool.make``.

    Attributes:
        environment: The pool, a ``gymnasium.vector.VectorEnv``.

    Raises:
        EnvironmentContractError: EnvPool does not know the task or a keyword.
        MissingDependencyError: EnvPool is not installed.
    """

    autoreset = NEXT_STEP
    has_invalid_rows = True

    def __init__(self, name: str, num_envs: int, threads: Optional[int], kwargs: Dict[str, Any]) -> None:
        self.num_envs = num_envs
        self._name = name
        self._keywords = dict(kwargs)
        if threads is not None:
            self._keywords["num_threads"] = threads
        self._adapter: Optional[VectorAdapter] = None
        self.environment = self._make(None)

    def _make(self, seed: Optional[int]) -> Any:
        pool = _import_envpool()
        known: List[str] = pool.list_all_envs()
        if self._name not in known:
            raise EnvironmentContractError("EnvPool has no task '{}'.{}".format(self._name, _near(self._name, known)))
        seeded = {} if seed is None else {"seed": seed}
        try:
            return pool.make(self._name, env_type="gymnasium", num_envs=self.num_envs, **dict(self._keywords, **seeded))
        except (TypeError, AssertionError, ValueError) as error:
            raise EnvironmentContractError(
                "EnvPool cannot make '{}' with the keywords {}: {}".format(
                    self._name, list(self._keywords) or "none", error
                )
            ) from error

    def describe(self, layout: SpaceLayout, transform: ActionTransform) -> None:
        """Take the described spaces."""
        self._layout, self._transform = layout, transform
        self._adapter = VectorAdapter(self.environment, layout, transform, NEXT_STEP)

    def reset(self, seed: Optional[int], out: StepArrays) -> None:
        """Start every episode anew; with a seed, in a new pool."""
        if seed is not None:
            self.environment.close()
            self.environment = self._make(seed)
            self.describe(self._layout, self._transform)
        self._required().reset(None, out)

    def step(self, native: Dict[str, np.ndarray], out: StepArrays) -> bool:
        """Advance every environment; rows of those that ended in the step before are only reset and not valid."""
        final = self._required().step(native, out)
        for name in list(out.log):
            if name.split("/")[0] in _NOT_SCALARS:
                del out.log[name]
        return final

    def _required(self) -> VectorAdapter:
        assert self._adapter is not None, "describe() comes first"
        return self._adapter

    def close(self) -> None:
        """Close the pool."""
        self.environment.close()


def _import_envpool() -> Any:
    try:
        import envpool
    except ImportError as error:
        raise MissingDependencyError(
            "EnvPool is not installed; install it by: pip install 'AquaML[envpool]' (it has packages for Linux and "
            "some versions of Python only)."
        ) from error
    return envpool


def _near(name: str, known: List[str]) -> str:
    told = did_you_mean(name, known)
    # The list of all 1,600 tasks helps nobody.
    return told if "Did you mean" in told else " See envpool.list_all_envs()."
