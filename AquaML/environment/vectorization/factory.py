"""Making single Gymnasium environments, here or in a worker process, and checking what was made; no torch."""

from typing import Any, Callable, Dict, Optional, Sequence, Union

import gymnasium

from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME, SpaceLayout, layout_of
from AquaML.errors import EnvironmentContractError, MissingDependencyError


class EnvironmentFactory:
    """Makes one environment per call; it can be pickled where the function it was given can.

    Args:
        source: An environment id or a function that makes one environment.
        kwargs: Handed to ``gymnasium.make`` (ids only).

    Attributes:
        spec: The registered ``EnvSpec`` of an id, known once :meth:`resolve` was called; a process in which the id
            is not registered makes the environment from it.
    """

    def __init__(self, source: Union[str, Callable[[], gymnasium.Env]], kwargs: Dict[str, Any]) -> None:
        self.source: Any = source
        self.kwargs = kwargs
        self.spec: Optional[Any] = None

    def __call__(self) -> gymnasium.Env:
        """Make and check one environment.

        Raises:
            EnvironmentContractError: The keywords are wrong, or the function returns no usable environment.
            MissingDependencyError: A package is not installed.
        """
        if callable(self.source):
            return checked(self.source())
        return checked(self._made())

    def resolve(self, environment: gymnasium.Env) -> None:
        """Look up the registration of an environment that was made."""
        if isinstance(self.source, str) and environment.spec is not None:
            self.spec = gymnasium.registry.get(environment.spec.id)

    def _made(self) -> gymnasium.Env:
        known: Any = self.source
        if self.spec is not None and self.source not in gymnasium.registry:
            known = self.spec
        try:
            return gymnasium.make(known, **self.kwargs)
        except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
            raise MissingDependencyError("'{}' cannot be made: {}".format(self.source, error)) from error
        except (gymnasium.error.Error, TypeError) as error:
            raise EnvironmentContractError(
                "'{}' cannot be made with the keywords {}: {}".format(self.source, list(self.kwargs) or "none", error)
            ) from error


def checked(environment: Any) -> gymnasium.Env:
    """Return an environment if it is one and leaves its resets to others.

    Raises:
        EnvironmentContractError: It is none, or resets itself.
    """
    if not isinstance(environment, gymnasium.Env):
        raise EnvironmentContractError("The function returned {!r}; expected a gymnasium.Env.".format(environment))
    layer: Any = environment
    while isinstance(layer, gymnasium.Wrapper):
        if type(layer).__name__ in ("AutoResetWrapper", "Autoreset"):
            raise EnvironmentContractError(
                "{} resets itself through {}, which hides the last observation of an episode; leave that wrapper out, "
                "GymnasiumWrapper resets the environment.".format(environment, type(layer).__name__)
            )
        layer = layer.env
    return environment


def require_alike(
    environments: Sequence[gymnasium.Env], observations: SpaceLayout, actions: SpaceLayout, first: int = 0
) -> None:
    """Check that environments are distinct and have the spaces of environment 0.

    Args:
        environments: Made environments.
        observations: The observation space of environment 0.
        actions: The action space of environment 0.
        first: Index of the first one in the whole batch.

    Raises:
        EnvironmentContractError: They are not.
    """
    if len({id(environment) for environment in environments}) < len(environments):
        raise EnvironmentContractError(
            "The function returned the same environment more than once; it must make a new one on each call."
        )
    for index, environment in enumerate(environments, start=first):
        for ours, space, name in (
            (observations, environment.observation_space, OBSERVATION_NAME),
            (actions, environment.action_space, ACTION_NAME),
        ):
            differences = ours.differences(layout_of(space, name))
            if differences:
                raise EnvironmentContractError(
                    "Environment {} has other spaces than environment 0: {}.".format(index, "; ".join(differences))
                )
