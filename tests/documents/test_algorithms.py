"""The tables of features by algorithm are what the algorithms do."""

import math
import re
from typing import Any, Callable, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from pages import DOCUMENTS
from test_tables import rows_of

import AquaML.learning.reinforcement.off_policy as off_policy
import AquaML.learning.reinforcement.on_policy as on_policy
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AquaMLError, NonFiniteError
from AquaML.learning.model import default_actor_critic, default_models, default_q_network
from AquaML.learning.reinforcement.off_policy.critic_agent import CriticAgent
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

spaces = gymnasium.spaces
BOX, CHOICE = spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.Discrete(3)


class World(gymnasium.Env):
    """Pays for nothing, in episodes of five steps."""

    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)

    def __init__(self, actions: gymnasium.Space) -> None:
        self.action_space, self.clock = actions, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.clock = 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.clock += 1
        return self._observation(), float(self.np_random.normal()), False, self.clock >= 5, {}

    def _observation(self) -> np.ndarray:
        return self.np_random.uniform(-1.0, 1.0, 3).astype(np.float32)


class StopAt11(Hook):
    """Ends training between two updates."""

    def on_step(self, trainer: Any) -> None:
        if trainer.timestep == 11:
            trainer.stop("asked to")


def trainer_of(kind: Any, actions: gymnasium.Space = BOX, shared: bool = False, **options: Any) -> SequentialTrainer:
    """Make a small training of three updates."""
    torch.manual_seed(0)
    env = GymnasiumWrapper(lambda: World(actions), num_envs=2)
    settings: Dict[str, Any] = {"timesteps": 24, "seed": 0, "disable_progressbar": True, "tensorboard": False}
    for name in ("run_name", "resume"):
        if name in options:
            settings[name] = options.pop(name)
    networks = {"recurrent": options.pop("recurrent")} if "recurrent" in options else {}
    models = default_models(env.getEnvInfo(), hidden_sizes=(8,), shared=shared, **networks)
    agent = kind(models, kind.config_class(device="cpu", rollouts=8, **options))
    return SequentialTrainer(env, agent, TrainerConfig(learning_curve=False, **settings))


def learns(kind: Any, *arguments: Any, **options: Any) -> bool:
    """Return whether a training with these options changes the policy."""
    trainer = trainer_of(kind, *arguments, **options)
    before = [parameter.detach().clone() for parameter in trainer.agent.policy.parameters()]
    trainer.train()
    return any(not torch.equal(a, b) for a, b in zip(before, trainer.agent.policy.parameters()))


def stops_early(kind: Any) -> bool:
    if "kl_threshold" not in kind.config_class.field_names():
        return False
    return learns(kind, kl_threshold=0.01)


def withstands_nan(kind: Any) -> bool:
    trainer = trainer_of(kind)
    trainer.begin()
    for _ in range(7):
        trainer.step()
    agent = trainer.agent
    agent.value_loss = lambda minibatch, values: values.mean() * math.nan
    before = [value.detach().clone() for model in agent.models.values() for value in model.parameters()]
    with pytest.raises(NonFiniteError):
        trainer.step()
    return all(torch.equal(a, b) for a, b in zip(before, [v for m in agent.models.values() for v in m.parameters()]))


def resumes(kind: Any) -> bool:
    whole = trainer_of(kind, run_name="whole_" + kind.__name__)
    whole.train()
    name = "parts_" + kind.__name__
    cut = trainer_of(kind, run_name=name)
    cut.hooks.append(StopAt11())
    cut.train()
    again = trainer_of(kind, resume="runs/" + name)
    again.train()
    pairs = zip(whole.agent.policy.parameters(), again.agent.policy.parameters())
    return again.timestep == 24 and all(torch.equal(a, b) for a, b in pairs)


PROBES: Dict[str, Callable[[Any], bool]] = {
    "continuous actions": learns,
    "discrete actions": lambda kind: learns(kind, CHOICE),
    "mixed actions": lambda kind: learns(kind, spaces.Dict({"move": BOX, "grip": CHOICE})),
    "shared network": lambda kind: learns(kind, shared=True),
    "recurrent models": lambda kind: learns(kind, recurrent="gru", sequence_length=4),
    "mixed precision": lambda kind: learns(kind, mixed_precision="bf16"),
    # That compiled losses are the eager ones is in tests/reinforcement/test_compile.py; here nothing is compiled.
    "compiled losses": lambda kind: trainer_of(kind, compile=hasattr(torch, "compile")) is not None,
    "learning-rate schedules": lambda kind: learns(kind, learning_rate_scheduler="LinearLR"),
    "schedule by divergence": lambda kind: learns(kind, learning_rate_scheduler="KLAdaptiveLR"),
    "early stop by divergence": stops_early,
    "entropy bonus": lambda kind: learns(kind, entropy_loss_scale=0.01),
    "own rate of the value function": lambda kind: learns(kind, value_learning_rate=1e-3),
    "NaN leaves the networks as they were": withstands_nan,
    "exact resume": resumes,
}
PAGE = DOCUMENTS / "algorithms.md"


# ---------------------------------------------------------------------- off policy


def off_policy_trainer(kind: Any, actions: Any = None, critics: int = 2, **options: Any) -> SequentialTrainer:
    """Make a small training on the actions that the algorithm is for, or on others."""
    torch.manual_seed(0)
    learns_values = not issubclass(kind, CriticAgent)
    if actions is None:
        actions = CHOICE if learns_values else BOX
    env = GymnasiumWrapper(lambda: World(actions), num_envs=2)
    settings: Dict[str, Any] = {"timesteps": 24, "seed": 0, "disable_progressbar": True, "tensorboard": False}
    settings.update({name: options.pop(name) for name in ("run_name", "resume") if name in options})
    cfg = {"device": "cpu", "memory_size": 40, "batch_size": 8, "random_timesteps": 3, "learning_starts": 5}
    info = env.getEnvInfo()
    if learns_values:
        models = default_q_network(info, hidden_sizes=(8,))
    else:
        policy = "deterministic" if issubclass(kind, off_policy.DDPG) else "squashed"
        atoms = 11 if issubclass(kind, off_policy.FastSAC) else None
        cfg.update({} if atoms is None else {"atoms": atoms})
        models = default_actor_critic(info, policy, hidden_sizes=(8,), critics=critics, atoms=atoms)
    agent = kind(models, kind.config_class(**dict(cfg, **options)))
    return SequentialTrainer(env, agent, TrainerConfig(learning_curve=False, **settings))


def learned(kind: Any, *arguments: Any, **options: Any) -> List[torch.Tensor]:
    """Return all parameters after a training with these options."""
    trainer = off_policy_trainer(kind, *arguments, **options)
    before = [parameter.detach().clone() for parameter in parameters_of(trainer)]
    trainer.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, parameters_of(trainer)))
    return parameters_of(trainer)


def parameters_of(trainer: SequentialTrainer) -> List[torch.Tensor]:
    return [parameter for model in trainer.agent.models.values() for parameter in model.parameters()]


def has(field: str, value: Any, **options: Any) -> Callable[[Any], bool]:
    """Return a probe: whether the algorithm has this field, and learns something else by it."""

    def probe(kind: Any) -> bool:
        if field not in kind.config_class.field_names():
            return False
        pairs = zip(learned(kind, **options), learned(kind, **dict(options, **{field: value})))
        return any(not torch.equal(a, b) for a, b in pairs)

    return probe


def takes_the_smallest(kind: Any) -> bool:
    if not issubclass(kind, CriticAgent):
        return False
    trainer = off_policy_trainer(kind, critics=3)
    critic = trainer.agent.models["critic"]
    before = [parameter.detach().clone() for parameter in critic.parameters()]
    trainer.train()
    # Which of them is smallest, tests of the targets tell; here each has to be there and to learn.
    return all(bool((a != b).flatten(1).any(dim=1).all()) for a, b in zip(before, critic.parameters()))


def learns_from_files(kind: Any) -> bool:
    pairs = zip(learned(kind, memory_directory="."), learned(kind))
    return all(torch.equal(a, b) for a, b in pairs)


def nan_reaches_no_network(kind: Any) -> bool:
    trainer = off_policy_trainer(kind)
    trainer.begin()
    for _ in range(9):
        trainer.step()
    agent: Any = trainer.agent
    judge = agent.models["critic" if issubclass(kind, CriticAgent) else "q_network"]
    before = [parameter.detach().clone() for parameter in judge.parameters()]
    agent.batch_rewards = lambda rewards: rewards * math.nan
    with pytest.raises(NonFiniteError):
        trainer.step()
    finite = all(bool(torch.isfinite(parameter).all()) for parameter in parameters_of(trainer))
    return finite and all(torch.equal(a, b) for a, b in zip(before, judge.parameters()))


def resumes_off_policy(kind: Any) -> bool:
    whole = off_policy_trainer(kind, run_name="whole_" + kind.__name__)
    whole.train()
    name = "parts_" + kind.__name__
    cut = off_policy_trainer(kind, run_name=name)
    cut.hooks.append(StopAt11())
    cut.train()
    again = off_policy_trainer(kind, resume="runs/" + name)
    again.train()
    return again.timestep == 24 and all(torch.equal(a, b) for a, b in zip(parameters_of(whole), parameters_of(again)))


OFF_POLICY_PROBES: Dict[str, Callable[[Any], bool]] = {
    "continuous actions": lambda kind: bool(learned(kind, BOX)),
    "discrete actions": lambda kind: bool(learned(kind, CHOICE)),
    "several actions": lambda kind: bool(learned(kind, spaces.Dict({"move": BOX, "grip": BOX}))),
    "smallest of several critics": takes_the_smallest,
    "learned temperature": has("learn_temperature", False),
    "noise with a memory": has("noise_correlation", 0.9),
    "prioritised sampling": has("prioritized", True),
    "targets over several steps": has("n_steps", 3),
    "memory in files": learns_from_files,
    "learning-rate schedules": has("learning_rate_scheduler", "LinearLR"),
    "own rate of the critic": has("critic_learning_rate", 1e-2),
    "NaN reaches no network": nan_reaches_no_network,
    "exact resume": resumes_off_policy,
}
TABLES: Dict[str, Any] = {"Features": (on_policy, PROBES), "Off-policy features": (off_policy, OFF_POLICY_PROBES)}


def header(heading: str) -> List[str]:
    section = PAGE.read_text(encoding="utf-8").split("## " + heading, 1)[1]
    return [cell.strip() for cell in section.strip().splitlines()[0].strip("|").split(" | ")][1:]


@pytest.mark.parametrize("heading", list(TABLES))
def test_the_table_names_every_algorithm_and_every_probe(heading: str) -> None:
    package, probes = TABLES[heading]
    bases = ("OffPolicyAgent", "OnPolicyAgent", "ActorCriticAgent")
    algorithms = [name for name in dir(package) if name + "Cfg" in dir(package) and name not in bases]
    assert sorted(header(heading)) == sorted(algorithms)
    assert [row[0] for row in rows_of(PAGE, heading)] == list(probes)


@pytest.mark.parametrize("heading, feature", [(name, probe) for name in TABLES for probe in TABLES[name][1]])
def test_the_algorithms_do_what_the_table_says(heading: str, feature: str) -> None:
    package, probes = TABLES[heading]
    (row,) = [row for row in rows_of(PAGE, heading) if row[0] == feature]
    for name, said in zip(header(heading), row[1:]):
        try:
            done = probes[feature](getattr(package, name))
        except AquaMLError:
            done = False
        assert said == ("yes" if done else "no"), name


@pytest.mark.parametrize("page, heading", [(DOCUMENTS, "Reported figures"), (DOCUMENTS / "zh-CN", "记录的指标")])
@pytest.mark.parametrize("name", ["SAC", "TD3", "DDPG", "DQN"])
def test_pages_name_every_figure_of_off_policy_agents(name: str, page: Any, heading: str) -> None:
    written = "".join(row[0] for row in rows_of(page / "{}.md".format(name.lower()), heading))
    trainer = off_policy_trainer(getattr(off_policy, name))
    reported = []
    trainer.agent.pending_metrics = lambda: reported.append(dict(trainer.agent._metrics)) or {}  # type: ignore
    trainer.train()
    assert set(re.findall(r"`([a-z_/]+)`", written)) == {figure for row in reported for figure in row}
