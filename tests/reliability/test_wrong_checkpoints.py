"""A checkpoint of something else is refused by name, with all differences at once, and nothing changes."""

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import gymnasium
import numpy as np
import pytest
import torch

from AquaML.coordinator.checkpoint_format import FORMAT_VERSION, Checkpoint, read_checkpoint, write_checkpoint
from AquaML.coordinator.coordinator import Coordinator
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import (
    CheckpointAlgorithmError,
    CheckpointArchitectureError,
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    CheckpointVersionError,
)
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.stateful import collect_states
from benchmarks.reliability.custom_agent import EpisodeGradient
from benchmarks.reliability.digest import digest_of
from benchmarks.reliability.forging import exact_digest, pack, said_by, unpack
from benchmarks.reliability.loaded import RandomWorld
from benchmarks.reliability.tiny_run import tiny_trainer

spaces = gymnasium.spaces
GOLDEN = Path(__file__).resolve().parent / "golden"
FILE = "agent.aqua"


def box(*shape: int, dtype: Any = np.float32, low: float = -1.0) -> Any:
    """A box up to 1."""
    return spaces.Box(low, 1.0, shape, dtype)


JOINTS, ACTIONS = box(3), box(2)
NAMED = spaces.Dict({"joints": box(3), "goal": box(3)})
REORDERED = spaces.Dict([("joints", box(3)), ("goal", box(3))])


def world(observations: Any = JOINTS, actions: Any = ACTIONS, num_envs: int = 2) -> GymnasiumWrapper:
    """Environments of the given spaces."""
    return GymnasiumWrapper(lambda: RandomWorld(observations, actions), num_envs=num_envs, vectorization="sync")


def ppo(env: Optional[GymnasiumWrapper] = None, seed: int = 0, hidden: Any = (8,), **settings: Any) -> PPO:
    """PPO with small networks, not set up."""
    torch.manual_seed(seed)
    models = default_models((env or world()).getEnvInfo(), hidden_sizes=hidden)
    return PPO(models, PPOCfg(**dict(dict(rollouts=4, mini_batches=1, learning_epochs=1, device="cpu"), **settings)))


def custom(env: Optional[GymnasiumWrapper] = None, seed: int = 0) -> EpisodeGradient:
    """An agent as users write them, not set up."""
    torch.manual_seed(seed)
    return EpisodeGradient({"policy": default_models((env or world()).getEnvInfo(), hidden_sizes=(8,))["policy"]})


def drive(env: GymnasiumWrapper, agent: Agent, steps: int = 13) -> Any:
    """Train an agent for some steps and return it."""
    agent.setup(env.getEnvInfo())
    agent.prepare_training()
    agent.set_mode(training=True)
    states, _ = env.reset(seed=3)
    for step in range(steps):
        actions = agent.name_actions(agent.act(states, step, steps))
        following, rewards, terminated, truncated, infos = env.step(actions)
        agent.record_transition(states, actions, rewards, following, terminated, truncated, infos, step, steps)
        agent.post_interaction(step, steps)
        states = following
    return agent


def everything(agent: Agent) -> str:
    """SHA-256 of every part, the spaces, what models know of them, and the random state."""
    known = {role: repr(getattr(model, "_specs", None)) for role, model in agent.models.items()}
    state = collect_states(Coordinator("cpu").parts() + agent.parts)
    names = [part.name for part in agent.parts]
    spaces_known = json.dumps(agent.metadata()["spaces"], default=str)
    return exact_digest([state, known, names, spaces_known, agent.action_bounds])


# ---------------------------------------------------------------------- algorithms

ALGORITHMS: Dict[str, Callable[..., Any]] = {"PPO": ppo, "EpisodeGradient": custom}


@pytest.mark.parametrize("saved", sorted(ALGORITHMS))
@pytest.mark.parametrize("loading", sorted(ALGORITHMS))
@pytest.mark.parametrize("is_set_up", [True, False])
def test_every_algorithm_takes_its_own_files_alone(saved: str, loading: str, is_set_up: bool) -> None:
    env = world()
    source = drive(env, ALGORITHMS[saved](env, seed=1))
    source.save(FILE)
    agent = ALGORITHMS[loading](env, seed=2)
    if is_set_up:
        drive(env, agent)
    if saved == loading:
        agent.load(FILE)
        said = said_by(Path(FILE).read_bytes())["parts"]
        assert exact_digest(collect_states(agent.parts, ("weights", "training"))) == exact_digest(said)
        return
    before = everything(agent)
    words = "was saved by {}, this agent is {}.*Make agent, models and spaces as they were".format(saved, loading)
    with pytest.raises(CheckpointAlgorithmError, match=words) as caught:
        agent.load(FILE)
    assert everything(agent) == before
    # All other differences are told as well.
    assert "'optimizer' does not fit" in str(caught.value) and "value" in str(caught.value)


# ---------------------------------------------------------------------- architectures and spaces

Case = Tuple[Callable[[], Any], Callable[[], Any], List[str]]
"""What is saved, what loads it, and words of the message."""

SHAPES: Dict[str, Case] = {
    "one unit more": (
        lambda: drive(world(), ppo(hidden=(9,))),
        lambda: drive(world(), ppo()),
        ["(9, 3), expected torch.float32 (8, 3)", "'policy' does not fit", "'value' does not fit", "'optimizer' does"],
    ),
    "one unit less": (
        lambda: drive(world(), ppo(hidden=(7,))),
        lambda: drive(world(), ppo()),
        ["(7, 3), expected torch.float32 (8, 3)"],
    ),
    "one layer more": (
        lambda: drive(world(), ppo(hidden=(8, 8))),
        lambda: drive(world(), ppo()),
        ["is unknown here"],
    ),
    "one layer less": (lambda: drive(world(), ppo()), lambda: drive(world(), ppo(hidden=(8, 8))), ["is missing"]),
    "another type": (
        lambda: _double(drive(world(), ppo())),
        lambda: drive(world(), ppo()),
        ["torch.float64 (8, 3), expected torch.float32 (8, 3)", "exp_avg of parameter 0 is torch.float64"],
    ),
    "another key": (
        lambda: drive(world(NAMED), ppo(world(NAMED))),
        lambda: drive(world(), ppo()),
        ["observations: keys ['goal', 'joints'] instead of ['state']", "'policy' was trained on the inputs"],
    ),
    "one key less": (
        lambda: drive(world(spaces.Dict({"goal": box(3)})), ppo(world(spaces.Dict({"goal": box(3)})))),
        lambda: drive(world(NAMED), ppo(world(NAMED))),
        ["keys ['goal'] instead of ['goal', 'joints']", "'observation_normalizer/joints' is missing"],
    ),
    "reordered keys": (
        lambda: drive(world(NAMED), ppo(world(NAMED))),
        lambda: drive(world(REORDERED), ppo(world(REORDERED))),
        ["keys ['goal', 'joints'] instead of ['joints', 'goal']", "trained on the inputs 'goal', 'joints' and reads"],
    ),
    "another type of observation": (
        lambda: drive(world(box(3, dtype=np.int32)), ppo(world(box(3, dtype=np.int32)))),
        lambda: drive(world(), ppo()),
        ["state.dtype is int32 instead of float32"],
    ),
    "other bounds": (
        lambda: drive(world(box(3, low=-2.0)), ppo()),
        lambda: drive(world(), ppo()),
        ["observations: state.low is -2.0 instead of -1.0"],
    ),
    "one action more": (
        lambda: drive(world(actions=box(3)), ppo(world(actions=box(3)))),
        lambda: drive(world(), ppo()),
        ["actions: action.shape is [3] instead of [2]", "expected torch.float32 (2, 8)"],
    ),
    "another kind of action": (
        lambda: drive(world(actions=spaces.Discrete(2)), ppo(world(actions=spaces.Discrete(2)))),
        lambda: drive(world(), ppo()),
        ["actions: action.kind is discrete instead of box"],
    ),
    "no observation normaliser": (
        lambda: drive(world(), ppo(observation_normalizer=False)),
        lambda: drive(world(), ppo()),
        ["'observation_normalizer/state' is missing"],
    ),
    "a normaliser too many": (
        lambda: drive(world(), ppo()),
        lambda: drive(world(), ppo(value_normalizer=False)),
        ["'value_normalizer' is not part of this object"],
    ),
}


def _double(agent: PPO) -> PPO:
    for model in agent.models.values():
        model.double()
    for moments in agent.optimizer.state.values():
        moments.update({name: value.double() for name, value in moments.items() if value.dim() > 0})
    return agent


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_other_architectures_and_spaces(name: str) -> None:
    save, make, words = SHAPES[name]
    save().save(FILE)
    agent = make()
    before = everything(agent)
    with pytest.raises(CheckpointArchitectureError) as caught:
        agent.load(FILE)
    assert everything(agent) == before
    for text in words:
        assert text in str(caught.value)
    assert "'agent.aqua' does not fit this PPO; nothing was loaded" in str(caught.value)
    assert "load(path, only=['policy'])" in str(caught.value)
    drive(world() if agent.observation_layout is None else _world_of(name), agent, 8)


def _world_of(name: str) -> GymnasiumWrapper:
    return world({"one key less": NAMED, "reordered keys": REORDERED}.get(name, JOINTS))


@pytest.mark.parametrize("name", ["one unit more", "reordered keys", "one action more", "no observation normaliser"])
def test_an_agent_that_knows_no_spaces_yet_stays_so(name: str) -> None:
    SHAPES[name][0]().save(FILE)
    agent = ppo(_world_of(name))
    before = everything(agent)
    with pytest.raises(CheckpointArchitectureError):
        agent.load(FILE)
    assert everything(agent) == before
    drive(_world_of(name), agent, 8)


def test_inputs_in_another_order_are_refused_in_a_warm_start_too() -> None:
    drive(world(NAMED), ppo(world(NAMED))).save(FILE)
    agent = drive(world(REORDERED), ppo(world(REORDERED)))
    before = everything(agent)
    with pytest.raises(CheckpointArchitectureError, match="trained on the inputs 'goal', 'joints' and reads 'joints'"):
        agent.load(FILE, only=["policy"])
    assert everything(agent) == before


def test_another_optimiser_is_a_mismatch_of_its_own() -> None:
    agent = drive(world(), ppo())
    agent.save(FILE)
    checkpoint = read_checkpoint(FILE)
    checkpoint.parts["optimizer"]["state"]["param_groups"][0].pop("betas")
    checkpoint.parts["more"] = {"role": "training", "class": "A", "state": {}}
    write_checkpoint(FILE, checkpoint)
    before = everything(agent)
    with pytest.raises(CheckpointMismatchError, match="groups lack betas.*'more' is not part of") as caught:
        agent.load(FILE)
    assert type(caught.value) is CheckpointMismatchError and everything(agent) == before


# ---------------------------------------------------------------------- failing in the middle


class Stubborn:
    """A part, the last of its agent, that fails while it loads."""

    def __init__(self) -> None:
        self.value, self.fails = 1, 0

    def state_dict(self) -> Dict[str, Any]:
        """Return the value."""
        return {"value": self.value}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take the value over, and fail as often as asked for."""
        self.value = state["value"]
        if self.fails:
            self.fails -= 1
            raise KeyError("in the last part")


@pytest.mark.parametrize("is_set_up", [True, False])
@pytest.mark.parametrize("kind", ["agent", "run"])
def test_a_fault_in_the_last_part_changes_nothing(is_set_up: bool, kind: str) -> None:
    env = world()
    agents = []
    for seed in (1, 2):
        agent = ppo(env, seed)
        if seed == 1 or is_set_up or kind == "run":
            drive(env, agent, 8 + seed)
        agent.stubborn = Stubborn()
        agent.register_part("stubborn", agent.stubborn)
        agents.append(agent)
    coordinators = []
    for agent in agents:
        coordinators.append(Coordinator("cpu"))
        coordinators[-1].register("agent", agent)
    agents[0].stubborn.value = 5
    agents[0].save(FILE)
    write_checkpoint("run.aqua", coordinators[0].checkpoint({"kind": "run", "agent": agents[0].metadata()}))
    before = everything(agents[1])
    agents[1].stubborn.fails = 1
    with pytest.raises(CheckpointMismatchError, match="'(agent/)?stubborn' could not be loaded: KeyError"):
        agents[1].load(FILE) if kind == "agent" else coordinators[1].restore("run.aqua")
    assert everything(agents[1]) == before and agents[1].stubborn.value == 1
    agents[1].load(FILE)
    assert agents[1].stubborn.value == 5


def test_a_part_that_cannot_be_put_back_is_named_and_the_others_are() -> None:
    agent = drive(world(), ppo(seed=1))
    agent.stubborn = Stubborn()
    agent.register_part("stubborn", agent.stubborn)
    agent.save(FILE)
    other = drive(world(), ppo(seed=2))
    other.stubborn = Stubborn()
    other.register_part("stubborn", other.stubborn)
    before = everything(other)
    other.stubborn.fails = 2
    with pytest.raises(CheckpointMismatchError, match="'stubborn' could not be put back either .* make a new one"):
        other.load(FILE)
    assert everything(other) == before


# ---------------------------------------------------------------------- runs


def a_run(root: str, **settings: Any) -> Any:
    """A trainer after six steps, and its last checkpoint."""
    trainer = tiny_trainer(Path(root), timesteps=6, checkpoint_interval=0, **settings)
    trainer.train()
    return trainer, trainer.run_folder / "checkpoints" / "last.aqua"


def altered(path: Path, change: Callable[[Checkpoint], None]) -> Path:
    """Change the content of a checkpoint."""
    checkpoint = read_checkpoint(path)
    change(checkpoint)
    return write_checkpoint("altered.aqua", checkpoint)


def _rename_algorithm(checkpoint: Checkpoint) -> None:
    checkpoint.metadata["agent"]["algorithm"] = "SAC"


def _widen(checkpoint: Checkpoint) -> None:
    state = checkpoint.parts["agent/policy"]["state"]
    name = next(name for name, value in state.items() if value.dim() == 2)
    state[name] = torch.zeros(9, 9)
    checkpoint.metadata["agent"]["spaces"]["actions"]["specs"][0]["low"] = -7.0


def _other_environment(checkpoint: Checkpoint) -> None:
    checkpoint.parts["environment"]["state"]["name"] = "Walker"
    del checkpoint.parts["trainer/statistics"]


def _no_agent(checkpoint: Checkpoint) -> None:
    del checkpoint.metadata["agent"]["spaces"]


RUNS = {
    "algorithm": (_rename_algorithm, CheckpointAlgorithmError, ["saved by SAC, this agent is PPO"]),
    "architecture": (
        _widen,
        CheckpointArchitectureError,
        ["actions: action.low is -7.0 instead of -2.0", "'agent/policy' does not fit"],
    ),
    "environment": (
        _other_environment,
        CheckpointMismatchError,
        ["saved from 2 of 'Walker', this is 2 of 'Pendulum-v1'", "'trainer/statistics' is missing"],
    ),
    "metadata": (_no_agent, CheckpointCorruptError, ["does not describe an agent as AquaML does"]),
}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_run_takes_its_own_checkpoints_alone(name: str) -> None:
    change, kind, words = RUNS[name]
    trainer, path = a_run("runs")
    wrong = altered(path, change)
    before = exact_digest(collect_states(trainer.coordinator.parts()))
    with pytest.raises(CheckpointError) as caught:
        trainer.coordinator.restore(wrong)
    assert type(caught.value) is kind
    assert all(text in str(caught.value) for text in words), str(caught.value)
    assert exact_digest(collect_states(trainer.coordinator.parts())) == before
    if kind is not CheckpointMismatchError:
        with pytest.raises(kind):
            trainer.agent.load(wrong)
        assert exact_digest(collect_states(trainer.coordinator.parts())) == before
    trainer.coordinator.restore(path)


# ---------------------------------------------------------------------- versions and golden files


def expected() -> Dict[str, Any]:
    """What stands in the files of this folder."""
    return json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["pendulum.aqua", "named.aqua", "run.aqua"])
def test_files_of_other_versions_of_python_and_torch_are_read_bit_for_bit(name: str) -> None:
    checkpoint = read_checkpoint(GOLDEN / name)
    assert digest_of({"parts": checkpoint.parts, "metadata": checkpoint.metadata}) == expected()[name]["digest"]
    assert exact_digest(checkpoint.parts) == exact_digest(said_by((GOLDEN / name).read_bytes())["parts"])


@pytest.mark.parametrize("name", ["pendulum.aqua", "named.aqua", "run.aqua"])
def test_agents_of_other_versions_act_and_learn_on(name: str) -> None:
    from benchmarks.reliability.loaded import trained_agent

    make, observe = _golden_tools()
    env = make[name]()
    agent = trained_agent(env, 1, (8, 8) if name == "run.aqua" else (8,), steps=4)
    agent.load(GOLDEN / name)
    action = np.asarray(agent.predict(observe(env)))
    np.testing.assert_allclose(action, expected()[name]["action"], rtol=1e-5, atol=1e-6)
    steps = [float(moments["step"]) for moments in agent.optimizer.state.values()]
    drive(env, agent, 8)
    assert all(float(m["step"]) > before for m, before in zip(agent.optimizer.state.values(), steps))


def _golden_tools() -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("golden_write", str(GOLDEN / "write.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        "pendulum.aqua": module.pendulum,
        "named.aqua": module.named,
        "run.aqua": module.pendulum,
    }, module.observation_of


def test_older_and_newer_formats() -> None:
    agent = drive(world(), ppo())
    before = everything(agent)
    shutil.copy(str(GOLDEN / "first_version.aqua"), "older.aqua")
    agent.save(FILE)
    document, tensors = unpack(Path(FILE).read_bytes())
    document["format"] = "AquaML checkpoint {}".format(FORMAT_VERSION + 1)
    Path("newer.aqua").write_bytes(pack(document, tensors, FORMAT_VERSION + 1))
    with pytest.raises(CheckpointVersionError, match="'newer.aqua' has format version 3; .* reads version 2. Update A"):
        agent.load("newer.aqua")
    with pytest.raises(
        CheckpointVersionError, match="'older.aqua' has format version 1; .* Load it with the AquaML th"
    ):
        agent.load("older.aqua")
    assert everything(agent) == before
