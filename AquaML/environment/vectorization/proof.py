"""Whether a batched backend does what Gymnasium does: both are run, and every number is compared."""

from typing import Any, Dict, List, Optional

import numpy as np

from AquaML.environment.spaces import BOX, SpaceLayout, TensorSpec
from AquaML.environment.step_arrays import StepArrays, array_shapes
from AquaML.environment.vectorization.backend import Unsuited, VectorBackend

EPISODE_LENGTH = 6
"""Time limit, in steps, of the environments that are compared, so that ends and resets are compared, too."""
STEPS = 10
TOLERANCE = 1e-6
"""Largest accepted difference of a number ``x``, as a multiple of ``max(1, |x|)``."""


def prove_equal(
    batch: VectorBackend, reference: VectorBackend, observations: SpaceLayout, actions: SpaceLayout, seed: int = 0
) -> None:
    """Run two backends side by side with the same seeds and random actions.

    Args:
        batch: The backend in doubt.
        reference: Gymnasium's own environments, as many.
        observations: The observation space.
        actions: The action space.
        seed: Seed of the environments and of the actions.

    Raises:
        Unsuited: They differ; the message says in what.
    """
    generator = np.random.default_rng(seed)
    pair = [_arrays(observations, reference.num_envs) for _ in range(2)]
    for number, start in enumerate((seed, None)):
        for backend, out in zip((batch, reference), pair):
            backend.reset(start, out)
        _compare("reset {}".format(number), observations, pair, None)
        for step in range(STEPS):
            native = {name: _sample(spec, reference.num_envs, generator) for name, spec in actions.specs.items()}
            ended = [backend.step(native, out) for backend, out in zip((batch, reference), pair)]
            moment = "step {} after reset {}".format(step, number)
            if bool(ended[0]) != bool(ended[1]):
                raise Unsuited("it differs from Gymnasium in whether an episode ended, at {}".format(moment))
            _compare(moment, observations, pair, pair[1].terminated | pair[1].truncated)


def _arrays(observations: SpaceLayout, num_envs: int) -> StepArrays:
    shapes = array_shapes(observations.specs, num_envs)
    return StepArrays({name: np.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()})


def _sample(spec: TensorSpec, rows: int, generator: np.random.Generator) -> np.ndarray:
    shape = (rows,) + spec.native_shape
    if spec.kind != BOX:
        categories = generator.integers(0, spec.high.astype(np.int64) + 1, (rows,) + spec.shape)
        offset = np.asarray(spec.start, np.int64).reshape(spec.shape)
        return (categories + offset).astype(spec.native_dtype).reshape(shape)
    low, high = np.maximum(spec.low, -1e3), np.minimum(spec.high, 1e3)
    return generator.uniform(low, high, (rows,) + spec.shape).astype(spec.native_dtype).reshape(shape)


def _compare(moment: str, observations: SpaceLayout, pair: List[StepArrays], done: Optional[np.ndarray]) -> None:
    batch, reference = pair
    for name in observations.specs:
        _require("observation '{}'".format(name), moment, batch.observations[name], reference.observations[name])
    if done is None:
        return
    for name in ("rewards", "terminated", "truncated"):
        _require(name, moment, getattr(batch, name), getattr(reference, name))
    rows = done[:, 0]
    for name in observations.specs:
        _require("last observation '{}'".format(name), moment, batch.final[name][rows], reference.final[name][rows])


def _require(what: str, moment: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    one, other = ours.astype(np.float64), theirs.astype(np.float64)
    wrong = np.abs(one - other) > TOLERANCE * np.maximum(1.0, np.abs(other))
    wrong |= np.isnan(one) != np.isnan(other)
    if wrong.any():
        where = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise Unsuited(
            "it differs from the installed Gymnasium: {} of environment {} at {} is {!r} instead of {!r}".format(
                what, where[0], moment, float(one[where]), float(other[where])
            )
        )


def shortened(kwargs: Dict[str, Any], limit: Optional[int]) -> Dict[str, Any]:
    """Return the keywords of ``gymnasium.make`` with the time limit of a proof."""
    limit = kwargs.get("max_episode_steps") or limit or EPISODE_LENGTH
    return dict(kwargs, max_episode_steps=min(limit, EPISODE_LENGTH))
