"""What the conformance suite asks of a wrapper over a :class:`worlds.ClockWorld`."""

from typing import Any, Dict, List, NamedTuple, Tuple

import torch

from AquaML.environment.base import EnvironmentWrapper
from AquaML.environment.rows import true_successors


class Transition(NamedTuple):
    """One transition as a memory would store it; states are ``(environment, episode, age, last action, chance)``."""

    state: Tuple[float, ...]
    action: float
    reward: float
    successor: Tuple[float, ...]
    terminated: bool
    truncated: bool


def clock_actions(states: Dict[str, torch.Tensor]) -> torch.Tensor:
    """Return actions that depend on episode and age alone; some are out of bounds."""
    state = states["state"]
    return 0.25 * (state[:, 1:2] % 8) - 0.5 * (state[:, 2:3] % 3)


def collect(wrapper: EnvironmentWrapper, steps: int, seed: int = 0) -> List[List[Transition]]:
    """Play and return the transitions of each environment, without rows that only reset."""
    states, infos = wrapper.reset(seed=seed)
    assert infos == {"final_obs": None, "valid": None, "log": {}}
    rows: List[List[Transition]] = [[] for _ in range(wrapper.num_envs)]
    for _ in range(steps):
        actions = clock_actions(states)
        given = actions.clone()
        observations, rewards, terminated, truncated, infos = wrapper.step({"action": actions})
        assert torch.equal(actions, given), "the agent's tensor was changed"
        assert not (terminated & truncated).any()
        done = terminated | truncated
        successors = true_successors(observations, done, infos["final_obs"])["state"]
        valid = torch.ones_like(done) if infos["valid"] is None else infos["valid"]
        # The states before, read only now: they must have survived this step.
        for index in torch.nonzero(valid[:, 0])[:, 0].tolist():
            rows[index].append(
                Transition(
                    tuple(states["state"][index].tolist()),
                    float(actions[index, 0]),
                    float(rewards[index, 0]),
                    tuple(successors[index].tolist()),
                    bool(terminated[index, 0]),
                    bool(truncated[index, 0]),
                )
            )
        states = observations
    return rows


def ends_by_script(script: List[int], limit: int, both: str, episode: int) -> Tuple[int, str]:
    """Return age and kind of the end of an episode, by hand."""
    fall = script[episode % len(script)]
    if 0 < fall < limit:
        return fall, "terminated"
    return limit, both if fall == limit else "truncated"


def play(wrapper: EnvironmentWrapper, steps: int) -> List[Any]:
    """Play and return copies of everything that ``step`` returned."""
    states, _ = wrapper.reset(seed=0)
    results = []
    for _ in range(steps):
        results.append(wrapper.step({"action": clock_actions(states)}))
        states = results[-1][0]
        results[-1] = {
            **{"state/" + name: value.clone() for name, value in states.items()},
            "rewards": results[-1][1].clone(),
            "terminated": results[-1][2].clone(),
            "truncated": results[-1][3].clone(),
            "valid": None if results[-1][4]["valid"] is None else results[-1][4]["valid"].clone(),
        }
    return results


def simulator_of(wrapper: Any) -> Any:
    """Return the stand-in under a wrapper."""
    return wrapper.environment if hasattr(wrapper, "environment") else wrapper._backend.environments[0]
