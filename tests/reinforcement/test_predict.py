"""One numpy observation in, one action out: equal to the batched path."""

from typing import Any, Dict

import gymnasium
import numpy as np
import pytest
import torch
from scripted import SpaceEnv, drive, small_agent

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import EnvironmentContractError
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg

spaces = gymnasium.spaces
BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)
OBSERVATIONS: Dict[str, Any] = {
    "box": BOX,
    "float64": spaces.Box(-2.0, 2.0, (2, 2), np.float64),
    "scalar": spaces.Box(-1.0, 1.0, (), np.float32),
    "discrete": spaces.Discrete(5, start=3),
    "multi_binary": spaces.MultiBinary(4),
    "dict": spaces.Dict(
        {"arm": spaces.Dict({"q": BOX, "mode": spaces.Discrete(3)}), "image": spaces.Box(0, 255, (2, 2), np.uint8)}
    ),
    "tuple": spaces.Tuple((BOX, spaces.Discrete(2))),
}
ACTIONS: Dict[str, Any] = {
    "box": spaces.Box(-0.2, 0.3, (2,), np.float32),
    "discrete": spaces.Discrete(4, start=-1),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_binary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"move": BOX, "arm": spaces.Dict({"grip": spaces.Discrete(2)})}),
    "tuple": spaces.Tuple((BOX, spaces.Discrete(2))),
}


def leaves(value: Any) -> list:
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in leaves(value[key])]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, tuple) else [np.asarray(value)]


class Recording(SpaceEnv):
    """Remembers its own observation and the action that arrived, in its own form."""

    def reset(self, **options: Any) -> Any:
        self.observation, info = super().reset(**options)
        return self.observation, info

    def step(self, action: Any) -> Any:
        self.action = action
        result = super().step(action)
        self.observation = result[0]
        return result


@pytest.mark.parametrize("bounds", ["clip", "rescale"])
@pytest.mark.parametrize(
    "observations, actions",
    [(name, "box") for name in sorted(OBSERVATIONS)] + [("dict", name) for name in sorted(ACTIONS)],
)
def test_predict_equals_the_batched_path(observations: str, actions: str, bounds: str) -> None:
    made = []

    def make() -> Recording:
        made.append(Recording(OBSERVATIONS[observations], ACTIONS[actions], limit=100))
        return made[-1]

    env = GymnasiumWrapper(make, num_envs=4, action_bounds=bounds)
    agent = small_agent(env)
    drive(env, agent, 16)
    agent.set_mode(training=False, deterministic=True)
    states, _ = env.reset(seed=1)
    for _ in range(3):
        native = [environment.observation for environment in made]
        alone = [agent.predict(observation) for observation in native]
        states = env.step(agent.act(states, 0, 1))[0]
        for environment, action in zip(made, alone):
            assert ACTIONS[actions].contains(action)
            for mine, theirs in zip(leaves(action), leaves(environment.action)):
                assert mine.dtype == theirs.dtype
                np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_predict_uses_the_normalisers_and_changes_nothing() -> None:
    env = GymnasiumWrapper(lambda: SpaceEnv(BOX, ACTIONS["box"]), num_envs=2)
    agent = small_agent(env)
    drive(env, agent, 8)
    observation = np.array([0.5, 1.0, -1.0], np.float32)
    copy, stream = observation.copy(), torch.get_rng_state()
    count = int(agent.normalizers["state"].count)
    action = agent.predict(observation)
    assert agent.is_training
    assert not agent.is_deterministic
    assert np.array_equal(observation, copy)
    assert torch.equal(stream, torch.get_rng_state())
    assert int(agent.normalizers["state"].count) == count
    inputs = {"state": agent.normalizers["state"].normalize(torch.from_numpy(observation).unsqueeze(0))}
    expected = agent.policy.act_deterministic(inputs)["actions"][0].detach().numpy().clip(-0.2, 0.3)
    np.testing.assert_allclose(action, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "observation, words",
    [
        (np.zeros(4, np.float32), r"'arm/q' has shape \(4,\), but its space declares \(3,\)"),
        (None, "'q', got .*'p'"),
    ],
)
def test_observations_that_do_not_fit(observation: Any, words: str) -> None:
    env = GymnasiumWrapper(lambda: SpaceEnv(spaces.Dict({"arm": spaces.Dict({"q": BOX})}), ACTIONS["box"]))
    agent = small_agent(env)
    agent.setup(env.getEnvInfo())
    given = {"arm": {"p": BOX.sample()} if observation is None else {"q": observation}}
    with pytest.raises(EnvironmentContractError, match=words):
        agent.predict(given)


def test_a_robot_need_not_have_what_only_the_critic_sees() -> None:
    class Privileged(gymnasium.Env):
        observation_space = gymnasium.spaces.Dict(
            {
                "state": gymnasium.spaces.Dict({"joints": gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)}),
                "privileged": gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32),
            }
        )
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    env = GymnasiumWrapper(Privileged)
    agent = PPO(default_models(env.getEnvInfo()), PPOCfg(device="cpu"))
    agent.setup(env.getEnvInfo())
    seen = {"joints": np.array([0.5, -0.5], np.float32)}
    whole = agent.predict({"state": seen, "privileged": np.ones(3, np.float32)})
    assert np.array_equal(agent.predict({"state": seen}), whole)
    with pytest.raises(EnvironmentContractError, match="joints"):
        agent.predict({"state": {}})
    with pytest.raises(EnvironmentContractError, match="'state'"):
        agent.predict({"privileged": np.ones(3, np.float32)})
    with pytest.raises(EnvironmentContractError, match="'other'"):
        agent.predict({"state": seen, "other": np.ones(3, np.float32)})
