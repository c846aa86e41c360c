"""Every algorithm learns what is known of the probes, and one with a broken part does not.

An algorithm is added by one entry in ``ALGORITHMS``: how it is built, and how its value of an observation is read.
"""

import dataclasses
import functools
from typing import Any, Callable, Dict, List, NamedTuple, Tuple, Type

import numpy as np
import pytest
import torch
from probes import (
    DISCOUNT,
    Bootstrap,
    Discount,
    LastObservation,
    Policy,
    PolicyByObservation,
    Probe,
    Value,
    ValueByObservation,
)

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_actor_critic, default_models, default_q_network
from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.reinforcement.off_policy import DDPG, DQN, SAC, TD3, FastSAC
from AquaML.learning.reinforcement.on_policy.a2c import A2C
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.reinforcement.on_policy.rpo import RPO
from AquaML.learning.reinforcement.on_policy.trpo import TRPO
from AquaML.learning.reinforcement.tabular import SARSA, QLearning, TabularCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

PROBES: List[Type[Probe]] = [
    Value,
    ValueByObservation,
    Discount,
    Policy,
    PolicyByObservation,
    Bootstrap,
    LastObservation,
]
NUM_ENVS = 16
BOTH = ("discrete", "box")


class Algorithm(NamedTuple):
    """How an algorithm is probed.

    Attributes:
        build: Makes an agent from ``env.getEnvInfo()``.
        value: Returns an agent's value of one observation, given as ``{"state": (1, 1)}``.
        timesteps: Vector steps of the training.
        actions: The kinds of action it controls.
        observations: How the probes show their states.
    """

    build: Callable[[Dict[str, Any]], Agent]
    value: Callable[[Any, Dict[str, torch.Tensor]], float]
    timesteps: int
    actions: Tuple[str, ...] = BOTH
    observations: str = "box"


def on_policy(kind: Any, shared: bool = False, **settings: Any) -> Callable[[Dict[str, Any]], Agent]:
    """Return how an on-policy agent with small networks is built."""
    settings = dict(dict(rollouts=8, learning_rate=0.01, discount_factor=DISCOUNT, device="cpu"), **settings)

    def build(env_info: Dict[str, Any]) -> Agent:
        models = default_models(env_info, hidden_sizes=(16,), shared=shared, initial_log_std=-0.5)
        return kind(models, kind.config_class(**settings))

    return build


def value_on_policy(agent: Any, states: Dict[str, torch.Tensor]) -> float:
    values = agent.values_of(agent.normalize(states))
    return float(values if agent.value_normalizer is None else agent.value_normalizer.denormalize(values))


def off_policy(kind: Any, make_models: Callable[..., Any], **settings: Any) -> Callable[[Dict[str, Any]], Agent]:
    """Return how an off-policy agent with small networks is built."""
    common = dict(
        learning_rate=5e-3,
        discount_factor=DISCOUNT,
        target_smoothing=0.1,
        target_interval=1,
        update_interval=1,
        gradient_steps=1,
        batch_size=64,
        memory_size=16_000,
        random_timesteps=100,
        learning_starts=10,
        device="cpu",
    )

    def build(env_info: Dict[str, Any]) -> Agent:
        return kind(make_models(env_info, hidden_sizes=(32,)), kind.config_class(**dict(common, **settings)))

    return build


def value_of_critics(agent: Any, states: Dict[str, torch.Tensor]) -> float:
    """Return what the critics think of the policy's action, in units of reward."""
    seen = agent.normalize(states)
    with torch.no_grad():
        actions = agent.name_actions(agent.policy.act_deterministic(agent.policy.select_inputs(seen))["actions"])
        value = float(agent.judge(agent.critic, seen, actions).mean())
    return value / float(agent.return_scale.factor()) if isinstance(agent, FastSAC) else value


def value_of_actions(agent: Any, states: Dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        return float(agent.action_values(agent.q_network, agent.normalize(states)).max())


def tabular(kind: Any) -> Callable[[Dict[str, Any]], Agent]:
    cfg = TabularCfg(learning_rate=0.3, discount_factor=DISCOUNT)
    return lambda env_info: kind(cfg=cfg)


def value_tabular(agent: Any, states: Dict[str, torch.Tensor]) -> float:
    return float(agent.table.values[agent.table.rows_of(states)].max())


PLAIN: Dict[str, Any] = {"observation_normalizer": False, "value_normalizer": False}
FIXED_TEMPERATURE: Dict[str, Any] = {"learn_temperature": False, "initial_temperature": 1e-3}
SLOW_POLICY: Dict[str, Any] = {"policy_learning_rate": 1e-3, "exploration_noise": 0.5}
"""A policy that learns faster than its critic runs to a bound before the critic knows what lies between."""
DETERMINISTIC = functools.partial(default_actor_critic, policy="deterministic")
DISTRIBUTIONS = functools.partial(default_actor_critic, layer_norm=True, atoms=101)
ALGORITHMS: Dict[str, Algorithm] = {
    "PPO": Algorithm(on_policy(PPO, mini_batches=2), value_on_policy, 200),
    "PPO without normalisers": Algorithm(on_policy(PPO, mini_batches=2, **PLAIN), value_on_policy, 200, ("discrete",)),
    "PPO with a shared network": Algorithm(
        on_policy(PPO, shared=True, mini_batches=2), value_on_policy, 200, ("discrete",)
    ),
    # Several minibatches are steps enough for the value function; for the policy they are not the paper's.
    "A2C": Algorithm(on_policy(A2C, mini_batches=4, learning_rate=5e-3, **PLAIN), value_on_policy, 300),
    "RPO": Algorithm(on_policy(RPO, mini_batches=2, perturbation=0.1), value_on_policy, 200, ("box",)),
    "TRPO": Algorithm(on_policy(TRPO, mini_batches=2, max_divergence=0.05, **PLAIN), value_on_policy, 200),
    "SAC": Algorithm(
        off_policy(SAC, default_actor_critic, policy_learning_rate=2e-3, **FIXED_TEMPERATURE),
        value_of_critics,
        300,
        ("box",),
    ),
    "TD3": Algorithm(off_policy(TD3, DETERMINISTIC, **SLOW_POLICY), value_of_critics, 300, ("box",)),
    "DDPG": Algorithm(off_policy(DDPG, DETERMINISTIC, **SLOW_POLICY), value_of_critics, 300, ("box",)),
    "FastSAC": Algorithm(
        off_policy(FastSAC, DISTRIBUTIONS, policy_learning_rate=2e-3, **FIXED_TEMPERATURE),
        value_of_critics,
        300,
        ("box",),
    ),
    "DQN": Algorithm(off_policy(DQN, default_q_network), value_of_actions, 300, ("discrete",)),
    "Q-learning": Algorithm(tabular(QLearning), value_tabular, 200, ("discrete",), "discrete"),
    "SARSA": Algorithm(tabular(SARSA), value_tabular, 200, ("discrete",), "discrete"),
}


def trained(algorithm: Algorithm, probe: Type[Probe], actions: str) -> Agent:
    AquaML.seed_everything(0)
    env = GymnasiumWrapper(lambda: probe(actions, algorithm.observations), num_envs=NUM_ENVS)
    agent = algorithm.build(env.getEnvInfo())
    settings = TrainerConfig(
        timesteps=algorithm.timesteps,
        seed=0,
        disable_progressbar=True,
        tensorboard=False,
        learning_curve=False,
        system_monitor=False,
        checkpoint_interval=0,
    )
    SequentialTrainer(env, agent, settings).train()
    return agent


def mistakes(algorithm: Algorithm, probe: Type[Probe], actions: str) -> Dict[str, Tuple[Any, Any]]:
    """Train on a probe; return what is wrong with values and actions, as pairs of what is and what should be."""
    agent = trained(algorithm, probe, actions)
    world = probe(actions, algorithm.observations)
    wrong: Dict[str, Tuple[Any, Any]] = {}
    for state, value in enumerate(probe.values):
        seen = torch.as_tensor(np.array(world.seen(state))).reshape(1, 1)
        found = algorithm.value(agent, {"state": seen})
        # Comparisons with NaN are false, so that one is a mistake.
        if not abs(found - value) <= 0.08:
            wrong["value of state {}".format(state)] = found, value
    for state in range(len(probe.best)):
        action, ideal = agent.predict(world.seen(state)), world.ideal(state)
        if not abs(float(np.asarray(action).item()) - ideal) <= (0.0 if actions == "discrete" else 0.2):
            wrong["action in state {}".format(state)] = action, ideal
    return wrong


def cases() -> List[object]:
    return [
        pytest.param(name, probe, actions, id="{}-{}-{}".format(name, probe.__name__, actions))
        for name, algorithm in ALGORITHMS.items()
        for probe in PROBES
        for actions in algorithm.actions
    ]


@pytest.mark.parametrize("name, probe, actions", cases())
def test_the_algorithm_learns_what_is_known(name: str, probe: Type[Probe], actions: str) -> None:
    assert mistakes(ALGORITHMS[name], probe, actions) == {}


# ------------------------------------------------------------------ the probes themselves


class NoValueLoss(PPO):
    """Never moves the value function."""

    def value_loss(self, minibatch: Batch, values: torch.Tensor) -> torch.Tensor:
        return 0.0 * values.mean()


class BlindValues(PPO):
    """Shows the value function the same observation whatever there is."""

    def values_of(self, states: Dict[str, torch.Tensor]) -> torch.Tensor:
        return super().values_of(the_same(states))

    def evaluate_values(self, minibatch: Batch) -> torch.Tensor:
        return super().evaluate_values(dataclasses.replace(minibatch, states=the_same(minibatch.states)))


class ReversedPolicy(PPO):
    """Makes better actions rarer."""

    def policy_loss(self, minibatch: Batch, evaluated: Any) -> torch.Tensor:
        return -super().policy_loss(minibatch, evaluated)


class BlindPolicy(PPO):
    """Shows the policy the same observation whatever there is."""

    def act(self, states: Dict[str, torch.Tensor], timestep: int, timesteps: int) -> Dict[str, torch.Tensor]:
        return super().act(the_same(states), timestep, timesteps)

    def evaluate_policy(self, minibatch: Batch) -> Any:
        return super().evaluate_policy(dataclasses.replace(minibatch, states=the_same(minibatch.states)))


class EndsAtLimits(PPO):
    """Takes a time limit for an end."""

    def record_transition(self, *arguments: Any) -> None:
        states, actions, rewards, next_states, terminated, truncated, infos, timestep, timesteps = arguments
        ended, never = terminated | truncated, torch.zeros_like(truncated)
        super().record_transition(states, actions, rewards, next_states, ended, never, infos, timestep, timesteps)


class ForgetsLastObservations(PPO):
    """Values the first observation of some other episode in place of the last one of an episode."""

    def record_transition(self, *arguments: Any) -> None:
        states, actions, rewards, next_states, terminated, truncated, infos, timestep, timesteps = arguments
        first = {name: torch.where(truncated, states[name].roll(1, 0), seen) for name, seen in next_states.items()}
        super().record_transition(states, actions, rewards, first, terminated, truncated, infos, timestep, timesteps)


def the_same(states: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    return {name: torch.zeros_like(seen) for name, seen in states.items()}


# The probes that a broken part lets pass: the others need it, and must notice.
BROKEN: Dict[str, Tuple[Any, Dict[str, Any], List[Type[Probe]]]] = {
    "no value loss": (NoValueLoss, {}, [Policy, PolicyByObservation]),
    "blind values": (BlindValues, {}, [Value, Policy, PolicyByObservation, Bootstrap]),
    "no discount": (PPO, {"discount_factor": 1.0}, [Value, ValueByObservation, Policy, PolicyByObservation]),
    "reversed policy": (ReversedPolicy, {}, [Value, ValueByObservation, Discount, Bootstrap, LastObservation]),
    "blind policy": (
        BlindPolicy,
        {},
        [Value, ValueByObservation, Discount, Policy, Bootstrap, LastObservation],
    ),
    "ends at limits": (EndsAtLimits, {}, [Value, ValueByObservation, Discount, Policy, PolicyByObservation]),
    "forgets last observations": (
        ForgetsLastObservations,
        {},
        [Value, ValueByObservation, Discount, Policy, PolicyByObservation, Bootstrap],
    ),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_the_probes_notice_a_broken_part(name: str) -> None:
    kind, settings, passed = BROKEN[name]
    build = on_policy(kind, mini_batches=2, **dict(PLAIN, **settings))
    algorithm = Algorithm(build, value_on_policy, 200)
    assert [probe for probe in PROBES if not mistakes(algorithm, probe, "discrete")] == passed
