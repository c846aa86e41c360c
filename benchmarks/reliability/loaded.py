"""Three checkpoints, what takes them, and the judgement of a load: exact, refused, or silently wrong."""

import copy
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import gymnasium
import numpy as np
import torch

import AquaML
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.stateful import ROLES, TRAINING, WEIGHTS, Part, apply_states, collect_states
from benchmarks.reliability.forging import exact_digest
from benchmarks.reliability.tiny_run import NAME, tiny_trainer

_DEVICE_FLAGS = ("fused", "foreach", "capturable", "differentiable")


class Subject(NamedTuple):
    """A sound checkpoint and an object that can take it.

    Attributes:
        name: What is saved in it.
        content: The file's bytes.
        other: The bytes of another file of the same structure.
        load: Loads a file into the object.
        parts: The parts of the object that ``load`` restores.
        roles: The roles of these parts.
        blank: Their states before anything was loaded.
        blank_digest: The digest of these states.
        works: Uses the object after a load; raises if it cannot be used.
        is_exact: Whether a load that succeeded calls itself exact.
    """

    name: str
    content: bytes
    other: bytes
    load: Callable[[Path], Any]
    parts: Callable[[], List[Part]]
    roles: Tuple[str, ...]
    blank: Dict[str, Any]
    blank_digest: str
    works: Callable[[], None]
    is_exact: Callable[[], bool]

    def state(self) -> Dict[str, Any]:
        """Return the states of all parts that a load restores."""
        return collect_states(self.parts())

    def reset(self) -> None:
        """Bring the parts to where they were before anything was loaded."""
        apply_states(self.parts(), copy.deepcopy(self.blank))


class RandomWorld(gymnasium.Env):
    """Random observations of any space, episodes of five steps."""

    def __init__(self, observations: Any, actions: Any) -> None:
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.clock = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        """Draw an observation and a reward."""
        self.clock += 1
        return self.observation_space.sample(), float(self.np_random.normal()), False, self.clock >= 5, {}


def picture_of_four() -> RandomWorld:
    """Return a world with observations of four kinds by name."""
    observations = gymnasium.spaces.Dict(
        {
            "joints": gymnasium.spaces.Box(-1.0, 1.0, (6,), np.float32),
            "goal": gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64),
            "mode": gymnasium.spaces.Discrete(4),
            "camera": gymnasium.spaces.Box(0, 255, (4, 4), np.uint8),
        }
    )
    return RandomWorld(observations, gymnasium.spaces.Box(-2.0, 1.0, (2,), np.float32))


def trained_agent(env: GymnasiumWrapper, seed: int, hidden: Any = (24, 24), steps: int = 8) -> PPO:
    """Return an agent after two updates on an environment."""
    AquaML.seed_everything(seed)
    models = default_models(env.getEnvInfo(), hidden_sizes=hidden)
    agent = PPO(models, PPOCfg(rollouts=4, learning_epochs=1, mini_batches=1, device="cpu"))
    agent.setup(env.getEnvInfo())
    agent.prepare_training()
    agent.set_mode(training=True)
    states, _ = env.reset(seed=seed)
    for step in range(steps):
        actions = agent.name_actions(agent.act(states, step, steps))
        following, rewards, terminated, truncated, infos = env.step(actions)
        agent.record_transition(states, actions, rewards, following, terminated, truncated, infos, step, steps)
        agent.post_interaction(step, steps)
        states = following
    return agent


def subjects(folder: Path) -> List[Subject]:
    """Make the three files in a folder and what takes them."""
    mlp = GymnasiumWrapper("Pendulum-v1", num_envs=2, vectorization="sync")
    named = GymnasiumWrapper(picture_of_four, num_envs=2, vectorization="sync")
    return [_agent_subject("agent", mlp, folder), _agent_subject("named", named, folder), _run_subject(folder)]


def _agent_subject(name: str, env: GymnasiumWrapper, folder: Path) -> Subject:
    contents = []
    for seed in (1, 2):
        path = folder / "{}_{}.aqua".format(name, seed)
        trained_agent(env, seed).save(path)
        contents.append(path.read_bytes())
    agent = trained_agent(env, 3, steps=4)
    observation = env.reset(seed=0)[0]

    def parts() -> List[Part]:
        return [part for part in agent.parts if part.role in (WEIGHTS, TRAINING)]

    def works() -> None:
        agent.set_mode(training=False, deterministic=True)
        agent.name_actions(agent.act(observation, 0, 1))
        _step(agent)

    blank = copy.deepcopy(collect_states(parts()))
    return Subject(
        name,
        contents[0],
        contents[1],
        agent.load,
        parts,
        (WEIGHTS, TRAINING),
        blank,
        exact_digest(blank),
        works,
        lambda: True,
    )


def _run_subject(folder: Path) -> Subject:
    contents = []
    for seed in (1, 2):
        trainer = tiny_trainer(folder / str(seed), seed=seed, timesteps=6, checkpoint_interval=0)
        trainer.train()
        contents.append((folder / str(seed) / NAME / CHECKPOINT_FOLDER / "last.aqua").read_bytes())
    trainer = tiny_trainer(folder / "none", seed=3)
    agent, env = trainer.agent, trainer.env
    agent.setup(env.getEnvInfo())
    agent.prepare_training()
    env.reset(seed=3)
    trainer._register_components()

    def works() -> None:
        trainer.get_status()
        _step(agent)

    def is_exact() -> bool:
        return env.restored_exactly

    blank = copy.deepcopy(collect_states(trainer.coordinator.parts()))
    return Subject(
        "run",
        contents[0],
        contents[1],
        trainer.coordinator.restore,
        trainer.coordinator.parts,
        ROLES,
        blank,
        exact_digest(blank),
        works,
        is_exact,
    )


def _step(agent: Any) -> None:
    """Take an optimiser's step with gradients of zero, which trips over numbers and moments that do not belong."""
    for group in agent.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    agent.optimizer.step()
    agent.optimizer.zero_grad()


def differing_parts(subject: Subject, said: Dict[str, Any]) -> List[str]:
    """Return the names of parts that are not bit for bit what a file says of them.

    The order of keys and a class's name, which a user may change, say nothing. An optimiser numbers its parameters by
    their places; how it computes its step (fused or not) stays what the device was given, and a flag that a file lacks,
    since another torch wrote it, has its default. The simulator of a run that calls itself an approximation may differ.
    """
    found = []
    for name, entry in subject.state().items():
        file_entry = said["parts"].get(name)
        if file_entry is None or file_entry["role"] != entry["role"]:
            found.append(name)
            continue
        ours, theirs = _comparable(entry["state"]), _comparable(file_entry["state"])
        if isinstance(ours, dict) and "param_groups" in ours:
            for own, other in zip(ours["param_groups"], theirs["param_groups"]):
                for flag in set(own) - set(other):
                    if type(own[flag]) is bool or own[flag] is None:
                        del own[flag]
        counts = name != "environment" or subject.is_exact()
        if counts and exact_digest(_sorted(ours)) != exact_digest(_sorted(theirs)):
            found.append(name)
    known = {name for name, entry in said["parts"].items() if entry["role"] in subject.roles}
    return found + sorted(known - set(subject.state()))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=repr)}
    if isinstance(value, (list, tuple)):
        return type(value)(_sorted(item) for item in value)
    return value


def _comparable(state: Any) -> Any:
    if not isinstance(state, dict) or set(state) != {"state", "param_groups"}:
        return state
    order = [index for group in state["param_groups"] for index in group["params"]]
    places = {index: place for place, index in enumerate(order)}
    groups = [
        {
            name: [places[index] for index in group[name]] if name == "params" else group[name]
            for name in group
            if name not in _DEVICE_FLAGS
        }
        for group in state["param_groups"]
    ]
    moments = {places[index]: dict(values) for index, values in state["state"].items()}
    for values in moments.values():
        if type(values.get("step")) in (int, float):  # Before torch 1.12 the count was a number.
            values["step"] = torch.tensor(float(values["step"]))
    return {"state": moments, "param_groups": groups}
