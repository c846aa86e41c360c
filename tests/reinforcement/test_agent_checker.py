"""check_agent: silent for a sound agent, and one line for everything that is wrong with another."""

import random
import re
from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from scripted import SpaceEnv, drive, small_agent, wrap

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError
from AquaML.learning.reinforcement import Agent
from AquaML.stateful import collect_states

spaces = gymnasium.spaces
BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)


def world(actions: Any = None, observations: Any = BOX) -> GymnasiumWrapper:
    space = actions if actions is not None else spaces.Box(-1.0, 1.0, (2,), np.float32)
    return GymnasiumWrapper(lambda: SpaceEnv(observations, space), num_envs=2)


class Sound(Agent):
    """A small custom agent that learns the mean of what it saw and keeps the contract."""

    def __init__(self) -> None:
        super().__init__({}, None)
        self.offset = torch.nn.Linear(1, 2)
        self.register_part("offset", self.offset)

    def act(self, states: Dict[str, torch.Tensor], timestep: int, timesteps: int) -> Any:
        with torch.no_grad():
            actions = states["state"][:, :2] + self.offset.bias
        return actions if self.is_deterministic else actions + torch.randn_like(actions)

    def record_transition(self, states: Any, actions: Any, rewards: torch.Tensor, *rest: Any, **named: Any) -> None:
        self.latest = rewards.mean()

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        with torch.no_grad():
            self.offset.bias += 0.1
        self.track("reward", self.latest)


def complaints(agent: Agent, env: Any = None, **options: Any) -> List[str]:
    with pytest.raises(AgentError) as caught:
        AquaML.check_agent(agent, env if env is not None else world(), **options)
    lines = str(caught.value).split("\n")
    assert lines[0].startswith("{} breaks the contract of an agent in".format(type(agent).__name__))
    return lines[1:]


def test_a_sound_agent_passes() -> None:
    AquaML.check_agent(Sound(), world())


@pytest.mark.parametrize(
    "observations, actions",
    [
        (BOX, spaces.Discrete(3, start=4)),
        (spaces.Dict({"q": BOX, "image": spaces.Box(0, 255, (2, 2), np.uint8)}), spaces.MultiDiscrete([2, 3])),
        (spaces.Tuple((BOX, spaces.Discrete(3, start=1))), spaces.Dict({"a": BOX, "b": spaces.MultiBinary(2)})),
    ],
)
def test_ppo_passes_with_and_without_an_environment(observations: Any, actions: Any) -> None:
    env = world(actions, observations)
    agent = small_agent(env)
    AquaML.check_agent(agent, env)
    agent.setup(env.getEnvInfo())
    AquaML.check_agent(agent)


def test_ppo_passes_where_rows_only_reset() -> None:
    env = wrap("next_step", [[([1.0, 2.0], "truncated")], [([1.0], "terminated")]])
    AquaML.check_agent(small_agent(env), env)


@pytest.mark.parametrize("options", [{"learning_rate_scheduler": "KLAdaptiveLR"}, {"shared": True}])
def test_the_agent_and_the_random_streams_are_as_they_were(options: Dict[str, Any]) -> None:
    env = world()
    agent = small_agent(env, **options)
    drive(env, agent, 11)
    before = {part.name: repr(part.stateful.state_dict()) for part in agent.parts}
    attributes = dict(vars(agent))
    streams = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    AquaML.check_agent(agent, world())
    assert {part.name: repr(part.stateful.state_dict()) for part in agent.parts} == before
    assert vars(agent).keys() == attributes.keys()
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == streams[1:]
    assert agent.is_training


def test_an_agent_that_cannot_be_copied_is_restored() -> None:
    class Uncopyable(Sound):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no copies")

    agent = Uncopyable()
    before = {name: value.clone() for name, value in agent.offset.state_dict().items()}
    AquaML.check_agent(agent, world())
    assert all(torch.equal(before[name], value) for name, value in agent.offset.state_dict().items())
    assert agent.num_envs is None
    assert agent.observation_layout is None
    assert not agent.has_metrics
    assert "latest" not in vars(agent)


def test_without_spaces_an_environment_is_needed() -> None:
    with pytest.raises(AgentError, match=r"set up for no environment yet.*check_agent\(agent, env\)"):
        AquaML.check_agent(Sound())
    with pytest.raises(AgentError, match="expects an Agent, got 'int'"):
        AquaML.check_agent(3)  # type: ignore[arg-type]
    with pytest.raises(AgentError, match="timesteps=0"):
        AquaML.check_agent(Sound(), world(), timesteps=0)


class WrongName(Sound):
    def act(self, *arguments: Any) -> Any:
        return {"move": super().act(*arguments)}


class WrongShape(Sound):
    def act(self, *arguments: Any) -> Any:
        return super().act(*arguments)[:, :1]


class WrongType(Sound):
    def act(self, *arguments: Any) -> Any:
        return super().act(*arguments).double()


class FixedRows(Sound):
    def act(self, states: Any, *arguments: Any) -> Any:
        return torch.zeros(2, 2)


class AlwaysDraws(Sound):
    def act(self, states: Any, *arguments: Any) -> Any:
        return torch.randn(len(states["state"]), 2)


class ChangesObservations(Sound):
    def act(self, states: Any, *arguments: Any) -> Any:
        states["state"].clamp_(-0.1, 0.1)
        return super().act(states, *arguments)


class ChangesRewards(Sound):
    def record_transition(self, states: Any, actions: Any, rewards: torch.Tensor, *rest: Any, **named: Any) -> None:
        super().record_transition(states, actions, rewards)
        rewards *= 0.1


class ChangesLater(Sound):
    def record_transition(self, states: Any, actions: Any, rewards: torch.Tensor, *rest: Any, **named: Any) -> None:
        super().record_transition(states, actions, rewards)
        self.kept = actions

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        super().post_interaction(timestep, timesteps)
        self.kept["action"].zero_()


class Unregistered(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.extra = torch.optim.SGD(self.offset.parameters(), lr=0.1)

    def setup(self, env_info: Any) -> None:
        self.bind_spaces(env_info["observation_layout"], env_info["action_layout"], env_info["action_bounds"])
        self.num_envs = env_info["num_envs"]

    def require_registered_state(self) -> None:
        pass


class PlainTensor(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.memory_of_rewards = torch.zeros(2)

    def act(self, *arguments: Any) -> Any:
        return super().act(*arguments) + self.memory_of_rewards

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        super().post_interaction(timestep, timesteps)
        self.memory_of_rewards = self.memory_of_rewards + 1.0


class LearnsInEvaluation(Sound):
    def act(self, *arguments: Any) -> Any:
        with torch.no_grad():
            self.offset.weight += 1.0
        return super().act(*arguments)


class OtherAlone(Sound):
    def act(self, states: Any, *arguments: Any) -> Any:
        return super().act({"state": states["state"] - states["state"].mean(dim=0)}, *arguments)


class PredictsOtherwise(Sound):
    def predict(self, observation: Any) -> Any:
        return super().predict(np.zeros_like(observation)) - 0.5


class NotANumber(Sound):
    def post_interaction(self, timestep: int, timesteps: int) -> None:
        super().post_interaction(timestep, timesteps)
        self.track("loss/policy", float("nan"))


class SetsUpTwice(Sound):
    def setup(self, env_info: Any) -> None:
        super().setup(env_info)
        with torch.no_grad():
            self.offset.bias += 1.0


class Raises(Sound):
    def record_transition(self, *arguments: Any, **named: Any) -> None:
        raise KeyError("rewardz")


WRONG = [
    (WrongName, ["training: .*gave.*'move'.*expected.*'action'"]),
    (WrongShape, [r"training: .*'action' of shape \(2, 1\); expected \(2, 2\)"]),
    (WrongType, ["act gives action 'action' as torch.float64; expected torch.float32"]),
    (FixedRows, ["evaluation: act gave 2 rows of action 'action' for 3 rows of observations"]),
    (AlwaysDraws, ["other actions for the same observations in deterministic mode"]),
    (ChangesObservations, ["act changes the states that it was given; work on a copy"]),
    (ChangesRewards, ["record_transition changes the rewards that it was given"]),
    (ChangesLater, ["post_interaction changes the actions that it was given"]),
    (Unregistered, ["attribute 'extra' has a state but is in no checkpoint"]),
    (PlainTensor, ["after save, more training, and load, deterministic actions differ"]),
    (LearnsInEvaluation, ["act in evaluation changes the state of 'offset'"]),
    (OtherAlone, ["act gives other actions for a row alone than for the same row in a batch"]),
    (PredictsOtherwise, ["predict on one observation gives"]),
    (NotANumber, ["the tracked metric 'loss/policy' is nan; expected a finite number"]),
    (SetsUpTwice, ["setup called again with equal spaces changes the state of 'offset'"]),
    (Raises, ["training raised KeyError: 'rewardz'"]),
]


@pytest.mark.parametrize("kind, words", WRONG, ids=[kind.__name__ for kind, _ in WRONG])
def test_every_breach_is_named(kind: Any, words: List[str]) -> None:
    agent = kind()
    before = repr(collect_states(agent.parts))
    found = complaints(agent)
    for word in words:
        assert any(re.search(word, line) for line in found), found
    assert repr(collect_states(agent.parts)) == before


def test_all_problems_are_listed_at_once() -> None:
    class Several(ChangesRewards, NotANumber, WrongType):
        pass

    found = complaints(Several())
    assert len(found) == 3
