"""Saving, loading and importing weights, and what stays as it was when a file does not fit."""

import pickle
from pathlib import Path
from typing import Any, Dict

import gymnasium
import numpy as np
import pytest
import torch
from scripted import SpaceEnv, drive, small_agent

from AquaML.compat import safe_load_available
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError, CheckpointError, CheckpointMismatchError, CheckpointNotFoundError
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement import Agent
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.stateful import collect_states

spaces = gymnasium.spaces
BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)
GAUSSIAN = spaces.Box(-1.0, 3.0, (2,), np.float32)
MULTI = spaces.MultiDiscrete([3, 2])


def world(actions: Any = GAUSSIAN, observations: Any = BOX, **options: Any) -> GymnasiumWrapper:
    return GymnasiumWrapper(lambda: SpaceEnv(observations, actions), num_envs=3, **options)


def trained(env: GymnasiumWrapper, kind: type = PPO, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    agent = small_agent(env, kind, **options)
    drive(env, agent, 16)
    return agent


def snapshot(agent: Agent) -> Dict[str, Any]:
    """Every part, the spaces, and what the agent does."""
    flat: Dict[str, Any] = {"spaces": repr(agent.metadata()["spaces"]), "bounds": agent.action_bounds}

    def walk(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, "{}/{}".format(place, key))
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                walk(item, "{}/{}".format(place, index))
        else:
            flat[place] = value.tolist() if isinstance(value, torch.Tensor) else value

    walk(collect_states(agent.parts), "")
    flat["action"] = np.asarray(agent.predict(np.array([0.3, -0.4, 1.0], np.float32))).tolist()
    return flat


@pytest.mark.parametrize("actions", [GAUSSIAN, MULTI, spaces.Discrete(3, start=2)])
@pytest.mark.parametrize("name", ["agent.pt", "agent", "agent.aqua"])
def test_identical_actions_after_loading_without_an_environment(actions: Any, name: str) -> None:
    env = world(actions, action_bounds="clip")
    first = trained(env)
    first.save(name)
    torch.manual_seed(99)
    second = small_agent(env)
    second.load(name)
    assert second.num_envs is None
    assert snapshot(first)["action"] == snapshot(second)["action"]
    observations = [np.random.RandomState(seed).randn(3).astype(np.float32) for seed in range(10)]
    assert all(np.array_equal(first.predict(item), second.predict(item)) for item in observations)
    # Setting up afterwards changes nothing, and learning goes on.
    second.setup(env.getEnvInfo())
    assert all(np.array_equal(first.predict(item), second.predict(item)) for item in observations)
    torch.manual_seed(5)
    drive(env, second, 8)


def test_an_untouched_agent_saves_and_predicts_before_any_environment() -> None:
    agent = small_agent(world())
    before = agent.predict(np.ones(3, np.float32))
    agent.save("fresh.pt")
    other = small_agent(world())
    other.load("fresh.pt")
    assert np.array_equal(other.predict(np.ones(3, np.float32)), before)


def test_rescaled_bounds_are_loaded_too() -> None:
    env = world(action_bounds="rescale")
    first = trained(env)
    first.save("agent.pt")
    second = small_agent(env)
    second.load("agent.pt")
    action = second.predict(np.zeros(3, np.float32))
    # Means near 0 lie in the middle of -1 ... 3.
    assert np.array_equal(action, first.predict(np.zeros(3, np.float32)))
    assert abs(float(action.mean()) - 1.0) < 0.9


def test_warm_start_takes_the_named_parts_alone() -> None:
    env = world()
    first, second = trained(env, seed=1), trained(env, seed=2)
    first.save("agent.pt")
    before = collect_states(second.parts)
    value = {name: tensor.clone() for name, tensor in before["value"]["state"].items()}
    second.load("agent.pt", only=["policy"])
    after, source = collect_states(second.parts), collect_states(first.parts)
    for name, tensor in source["policy"]["state"].items():
        assert torch.equal(after["policy"]["state"][name], tensor)
    assert all(torch.equal(after["value"]["state"][name], tensor) for name, tensor in value.items())
    with pytest.raises(CheckpointMismatchError, match="no part 'polcy' to load. Did you mean 'policy'"):
        second.load("agent.pt", only=["polcy"])


def test_warm_start_before_set_up_does_not_bind_the_spaces_of_the_file() -> None:
    trained(world()).save("agent.pt")
    wider = world(observations=spaces.Dict({"state": BOX, "privileged": BOX}))
    agent = small_agent(wider)
    agent.load("agent.pt", only=["policy"])
    drive(wider, agent, 8)
    agent = small_agent(world())
    agent.load("agent.pt", only=["policy", "observation_normalizer/state"])
    assert int(agent.normalizers["state"].count) == 48


class OtherAlgorithm(Agent):
    def act(self, states: Any, timestep: int, timesteps: int) -> Any:
        return self.models["policy"].act_deterministic(states)["actions"]

    def record_transition(self, *arguments: Any, **options: Any) -> None:
        pass

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        pass


def wrong_files(path: Path) -> Dict[str, str]:
    """File name to a part of the message."""
    trained(world()).save("good.pt")
    larger = PPO(default_models(world().getEnvInfo(), hidden_sizes=(7, 7)), PPOCfg(rollouts=8, device="cpu"))
    drive(world(), larger, 8)
    larger.save("architecture.pt")
    trained(world(observations=spaces.Box(-1.0, 1.0, (3,), np.float32))).save("spaces.pt")
    trained(world(MULTI)).save("actions.pt")
    trained(world(), shared=True).save("shared.pt")
    other = OtherAlgorithm(default_models(world().getEnvInfo(), hidden_sizes=(16,)))
    other.setup(world().getEnvInfo())
    other.save("algorithm.pt")
    whole = Path("good.pt").read_bytes()
    Path("truncated.pt").write_bytes(whole[: len(whole) // 2])
    Path("empty.pt").write_bytes(b"")
    torch.save({"a": torch.zeros(1)}, "torch.pt")
    return {
        "architecture.pt": "'policy' does not fit",
        "spaces.pt": "other spaces|does not fit",
        "actions.pt": "does not fit",
        "shared.pt": "does not fit this PPO; nothing was loaded",
        "algorithm.pt": "was saved by OtherAlgorithm, this agent is PPO",
        "truncated.pt": "truncated.pt",
        "empty.pt": "empty.pt",
        "torch.pt": "torch.pt",
    }


@pytest.mark.parametrize("is_set_up", [True, False])
def test_a_file_that_does_not_fit_leaves_the_agent_as_it_was(is_set_up: bool, tmp_path: Path) -> None:
    for name, words in wrong_files(tmp_path).items():
        agent = trained(world()) if is_set_up else small_agent(world())
        before = snapshot(agent)
        if name == "spaces.pt" and not is_set_up:
            # Only the bounds of the observations differ, and nothing is known of them yet: this file fits.
            agent.load(name)
            continue
        with pytest.raises(CheckpointError, match=words):
            agent.load(name)
        assert snapshot(agent) == before, name
        drive(world(), agent, 8)
    agent = small_agent(world())
    with pytest.raises(CheckpointNotFoundError, match="nowhere.pt"):
        agent.load("nowhere.pt")


def test_a_failed_load_does_not_change_what_models_know_of_the_spaces() -> None:
    trained(world(MULTI, observations=spaces.Discrete(4))).save("other.pt")
    env = world(spaces.MultiDiscrete([2, 3]), observations=spaces.Discrete(5))
    agent = small_agent(env)
    # The last of five categories, which the file's four do not have.
    before = agent.predict(np.array(4))
    with pytest.raises(CheckpointMismatchError):
        agent.load("other.pt")
    assert np.array_equal(agent.predict(np.array(4)), before)
    drive(env, agent, 8)


def test_a_subclass_loads_the_file_of_its_algorithm() -> None:
    class Tuned(PPO):
        pass

    env = world()
    first = trained(env)
    first.save("agent.pt")
    second = trained(env, Tuned, seed=4)
    second.load("agent.pt")
    assert snapshot(second)["action"] == snapshot(first)["action"]
    second.save("tuned.pt")
    first.load("tuned.pt")


def test_loading_drops_what_the_former_policy_left_in_the_rollout() -> None:
    env = world()
    trained(env, seed=3).save("agent.pt")
    agent = trained(env)
    drive(env, agent, 3)
    assert agent.memory.cursor == 3
    agent.load("agent.pt")
    assert agent.memory.cursor == 0


# ---------------------------------------------------------------------- weights of torch.save


needs_safe_load = pytest.mark.skipif(
    not safe_load_available(), reason="this torch refuses foreign files, which another test shows"
)


@needs_safe_load
def test_plain_weights(log_lines: list) -> None:
    env = world()
    source, agent = trained(env, seed=1), trained(env, seed=2)
    torch.save(source.policy.state_dict(), "policy.pt")
    value = agent.value.output.weight.detach().clone()
    agent.import_torch_weights("policy.pt")
    assert torch.equal(agent.policy.heads.output.weight, source.policy.heads.output.weight)
    assert torch.equal(agent.value.output.weight, value)
    assert any("'policy.pt' is no AquaML checkpoint" in line for line in log_lines)
    torch.save(source.value.state_dict(), "value.pt")
    agent.import_torch_weights("value.pt", role="value")
    assert torch.equal(agent.value.output.weight, source.value.output.weight)


@needs_safe_load
def test_weights_by_role() -> None:
    env = world()
    source, agent = trained(env, seed=1), trained(env, seed=2)
    torch.save({role: model.state_dict() for role, model in source.models.items()}, "both.pt")
    agent.import_torch_weights("both.pt")
    assert torch.equal(agent.policy.heads.output.weight, source.policy.heads.output.weight)
    assert torch.equal(agent.value.output.weight, source.value.output.weight)


class Code:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


@needs_safe_load
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(writer: str) -> None:
    agent = trained(world())
    before = snapshot(agent)
    if writer == "torch":
        torch.save({"policy": Code()}, "evil.pt")
    else:
        Path("evil.pt").write_bytes(pickle.dumps({"policy": Code()}, protocol=2))
    with pytest.raises(CheckpointError, match="'evil.pt' holds more than tensors or is damaged"):
        agent.import_torch_weights("evil.pt")
    assert not Path("executed").exists()
    assert snapshot(agent) == before


# The refusal exists only where torch is older than 1.13, which the run on Python 3.8 has; the tests above and below are
# its counterpart on newer torch.
@pytest.mark.skipif(safe_load_available(), reason="this torch reads foreign files safely")
def test_foreign_files_are_refused_where_they_could_run_code() -> None:
    agent = trained(world())
    before = snapshot(agent)
    torch.save({"policy": Code()}, "evil.pt")
    with pytest.raises(CheckpointError, match="cannot read foreign files without running code .*use 1.13 or newer"):
        agent.import_torch_weights("evil.pt")
    assert not Path("executed").exists()
    assert snapshot(agent) == before


@needs_safe_load
def test_weights_that_do_not_fit() -> None:
    agent = trained(world())
    before = snapshot(agent)
    torch.save(torch.nn.Linear(2, 2).state_dict(), "linear.pt")
    with pytest.raises(CheckpointMismatchError, match="'linear.pt' does not fit; nothing was loaded"):
        agent.import_torch_weights("linear.pt")
    wrong = {role: dict(model.state_dict()) for role, model in agent.models.items()}
    wrong["policy"] = {name: value + 1.0 for name, value in wrong["policy"].items()}
    wrong["value"]["output.weight"] = torch.zeros(3, 3)
    torch.save(wrong, "half.pt")
    with pytest.raises(CheckpointMismatchError, match="output.weight"):
        agent.import_torch_weights("half.pt")
    torch.save(agent.policy.state_dict(), "policy.pt")
    with pytest.raises(CheckpointError, match="no model 'actor'; there are 'policy', 'value'"):
        agent.import_torch_weights("policy.pt", role="actor")
    with pytest.raises(CheckpointNotFoundError, match="no file 'nowhere.pt'"):
        agent.import_torch_weights("nowhere.pt")
    torch.save([torch.zeros(1)], "list.pt")
    with pytest.raises(CheckpointError, match="holds a list; expected a state_dict"):
        agent.import_torch_weights("list.pt")
    assert snapshot(agent) == before


# ---------------------------------------------------------------------- parts


class Forgetful(PPO):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.helper = torch.nn.Linear(2, 2)


def test_an_attribute_with_state_must_be_registered() -> None:
    env = world()
    agent = small_agent(env, Forgetful)
    words = r"Forgetful.helper has a state but is in no checkpoint; call self.register_part\('helper', self.helper\)"
    with pytest.raises(AgentError, match=words):
        agent.setup(env.getEnvInfo())
    with pytest.raises(AgentError, match=words):
        agent.save("agent.pt")
    agent.register_part("helper", agent.helper)
    agent.setup(env.getEnvInfo())
    agent.save("agent.pt")
    with pytest.raises(AgentError, match="has a part 'helper' already"):
        agent.register_part("helper", agent.helper)


def test_an_agent_set_up_for_other_spaces_refuses() -> None:
    agent = trained(world())
    with pytest.raises(AgentError, match="PPO was set up for other spaces: .*Make a new agent"):
        agent.setup(world(MULTI).getEnvInfo())
    fewer = GymnasiumWrapper(lambda: SpaceEnv(BOX, GAUSSIAN), num_envs=2)
    agent.setup(fewer.getEnvInfo())
    with pytest.raises(AgentError, match="trains with 3 environments and cannot go on with 2"):
        agent.prepare_training()
