"""Replays what a BraxWrapper did with the bare environment, and keeps episodes by itself."""

from typing import Any, Callable, Dict, List, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from AquaML.environment.brax_envs import BraxWrapper

Draw = Callable[[np.random.Generator, int], np.ndarray]


class Replay(NamedTuple):
    """What happened.

    Attributes:
        failures: Number of failures.
        time_limits: Number of time limits.
        starts: The first observations of later episodes, ``(environment, observation)``.
        largest_error: Of all observations and rewards.
    """

    failures: int
    time_limits: int
    starts: List[Any]
    largest_error: float


def leaves(observations: Any) -> Dict[str, np.ndarray]:
    """Return a bare environment's observations under AquaML's names."""
    if not isinstance(observations, dict):
        return {"state": np.asarray(observations)}
    names = {"privileged_state": "privileged"}
    return {names.get(name, name): np.asarray(value) for name, value in observations.items()}


def chosen(rows: np.ndarray, there: Any, elsewhere: Any) -> Any:
    """Take some environments of one pytree and the others of another."""

    def choose(one: Any, other: Any) -> Any:
        return jnp.where(rows.reshape((-1,) + (1,) * (one.ndim - 1)), one, other)

    return jax.tree_util.tree_map(choose, there, elsewhere)


def replay(
    wrapper: BraxWrapper, step: Any, steps: int, limit: int, draw: Draw, physics: str = "pipeline_state"
) -> Replay:
    """Step a wrapper and the bare environment side by side and compare all that comes out.

    Args:
        wrapper: The wrapper, with ``action_repeat=1``.
        step: The compiled step of a batch of the bare environment.
        steps: Number of steps.
        limit: The time limit.
        draw: Draws actions ``(num_envs, size)``, also out of bounds.
        physics: What the state of the physics is called.
    """
    generator = np.random.default_rng(0)
    number = wrapper.num_envs
    observations, _ = wrapper.reset(seed=3)
    state = wrapper._running.state  # the very first one; from here on the bare environment goes its own way
    first = state
    ages = np.zeros(number, int)
    failures, time_limits, starts, errors = 0, 0, [], [0.0]
    full_reset = wrapper._running.first is None

    def compare(shown: Dict[str, torch.Tensor], bare: Any, rows: np.ndarray) -> None:
        for name, value in leaves(bare).items():
            assert shown[name].shape == value.shape
            errors.append(float(np.abs(shown[name].numpy()[rows] - value[rows]).max(initial=0.0)))

    compare(observations, state.obs, np.arange(number))
    for _ in range(steps):
        actions = draw(generator, number)
        observations, rewards, terminated, truncated, infos = wrapper.step(torch.from_numpy(actions))
        state = step(state, jnp.asarray(np.clip(actions, -1.0, 1.0)))
        ages += 1
        failed = np.asarray(state.done) > 0.5
        cut_off = ~failed & (ages >= limit)
        done = failed | cut_off
        assert np.array_equal(terminated.numpy()[:, 0], failed)
        assert np.array_equal(truncated.numpy()[:, 0], cut_off)
        errors.append(float(np.abs(rewards.numpy()[:, 0] - np.asarray(state.reward)).max()))
        for name, value in state.metrics.items():
            errors.append(float(np.abs(infos["log"][name].numpy()[:, 0] - np.asarray(value)).max()))
        assert sorted(infos["log"]) == sorted(state.metrics)
        # The last observation is that of the bare step, and what to act on next begins a new episode.
        compare(infos["final_obs"], state.obs, done)
        compare(observations, state.obs, ~done)
        if done.any():
            failures, time_limits = failures + failed.sum(), time_limits + cut_off.sum()
            if full_reset:
                state = chosen(done, wrapper._running.state, state)
            else:
                begun = chosen(done, getattr(first, physics), getattr(state, physics))
                obs = chosen(done, first.obs, state.obs)
                state = state.replace(**{physics: begun}, obs=obs)
            compare(observations, state.obs, done)
            starts += [(index, observations["state"][index].clone()) for index in np.nonzero(done)[0]]
            ages[done] = 0
    return Replay(int(failures), int(time_limits), starts, max(errors))


def state_of(wrapper: BraxWrapper) -> Dict[str, Any]:
    """Return what a checkpoint would hold of a wrapper, as a file would give it back."""
    state = wrapper.state_dict()
    state["simulator"] = {"leaves": [np.array(leaf) for leaf in state["simulator"]["leaves"]]}
    return state


def play(wrapper: BraxWrapper, actions: torch.Tensor) -> List[Dict[str, torch.Tensor]]:
    """Step through ``(steps, num_envs, size)`` actions and return copies of all that came out."""
    results = []
    for action in actions:
        observations, rewards, terminated, truncated, infos = wrapper.step(action)
        result = dict(observations, rewards=rewards, terminated=terminated, truncated=truncated, **infos["log"])
        result.update({"final/" + name: value for name, value in infos["final_obs"].items()})
        results.append({name: value.clone() for name, value in result.items()})
    return results


def differences(one: List[Dict[str, torch.Tensor]], other: List[Dict[str, torch.Tensor]]) -> List[str]:
    """Return which results of which step are not equal to the last bit."""
    assert len(one) == len(other)
    return [
        "{} in step {}".format(name, index)
        for index, (first, second) in enumerate(zip(one, other))
        for name in first
        if not torch.equal(first[name], second[name])
    ]
