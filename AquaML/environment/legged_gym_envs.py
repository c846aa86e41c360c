"""legged_gym and what derives from it (unitree_rl_gym, humanoid-gym and others), on Isaac Gym."""

from typing import Any

import torch

from AquaML.environment.rsl_rl_envs import RslRlVecEnvWrapper, VecEnvStep
from AquaML.errors import EnvironmentContractError


class LeggedGymWrapper(RslRlVecEnvWrapper):
    """An environment of legged_gym, or of a fork, behind AquaML's step contract.

    ``step`` returns observations, privileged observations or None, rewards, resets and extras; forks return two or four
    values more, which are left out. The observation is called ``"state"``, the privileged one ``"privileged"``. Time
    limits in ``extras`` are rewritten at resets alone, so they count only where an episode ended. The last observation
    of an episode is hidden.

    Isaac Gym must be imported before torch; see :func:`~AquaML.environment.isaac_gym_import.import_isaac_gym`.

    Args:
        env: The environment.
        **options: As of :class:`~AquaML.environment.rsl_rl_envs.RslRlVecEnvWrapper`.

    Raises:
        EnvironmentContractError: The environment lacks what is read here, or an argument does not fit it.
        SpaceError: A name is unknown, or two observations end up with the same.
    """

    def _begin(self, env: Any) -> Any:
        result = env.reset()
        fits = isinstance(result, tuple) and len(result) >= 2
        if not fits or not (result[1] is None or isinstance(result[1], torch.Tensor)):
            raise EnvironmentContractError(
                "{}.reset() did not return (observations, privileged observations or None); for environments with "
                "groups of observations, use RslRlVecEnvWrapper.".format(type(env).__name__)
            )
        return _by_name(*result[:2])

    def _unpack(self, result: Any) -> VecEnvStep:
        if not isinstance(result, tuple) or len(result) < 5:
            raise EnvironmentContractError(
                "{}.step() returned {}; expected (observations, privileged observations or None, rewards, resets, "
                "extras), and more in some forks.".format(
                    self.name, "{} values".format(len(result)) if isinstance(result, tuple) else type(result).__name__
                )
            )
        observations, privileged, rewards, resets, extras = result[:5]
        return VecEnvStep(_by_name(observations, privileged), rewards, resets, extras)


def _by_name(observations: Any, privileged: Any) -> Any:
    return {"obs": observations} if privileged is None else {"obs": observations, "critic": privileged}
