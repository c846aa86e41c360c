"""Which backend steps the environments of an id: the fastest that is proven equal to Gymnasium."""

import contextlib
import dataclasses
from typing import Any, Dict, Optional

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.spaces import SpaceLayout
from AquaML.environment.vectorization.backend import Unsuited, VectorBackend
from AquaML.environment.vectorization.factory import EnvironmentFactory
from AquaML.environment.vectorization.proof import prove_equal, shortened
from AquaML.environment.vectorization.sync import SyncVector
from AquaML.errors import EnvironmentContractError, did_you_mean

BACKENDS = ("auto", "batched", "sharded", "envpool", "sync")

NOT_BY_ITSELF = {
    "sharded": "it starts processes, so it is taken by name only",
    "envpool": "it has other random streams and resets on the next step, so it is taken by name only",
}
"""Why ``"auto"`` never takes a backend."""

_PROVEN_WITH = 2


@dataclasses.dataclass
class Wanted:
    """What environments are asked for.

    Attributes:
        factory: Makes one of them.
        kwargs: Keywords of ``gymnasium.make``.
        num_envs: How many.
        workers: Threads or processes; None: as many as there are cores.
        render_mode: How they are to be shown.
        observations: The observation space.
        transform: Converts the agent's actions; knows the action space.
    """

    factory: EnvironmentFactory
    kwargs: Dict[str, Any]
    num_envs: int
    workers: Optional[int]
    render_mode: Optional[str]
    observations: SpaceLayout
    transform: ActionTransform


def require_backend_name(name: Any) -> None:
    """Check the name of a backend.

    Raises:
        EnvironmentContractError: There is none of this name.
    """
    if name not in BACKENDS:
        raise EnvironmentContractError("vectorization is {!r}.{}".format(name, did_you_mean(str(name), BACKENDS)))


def require_workers(workers: Any, step_timeout: Any, vectorization: str) -> None:
    """Check the number of workers, and the time limit of a step, which only sharded workers have.

    Raises:
        EnvironmentContractError: One of them is out of range.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise EnvironmentContractError("workers is {!r}; expected None or an integer of at least 1.".format(workers))
    if step_timeout is None:
        return
    if vectorization != "sharded":
        raise EnvironmentContractError(
            "step_timeout={!r} needs worker processes, which can be ended: vectorization='sharded', not {!r}.".format(
                step_timeout, vectorization
            )
        )
    if isinstance(step_timeout, bool) or not isinstance(step_timeout, (int, float)) or not step_timeout > 0:
        raise EnvironmentContractError(
            "step_timeout is {!r}; expected None or a positive number of seconds.".format(step_timeout)
        )


def proven_batch(wanted: Wanted) -> VectorBackend:
    """Make a backend that computes the whole batch at once, after proving it on two environments.

    Raises:
        Unsuited: There is none for these environments, or it does not equal what is installed.
    """
    if wanted.render_mode is not None:
        raise Unsuited("render_mode is {!r}, and a batch shows no picture".format(wanted.render_mode))
    spec = wanted.factory.spec
    if spec is None:
        raise Unsuited("only environments given by id have a batched form")
    added = getattr(spec, "additional_wrappers", ())
    if added:
        raise Unsuited("its registration wraps it by {}".format(", ".join(wrapper.name for wrapper in added)))
    make = _maker(spec)
    with contextlib.ExitStack() as stack:
        short = shortened(wanted.kwargs, spec.max_episode_steps)
        batch = make(spec, _PROVEN_WITH, short, 1)
        stack.callback(batch.close)
        factory = EnvironmentFactory(wanted.factory.source, short)
        reference = SyncVector(
            [factory() for _ in range(_PROVEN_WITH)], wanted.observations, ActionTransform(wanted.transform.layout)
        )
        stack.callback(reference.close)
        try:
            prove_equal(batch, reference, wanted.observations, wanted.transform.layout)
        except Unsuited:
            raise
        except Exception as error:
            # Another version of Gymnasium or of the simulator may break a batch anywhere.
            raise Unsuited("it fails with what is installed ({}: {})".format(type(error).__name__, error)) from error
    return make(spec, wanted.num_envs, wanted.kwargs, wanted.workers)


def _maker(spec: Any) -> Any:
    place = str(spec.entry_point)
    if place.startswith("gymnasium.envs.mujoco."):
        from AquaML.environment.mujoco import gymnasium_tasks

        return gymnasium_tasks.make
    if place.startswith("gymnasium.envs.classic_control."):
        from AquaML.environment.vectorization import classic_control

        return classic_control.make
    raise Unsuited("there is no batched form of it")
