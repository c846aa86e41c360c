"""Functional environments as Brax 0.14 has them, in JAX: ``reset(keys)``, ``step(state, actions)``, pytrees."""

import dataclasses
from typing import Any, Callable, Dict

import jax
import jax.numpy as jnp
from case import LIMIT, Case
from worlds import ClockWorld, PointMass, clock_scripts

from AquaML.environment.brax_envs import BraxWrapper


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    """``brax: envs/base.py``: flags are float32, and ``done`` says nothing of time limits in the bare environment."""

    pipeline_state: Any
    obs: Any
    reward: Any
    done: Any
    metrics: Dict[str, Any]
    info: Dict[str, Any]

    def replace(self, **changes: Any) -> "State":
        return dataclasses.replace(self, **changes)


class VmapClock:
    """:class:`worlds.ClockWorld` without memory: a reset draws the number of its episode. It is a batch already.

    Args:
        num_envs: Number of environments.
        limit: The time limit, at which one fall comes.
        nested: Observe a dictionary with what a critic sees.
    """

    action_size = 1

    def __init__(self, num_envs: int, limit: int, nested: bool = True) -> None:
        self._nested = nested
        self.observation_size: Any = {"state": 5, "privileged_state": 2} if nested else 5
        scripts = [clock_scripts(limit)[index % 3] for index in range(num_envs)]
        longest = max(map(len, scripts))
        self._falls = jnp.array([script + [0] * (longest - len(script)) for script in scripts])
        self._lengths = jnp.array([len(script) for script in scripts])
        self._index = jnp.arange(num_envs)

    def _observe(self, physics: Any) -> Any:
        columns = [self._index, physics["episode"], physics["age"], physics["action"], physics["chance"]]
        state = jnp.stack([column.astype(jnp.float32) for column in columns], axis=1)
        if not self._nested:
            return state
        return {"state": state, "privileged_state": state[:, 1:3][:, ::-1]}

    def reset(self, keys: Any) -> State:
        number = len(self._index)
        chance = jax.vmap(jax.random.uniform)(keys)
        zeros = jnp.zeros(number)
        episode = jnp.floor(chance * 64.0)
        physics = {"episode": episode, "age": zeros, "action": zeros, "chance": chance}
        return State(physics, self._observe(physics), zeros, zeros, {"height": zeros}, {"key": keys})

    def step(self, state: State, actions: Any) -> State:
        before = state.pipeline_state
        action = jnp.clip(actions[:, 0], -1.0, 1.0)
        physics = dict(before, age=before["age"] + 1.0, action=action)
        script = jnp.mod(before["episode"], self._lengths).astype(jnp.int32)
        fall = self._falls[self._index, script]
        reward = 100.0 * before["episode"] + physics["age"] + action
        done = jnp.where(fall == physics["age"], 1.0, 0.0)  # a loose type, as from many tasks
        metrics = {"height": physics["age"] * 0.5}
        return state.replace(
            pipeline_state=physics, obs=self._observe(physics), reward=reward, done=done, metrics=metrics
        )


class PointMassEnvironment:
    """:class:`worlds.PointMass` for one environment at a time, as Brax's are before they are made a batch."""

    action_size = 1
    observation_size = 2

    def reset(self, key: Any) -> State:
        physics = jnp.array([jax.random.uniform(key) * 2.0 - 1.0, 0.0])
        zero = jnp.zeros(())
        return State(physics, physics, zero, zero, {}, {})

    def step(self, state: State, action: Any) -> State:
        velocity = state.pipeline_state[1] + 0.2 * action[0]
        position = state.pipeline_state[0] + 0.1 * velocity
        physics = jnp.array([position, velocity])
        reward = -jnp.abs(position) - 0.05 * jnp.abs(velocity)
        done = jnp.where(jnp.abs(position) > PointMass.EDGE, 1.0, 0.0)
        return state.replace(pipeline_state=physics, obs=physics, reward=reward, done=done)


def maker(nested: bool = True, **settings: Any) -> Callable[..., BraxWrapper]:
    """Return what makes a wrapper with these settings."""

    def make(num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, **options: Any) -> BraxWrapper:
        environment: Any = VmapClock(num_envs, limit, nested) if world is ClockWorld else PointMassEnvironment()
        return BraxWrapper(environment, num_envs, episode_length=limit, **settings, **options)

    return make


CASES: Dict[str, Case] = {
    "brax": Case(maker(nested=False), privileged=(), counts=False),
    "brax full_reset": Case(maker(full_reset=True), counts=False),
}
