"""Every field of every configuration changes parameters, actions, files or console output of a run."""

import dataclasses
import importlib
import os
import pkgutil
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple, Type

import pytest
import torch
from loguru import logger
from torch import nn

import AquaML
from AquaML.config import Config
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AquaMLError
from AquaML.learning.model import (
    GaussianModel,
    Model,
    ModelCfg,
    NormalizerCfg,
    default_actor_critic,
    default_q_network,
)
from AquaML.learning.reinforcement.agent_cfg import AgentCfg
from AquaML.learning.reinforcement.off_policy import (
    DDPG,
    DQN,
    SAC,
    TD3,
    DDPGCfg,
    DQNCfg,
    FastSAC,
    FastSACCfg,
    SACCfg,
    TD3Cfg,
)
from AquaML.learning.reinforcement.on_policy.a2c import A2C, A2CCfg
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.reinforcement.on_policy.rpo import RPO, RPOCfg
from AquaML.learning.reinforcement.on_policy.trpo import TRPO, TRPOCfg
from AquaML.learning.reinforcement.tabular import QLearning, TabularCfg
from AquaML.learning.reinforcement.tabular.base import TabularAgent
from AquaML.learning.trainers.experiment import make_trainer
from AquaML.learning.trainers.experiment_cfg import ExperimentCfg, NetworksCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from AquaML.tracking.csv_sink import read_rows


class Policy(GaussianModel):
    def __init__(self, cfg: ModelCfg) -> None:
        super().__init__(cfg)
        self.net = nn.Linear(3, 1)
        self.log_std_parameter = nn.Parameter(torch.zeros(1))

    def compute(self, data_dict: Any) -> Dict[str, torch.Tensor]:
        print("policy sees", type(data_dict).__name__, sorted(data_dict) if isinstance(data_dict, dict) else "")
        states = data_dict if isinstance(data_dict, torch.Tensor) else data_dict["state"]
        return {"mean_actions": self.net(states), "log_std": self.log_std_parameter}


class Value(Model):
    def __init__(self, cfg: ModelCfg) -> None:
        super().__init__(cfg)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def compute(self, data_dict: Any) -> torch.Tensor:
        return self.net(data_dict if isinstance(data_dict, torch.Tensor) else data_dict["state"])


PPO_BASE: Dict[str, Any] = {
    "device": "cpu",
    "rollouts": 8,
    "learning_epochs": 2,
    "mini_batches": 2,
    "learning_rate": 0.01,
}
OFF_POLICY_BASE: Dict[str, Any] = {
    "device": "cpu",
    "memory_size": 60,
    "batch_size": 8,
    "random_timesteps": 4,
    "learning_starts": 6,
    "learning_rate": 0.01,
}
BASE: Dict[Type[Config], Dict[str, Any]] = {
    ModelCfg: {"device": "cpu"},
    NormalizerCfg: {},
    PPOCfg: PPO_BASE,
    RPOCfg: PPO_BASE,
    A2CCfg: {"device": "cpu", "rollouts": 8},
    TRPOCfg: {"device": "cpu", "rollouts": 8, "value_epochs": 2},
    SACCfg: OFF_POLICY_BASE,
    DDPGCfg: OFF_POLICY_BASE,
    TD3Cfg: OFF_POLICY_BASE,
    DQNCfg: dict(OFF_POLICY_BASE, target_interval=5, learning_rate=0.1),
    FastSACCfg: dict(OFF_POLICY_BASE, atoms=11),
    TabularCfg: {"device": "cpu", "initial_value": 0.5},
    NetworksCfg: {},
    TrainerConfig: {
        "timesteps": 32,
        "seed": 1,
        "disable_progressbar": True,
        "tensorboard": False,
        "checkpoint_interval": 0,
        "run_name": "run",
    },
}


AGENTS: Dict[Type[Config], Any] = {PPOCfg: PPO, RPOCfg: RPO, A2CCfg: A2C, TRPOCfg: TRPO}
OFF_POLICY_AGENTS: Dict[Type[Config], Any] = {
    SACCfg: SAC,
    DDPGCfg: DDPG,
    TD3Cfg: TD3,
    DQNCfg: DQN,
    FastSACCfg: FastSAC,
}


class Outcome(NamedTuple):
    """What a run leaves behind."""

    parameters: Tuple[bytes, ...]
    console: str
    files: Tuple[str, ...]
    figures: Tuple[Any, ...]
    timestep: int
    error: str


def trainer_of(overrides: Dict[Type[Config], Dict[str, Any]]) -> SequentialTrainer:
    """Make a small agent and its trainer with some fields changed."""
    cfgs: Dict[Any, Any] = {kind: kind(**dict(base, **overrides.get(kind, {}))) for kind, base in BASE.items()}
    AquaML.seed_everything(3)
    if TabularCfg in overrides:
        lake = GymnasiumWrapper("FrozenLake-v1", num_envs=2)
        return SequentialTrainer(lake, QLearning(cfg=cfgs[TabularCfg]), cfgs[TrainerConfig].copy(timesteps=200))
    for kind, agent_class in OFF_POLICY_AGENTS.items():
        if kind in overrides:
            return off_policy_trainer(agent_class, cfgs[kind], cfgs[TrainerConfig])
    env = GymnasiumWrapper("Pendulum-v1", num_envs=2, max_episode_steps=10)
    if NetworksCfg in overrides or ExperimentCfg in overrides:
        parts = {"networks": cfgs[NetworksCfg], "agent": cfgs[PPOCfg], "trainer": cfgs[TrainerConfig]}
        return make_trainer(env, ExperimentCfg(**dict(parts, **overrides.get(ExperimentCfg, {}))))
    (kind,) = [kind for kind in AGENTS if kind in overrides] or [PPOCfg]
    if NormalizerCfg in overrides:
        cfgs[kind].observation_normalizer = cfgs[NormalizerCfg]
    agent = AGENTS[kind]({"policy": Policy(cfgs[ModelCfg]), "value": Value(cfgs[ModelCfg])}, cfgs[kind])
    return SequentialTrainer(env, agent, cfgs[TrainerConfig])


def off_policy_trainer(kind: Any, cfg: Any, trainer_cfg: TrainerConfig) -> SequentialTrainer:
    """Make a small agent that learns from a memory, and its trainer."""
    if kind is DQN:
        env = GymnasiumWrapper("CartPole-v1", num_envs=2)
        return SequentialTrainer(env, DQN(default_q_network(env.getEnvInfo(), (8,)), cfg), trainer_cfg)
    env = GymnasiumWrapper("Pendulum-v1", num_envs=2, max_episode_steps=10)
    policy = "deterministic" if issubclass(kind, DDPG) else "squashed"
    atoms = cfg.atoms if kind is FastSAC else None
    models = default_actor_critic(env.getEnvInfo(), policy, hidden_sizes=(8,), atoms=atoms)
    return SequentialTrainer(env, kind(models, cfg), trainer_cfg)


def outcome(overrides: Dict[Type[Config], Dict[str, Any]], capfd: Any, prepare: Callable[[], None]) -> Outcome:
    """Train a small agent with some fields changed, then evaluate it, in an empty folder."""
    folder = Path("outcome_{}".format(len(list(Path().glob("outcome_*")))))
    folder.mkdir()
    start = os.getcwd()
    os.chdir(str(folder))
    capfd.readouterr()
    lines: List[str] = []
    handler = logger.add(lines.append, format="{level} {message}")
    error, timestep, agent = "", 0, None
    try:
        prepare()
        trainer = trainer_of(overrides)
        agent = trainer.agent
        trainer.train()
        timestep = trainer.timestep
        print("evaluated", trainer.eval(episodes=2).returns)
    except AquaMLError as caught:
        error = "{}: {}".format(type(caught).__name__, caught)
    finally:
        os.chdir(start)
        logger.remove(handler)
    captured = capfd.readouterr()
    names = tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "events.out" not in path.name))
    rows: List[Any] = []
    for file in sorted(folder.rglob("progress.csv")):
        for row in read_rows(file):
            measured = ("time/", "system/")
            rows.append(sorted((k, bool(v) if k.startswith(measured) else v) for k, v in row.items()))
    memory = getattr(getattr(agent, "memory", None), "capacity", 0)
    console = captured.out + captured.err + "".join(lines)
    return Outcome(parameters_of(agent), console, names, (rows, memory), timestep, error)


def parameters_of(agent: Any) -> Tuple[bytes, ...]:
    """Return everything that an agent has learned."""
    if agent is None:
        return ()
    if isinstance(agent, TabularAgent):
        return (agent.table.values.numpy().tobytes(),)
    models = agent.models.values()
    return tuple(v.detach().numpy().tobytes() for model in models for v in model.state_dict().values())


PARAMETERS, CONSOLE, FILES, FIGURES, TIMESTEP, ERROR = Outcome._fields


def tripled(rewards: torch.Tensor) -> torch.Tensor:
    return rewards * rewards.abs() * 3.0


class SpoilsThird:
    """A shaper of rewards that gives NaN in the third of every four updates, as many as a run here has."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, rewards: torch.Tensor) -> torch.Tensor:
        self._calls += 1
        return rewards * float("nan") if self._calls % 4 == 3 else rewards


# Field: (a value, what must differ, other fields that both runs share)
PPO_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "device": ("cuda:7", ERROR, {}),
    "non_finite": ("raise", ERROR, {"non_finite": "skip", "reward_shaper": SpoilsThird()}),
    "rollouts": (16, PARAMETERS, {}),
    "memory_size": (40, FIGURES, {}),
    "discount_factor": (0.5, PARAMETERS, {}),
    # With a recurrent model it is in tests/reinforcement/test_recurrent.py; with another one it is refused.
    "sequence_length": (4, ERROR, {}),
    "gae_lambda": (0.2, PARAMETERS, {}),
    "reward_scale": (0.1, PARAMETERS, {"value_normalizer": False}),
    "reward_shaper": (tripled, PARAMETERS, {}),
    "observation_normalizer": (False, PARAMETERS, {}),
    "observation_normalizer_by_key": ({"state": False}, PARAMETERS, {}),
    "value_normalizer": (False, PARAMETERS, {}),
    "mixed_precision": ("bf16", PARAMETERS, {}),
    "learning_epochs": (3, PARAMETERS, {}),
    "mini_batches": (3, PARAMETERS, {}),
    "learning_rate": (0.02, PARAMETERS, {}),
    "value_learning_rate": (0.03, PARAMETERS, {}),
    "learning_rate_scheduler": ("ExponentialLR", PARAMETERS, {"learning_rate_scheduler_kwargs": {"gamma": 0.5}}),
    "learning_rate_scheduler_kwargs": ({"start_factor": 0.9}, PARAMETERS, {"learning_rate_scheduler": "LinearLR"}),
    "scheduler_interval": (
        "update",
        PARAMETERS,
        {"learning_rate_scheduler": "ExponentialLR", "learning_rate_scheduler_kwargs": {"gamma": 0.5}},
    ),
    "ratio_clip": (0.001, PARAMETERS, {}),
    "value_clip": (0.001, PARAMETERS, {}),
    "value_loss_scale": (3.0, PARAMETERS, {}),
    "entropy_loss_scale": (0.5, PARAMETERS, {}),
    "advantage_normalization": ("minibatch", PARAMETERS, {}),
    "grad_norm_clip": (0.01, PARAMETERS, {}),
    "kl_threshold": (1e-9, PARAMETERS, {}),
    # What compiling leads to is in tests/reinforcement/test_compile.py; here no update comes, which would take long.
    "compile": (True, CONSOLE if hasattr(torch, "compile") else ERROR, {"rollouts": 64}),
}
A2C_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "rollouts": (16, PARAMETERS, {}),
    "mini_batches": (3, PARAMETERS, {}),
    "learning_rate": (0.02, PARAMETERS, {}),
    "grad_norm_clip": (0.01, PARAMETERS, {}),
}
RPO_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {"perturbation": (0.1, PARAMETERS, {})}
TRPO_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "mini_batches": (3, PARAMETERS, {}),
    "learning_rate": (0.02, PARAMETERS, {}),
    "value_epochs": (3, PARAMETERS, {}),
    "max_divergence": (0.02, PARAMETERS, {}),
    "conjugate_gradient_steps": (1, PARAMETERS, {}),
    "damping": (10.0, PARAMETERS, {}),
    # Long steps that must bring nearly all that they promise are shortened.
    "line_search_steps": (1, PARAMETERS, {"max_divergence": 0.5, "accepted_share": 0.9}),
    "line_search_shrinking": (0.9, PARAMETERS, {"max_divergence": 0.5, "accepted_share": 0.9}),
    "accepted_share": (0.9, PARAMETERS, {"max_divergence": 0.5}),
}
OFF_POLICY_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "memory_size": (20, PARAMETERS, {}),
    "memory_directory": ("nowhere", ERROR, {}),
    "save_memory": (False, FILES, {}),
    "batch_size": (16, PARAMETERS, {}),
    "n_steps": (3, PARAMETERS, {}),
    "prioritized": (True, PARAMETERS, {}),
    "priority_exponent": (0.1, PARAMETERS, {"prioritized": True}),
    "importance_exponent": (1.0, PARAMETERS, {"prioritized": True}),
    "random_timesteps": (10, PARAMETERS, {}),
    "learning_starts": (12, PARAMETERS, {}),
    "update_interval": (2, PARAMETERS, {}),
    "gradient_steps": (2, PARAMETERS, {}),
    "learning_rate": (0.02, PARAMETERS, {}),
    "learning_rate_scheduler": ("ExponentialLR", PARAMETERS, {"learning_rate_scheduler_kwargs": {"gamma": 0.5}}),
    "learning_rate_scheduler_kwargs": ({"start_factor": 0.9}, PARAMETERS, {"learning_rate_scheduler": "LinearLR"}),
    "grad_norm_clip": (0.01, PARAMETERS, {}),
    "target_smoothing": (0.5, PARAMETERS, {}),
    "target_interval": (3, PARAMETERS, {}),
}
SAC_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = dict(
    OFF_POLICY_FIELDS,
    policy_learning_rate=(0.05, PARAMETERS, {}),
    critic_learning_rate=(0.05, PARAMETERS, {}),
    policy_interval=(2, PARAMETERS, {}),
    initial_temperature=(0.5, PARAMETERS, {}),
    learn_temperature=(False, PARAMETERS, {}),
    temperature_learning_rate=(0.5, PARAMETERS, {}),
    target_entropy=(-30.0, PARAMETERS, {}),
)
DDPG_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "exploration_noise": (0.5, PARAMETERS, {}),
    "final_exploration_noise": (0.5, PARAMETERS, {}),
    "noise_correlation": (0.5, PARAMETERS, {}),
}
TD3_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "policy_interval": (1, PARAMETERS, {}),
    "target_noise": (1.0, PARAMETERS, {}),
    "target_noise_clip": (0.01, PARAMETERS, {}),
}
DQN_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "double": (False, PARAMETERS, {"gradient_steps": 4}),
    "memory_size": (20, PARAMETERS, {}),
    "batch_size": (16, PARAMETERS, {}),
    "random_timesteps": (10, PARAMETERS, {"exploration": 0.1}),
    "learning_rate": (0.02, PARAMETERS, {}),
    "grad_norm_clip": (0.01, PARAMETERS, {}),
    "target_smoothing": (0.5, PARAMETERS, {}),
    "target_interval": (3, PARAMETERS, {}),
}
FAST_SAC_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "learning_rate": (0.02, PARAMETERS, {}),
    "batch_size": (16, PARAMETERS, {}),
    "gradient_steps": (3, PARAMETERS, {}),
    "random_timesteps": (10, PARAMETERS, {}),
    "learning_starts": (12, PARAMETERS, {}),
    "policy_interval": (1, PARAMETERS, {}),
    "target_smoothing": (0.5, PARAMETERS, {}),
    "initial_temperature": (0.5, PARAMETERS, {}),
    "atoms": (7, PARAMETERS, {}),
    "value_limit": (1.0, PARAMETERS, {}),
}
TRAINER_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "timesteps": (40, TIMESTEP, {}),
    "seed": (2, PARAMETERS, {}),
    "headless": (False, CONSOLE, {}),
    "disable_progressbar": (False, CONSOLE, {}),
    "stochastic_evaluation": (True, CONSOLE, {}),
    "evaluation_interval": (16, FIGURES, {}),
    "evaluation_episodes": (3, FIGURES, {"evaluation_interval": 16}),
    "checkpoint_interval": (16, FILES, {}),
    "keep_checkpoints": (1, FILES, {"checkpoint_interval": 8}),
    "on_save_error": ("raise", ERROR, {"resume": "runs/earlier", "timesteps": 64, "checkpoint_interval": 64}),
    "log_interval": (5, FIGURES, {}),
    "stop_return": (-1e6, TIMESTEP, {}),
    "stop_seconds": (1e-3, TIMESTEP, {}),
    "run_directory": ("elsewhere", FILES, {}),
    "run_name": ("named", FILES, {}),
    "resume": ("runs/earlier", TIMESTEP, {}),
    "learning_curve": (False, FILES, {}),
    "tensorboard": (True, FILES, {}),
    "wandb": (True, FILES, {}),
    "wandb_project": ("another", FILES, {"wandb": True}),
    "system_monitor": (False, FIGURES, {}),
}
MODEL_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "device": ("cuda:7", ERROR, {}),
    "inputs_name": (["velocity"], ERROR, {}),
    "concat_dict": (True, CONSOLE, {}),
}
TABULAR_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "discount_factor": (0.5, PARAMETERS, {}),
    "learning_rate": (0.5, PARAMETERS, {}),
    "initial_value": (0.1, PARAMETERS, {}),
    "exploration": (0.5, PARAMETERS, {}),
    "final_exploration": (0.5, PARAMETERS, {}),
    "exploration_share": (0.1, PARAMETERS, {}),
}
NETWORKS_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "hidden_sizes": ([8], PARAMETERS, {}),
    "activation": ("elu", PARAMETERS, {}),
    "shared": (True, PARAMETERS, {}),
    "initial_log_std": (-1.0, PARAMETERS, {}),
    "policy_inputs": (["velocity"], ERROR, {}),
    "value_inputs": (["velocity"], ERROR, {}),
    "distribution": ("beta", PARAMETERS, {}),
    "state_dependent_std": (True, PARAMETERS, {}),
    "min_log_std": (-1.0, PARAMETERS, {"state_dependent_std": True}),
    "max_log_std": (0.0, PARAMETERS, {}),
    "recurrent": ("gru", PARAMETERS, {}),
    "recurrent_size": (8, PARAMETERS, {"recurrent": "gru"}),
}
EXPERIMENT_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "networks": (NetworksCfg(hidden_sizes=[8]), PARAMETERS, {}),
    "agent": (PPOCfg(**dict(PPO_BASE, learning_rate=0.02)), PARAMETERS, {}),
    "trainer": (TrainerConfig(**dict(BASE[TrainerConfig], seed=2)), PARAMETERS, {}),
}
NORMALIZER_FIELDS: Dict[str, Tuple[Any, str, Dict[str, Any]]] = {
    "frozen": (True, PARAMETERS, {}),
    "clip": (0.3, PARAMETERS, {}),
    "epsilon": (1.0, PARAMETERS, {}),
}
TABLES: Dict[Type[Config], Dict[str, Tuple[Any, str, Dict[str, Any]]]] = {
    PPOCfg: PPO_FIELDS,
    A2CCfg: A2C_FIELDS,
    RPOCfg: RPO_FIELDS,
    TRPOCfg: TRPO_FIELDS,
    SACCfg: SAC_FIELDS,
    DDPGCfg: DDPG_FIELDS,
    TD3Cfg: TD3_FIELDS,
    DQNCfg: DQN_FIELDS,
    FastSACCfg: FAST_SAC_FIELDS,
    TabularCfg: TABULAR_FIELDS,
    NetworksCfg: NETWORKS_FIELDS,
    ExperimentCfg: EXPERIMENT_FIELDS,
    TrainerConfig: TRAINER_FIELDS,
    ModelCfg: MODEL_FIELDS,
    NormalizerCfg: NORMALIZER_FIELDS,
}


def earlier_run() -> None:
    """Leave a run of 8 vector steps in ``runs/earlier``, for ``resume``."""
    AquaML.seed_everything(3)
    cfg = ModelCfg(device="cpu")
    agent = PPO({"policy": Policy(cfg), "value": Value(cfg)}, PPOCfg(**BASE[PPOCfg]))
    env = GymnasiumWrapper("Pendulum-v1", num_envs=2, max_episode_steps=10)
    settings = dict(BASE[TrainerConfig], timesteps=48, run_name="earlier")
    SequentialTrainer(env, agent, TrainerConfig(**settings)).train()


def earlier_run_with_a_folder_in_the_way() -> None:
    """Leave a run that cannot write its next periodic checkpoint, for ``on_save_error``."""
    earlier_run()
    Path("runs/earlier/checkpoints/step_64.aqua").mkdir()


PREPARATIONS: Dict[str, Callable[[], None]] = {
    "resume": earlier_run,
    "on_save_error": earlier_run_with_a_folder_in_the_way,
}
WORDS_OF_ERRORS = {
    "on_save_error": "step_64.aqua",
    "non_finite": "The value target of environment 0 holds nan",
    "sequence_length": "PPOCfg.sequence_length is 4, but no model has a recurrent state",
}


@pytest.mark.parametrize(
    "kind, name",
    [(kind, name) for kind, table in TABLES.items() for name in table],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_a_field_has_an_effect(kind: Type[Config], name: str, capfd: Any) -> None:
    value, what, shared = TABLES[kind][name]
    prepare = PREPARATIONS.get(name, lambda: None)
    base = dict(shared)
    if name == "learning_rate_scheduler":
        # Arguments without a scheduler are an error, so the run without one has none.
        base = {}
    first = outcome({kind: base}, capfd, prepare)
    second = outcome({kind: dict(shared, **{name: value})}, capfd, prepare)
    assert first.error == ""
    if what == ERROR:
        assert WORDS_OF_ERRORS.get(name, str(value[0] if isinstance(value, list) else value)) in second.error
    else:
        assert second.error == ""
        if name in ("wandb_project",):
            assert _offline_projects("outcome_0") == {"AquaML"} and _offline_projects("outcome_1") == {"another"}
        else:
            assert getattr(first, what) != getattr(second, what)
    if what not in (PARAMETERS, ERROR, TIMESTEP) and kind is TrainerConfig:
        assert first.parameters == second.parameters  # nothing that only looks changes what is learned


def _offline_projects(folder: str) -> set:
    found = set()
    for path in Path(folder).rglob("*.wandb"):
        found.update(name for name in ("AquaML", "another") if b"\x12" in path.read_bytes() and _has(path, name))
    return found


def _has(path: Path, project: str) -> bool:
    # In an offline file the project is a length-prefixed string of the run's record.
    return (chr(len(project)) + project).encode() in path.read_bytes()


def test_the_tables_name_every_field_of_every_configuration() -> None:
    for module in pkgutil.walk_packages(AquaML.__path__, "AquaML."):
        importlib.import_module(module.name)
    seen = set()
    waiting: List[type] = [Config]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if dataclasses.is_dataclass(kind) and kind.__module__.startswith("AquaML"):
            seen.add(kind)
    assert seen >= {PPOCfg, TrainerConfig, ModelCfg, NormalizerCfg, AgentCfg}
    proven = {(owner_of(kind, name), name) for kind, table in TABLES.items() for name in table}
    for kind in seen:
        fields = {(owner_of(kind, field.name), field.name) for field in dataclasses.fields(kind)}
        missing = sorted(name for _, name in fields - proven)
        assert not missing, "{} has fields without a proof: {}".format(kind.__name__, missing)


def owner_of(kind: type, name: str) -> type:
    """Return the class that defines a field last; what is inherited unchanged needs no proof of its own."""
    return next(base for base in kind.__mro__ if name in base.__dict__.get("__annotations__", {}))
