"""What people do wrong gives one clear, typed error before the second environment step."""

from typing import Dict

import gymnasium
import numpy as np
import pytest
import torch
from makers import (
    STEPS,
    Case,
    Counted,
    Idle,
    Value,
    assigned,
    closed,
    environment,
    frozen,
    good_models,
    mean,
    named_space,
    only_unknown,
    other_algorithm,
    other_architecture,
    other_spaces,
    own_state,
    ppo,
    saved_agent,
    second_number_of_environments,
    shared_with_value_rate,
    stepped,
    torch_file,
    train,
    truncated_file,
    unregistered,
    with_policy,
    with_value,
)

import AquaML
from AquaML.coordinator.coordinator import Coordinator
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import (
    AgentError,
    AquaMLError,
    CheckpointCorruptError,
    CheckpointError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    ConfigError,
    DeviceError,
    EnvironmentContractError,
    FrozenConfigError,
    ModelError,
    SpaceError,
    TrainerError,
)
from AquaML.learning.model import (
    CategoricalModel,
    CompositeModel,
    DeterministicModel,
    GaussianModel,
    Model,
    ModelCfg,
    NormalizerCfg,
    default_models,
)
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
CASES: Dict[str, Case] = {
    # ------------------------------------------------------------------ ranges
    "learning_rate": Case(
        "range", lambda: ppo(learning_rate=-1.0), ConfigError, ValueError, "PPOCfg.learning_rate is -1.0"
    ),
    "discount": Case("range", lambda: ppo(discount_factor=1.5), ConfigError, ValueError, "at most 1.0"),
    "lambda": Case("range", lambda: ppo(gae_lambda=-0.1), ConfigError, ValueError, "PPOCfg.gae_lambda is -0.1"),
    "rollouts": Case("range", lambda: ppo(rollouts=0), ConfigError, ValueError, "at least 1"),
    "ratio_clip": Case("range", lambda: ppo(ratio_clip=0.0), ConfigError, ValueError, "greater than 0"),
    "nan": Case("range", lambda: ppo(learning_rate=float("nan")), ConfigError, ValueError, "a finite number"),
    "timesteps": Case(
        "range", lambda: TrainerConfig(timesteps=0).validate(), ConfigError, ValueError, "timesteps is 0"
    ),
    "seed": Case("range", lambda: AquaML.seed_everything(-1), ConfigError, ValueError, "seed is -1"),
    "clip": Case("range", lambda: NormalizerCfg(clip=-1.0).validate(), ConfigError, ValueError, "NormalizerCfg.clip"),
    "mini_batches": Case(
        "range", lambda: train(ppo(mini_batches=5)), ConfigError, ValueError, "rollouts * num_envs = 4"
    ),
    "memory_size": Case("range", lambda: ppo(memory_size=3), ConfigError, ValueError, "at least rollouts = 4"),
    "eval episodes": Case(
        "range",
        lambda: SequentialTrainer(environment(), ppo()).eval(episodes=0),
        ConfigError,
        ValueError,
        "eval(episodes=0)",
    ),
    # ------------------------------------------------------------------ configuration
    "unknown field": Case(
        "config", lambda: PPOCfg(learning_rte=1e-3), ConfigError, ValueError, "Did you mean 'learning_rate'?"
    ),
    "unknown attribute": Case("config", assigned, ConfigError, ValueError, "Did you mean 'learning_rate'?"),
    "unknown key": Case(
        "config", lambda: TrainerConfig.from_dict({"timestep": 1}), ConfigError, ValueError, "Did you mean 'timesteps'?"
    ),
    "frozen": Case("config", frozen, FrozenConfigError, AttributeError, "PPO has taken this configuration"),
    "wrong type": Case("config", lambda: ppo(rollouts="32"), ConfigError, ValueError, "a value of type int"),
    "bool for int": Case("config", lambda: ppo(rollouts=True), ConfigError, ValueError, "a value of type int"),
    "choice": Case(
        "config", lambda: ppo(scheduler_interval="epochs"), ConfigError, ValueError, "Did you mean 'epoch'?"
    ),
    "scheduler name": Case(
        "config",
        lambda: ppo(learning_rate_scheduler="KLAdaptive"),
        ConfigError,
        ValueError,
        "Did you mean 'KLAdaptiveLR'?",
    ),
    "scheduler argument": Case(
        "config",
        lambda: ppo(learning_rate_scheduler="StepLR", learning_rate_scheduler_kwargs={"stepsize": 3}),
        ConfigError,
        ValueError,
        "Did you mean 'step_size'?",
    ),
    "arguments without scheduler": Case(
        "config",
        lambda: ppo(learning_rate_scheduler_kwargs={"gamma": 0.5}),
        ConfigError,
        ValueError,
        "nothing while learning_rate_scheduler is None",
    ),
    "two inputs of one name": Case(
        "config", lambda: Value(mean, ModelCfg(inputs_name=["a", "a"])), ConfigError, ValueError, "each only once"
    ),
    "rate of a shared model": Case(
        "config", shared_with_value_rate, ConfigError, ValueError, "one model with one learning rate"
    ),
    # ------------------------------------------------------------------ environment
    "unknown id": Case(
        "environment", lambda: GymnasiumWrapper("Pendulun-v1"), EnvironmentContractError, ValueError, "Pendulun"
    ),
    "no environment": Case(
        "environment", lambda: GymnasiumWrapper(3), EnvironmentContractError, ValueError, "3 is no environment"
    ),
    "function without environment": Case(
        "environment", lambda: GymnasiumWrapper(dict), EnvironmentContractError, ValueError, "expected a gymnasium.Env"
    ),
    "num_envs": Case(
        "environment",
        lambda: GymnasiumWrapper(Counted, num_envs=0),
        EnvironmentContractError,
        ValueError,
        "num_envs is 0",
    ),
    "made with num_envs": Case(
        "environment",
        lambda: GymnasiumWrapper(Counted(), num_envs=4),
        EnvironmentContractError,
        ValueError,
        "made already",
    ),
    "text space": Case(
        "environment",
        lambda: environment(observations=gymnasium.spaces.Text(5)),
        SpaceError,
        ValueError,
        "AquaML takes Box, Discrete",
    ),
    "slash in a key": Case(
        "environment", lambda: environment(observations=named_space(**{"a/b": BOX})), SpaceError, ValueError, "'a/b'"
    ),
    "rescale without bounds": Case(
        "environment",
        lambda: GymnasiumWrapper(
            lambda: Counted(actions=gymnasium.spaces.Box(-np.inf, np.inf, (1,))), action_bounds="rescale"
        ),
        SpaceError,
        ValueError,
        "needs finite bounds",
    ),
    "unknown bounds": Case(
        "environment", lambda: GymnasiumWrapper(Counted, action_bounds="squash"), SpaceError, ValueError, "'squash'"
    ),
    "action shape": Case(
        "environment", lambda: stepped(torch.zeros(1, 2)), EnvironmentContractError, ValueError, "expected (1, 1)"
    ),
    "action rows": Case(
        "environment", lambda: stepped(torch.zeros(2, 1)), EnvironmentContractError, ValueError, "shape (2, 1)"
    ),
    "action name": Case(
        "environment", lambda: stepped({"act": torch.zeros(1, 1)}), EnvironmentContractError, ValueError, "'act'"
    ),
    "bare tensor for two actions": Case(
        "environment",
        lambda: stepped(torch.zeros(1, 2), action_space=named_space(a=BOX, b=BOX)),
        EnvironmentContractError,
        ValueError,
        "'a', 'b'",
    ),
    "observation shape": Case(
        "environment",
        lambda: environment(observe=lambda: np.zeros(4, np.float32)).reset(),
        EnvironmentContractError,
        ValueError,
        "Environment 0 broke its observation space: 'state' has shape (4,)",
    ),
    "missing observation": Case(
        "environment",
        lambda: environment(observations=named_space(a=BOX, b=BOX), observe=lambda: {"a": np.zeros(2)}).reset(),
        EnvironmentContractError,
        ValueError,
        "Expected a dict with the keys 'a', 'b', got the keys 'a'",
    ),
    "closed": Case("environment", closed, EnvironmentContractError, ValueError, "is closed"),
    # ------------------------------------------------------------------ model
    "output name": Case(
        "model",
        lambda: with_policy(lambda d: {"mean": mean(d)}),
        ModelError,
        ValueError,
        "must return 'mean_actions' of shape (2, 1); it returned 'mean'",
    ),
    "output shape": Case(
        "model",
        lambda: with_policy(lambda d: {"mean_actions": mean(d).repeat(1, 2), "log_std": torch.zeros(1)}),
        ModelError,
        ValueError,
        "'mean_actions' of shape (2, 2); expected (2, 1)",
    ),
    "no log_std": Case("model", lambda: with_policy(mean), ModelError, ValueError, "must return 'log_std'"),
    "log_std shape": Case(
        "model",
        lambda: with_policy(lambda d: {"mean_actions": mean(d), "log_std": torch.zeros(3)}),
        ModelError,
        ValueError,
        "'log_std' of shape (3,)",
    ),
    "value shape": Case(
        "model",
        lambda: with_value(lambda d: mean(d)[:, 0]),
        ModelError,
        ValueError,
        "'values' of shape (2,); expected (2, 1)",
    ),
    "value name": Case(
        "model",
        lambda: with_value(lambda d: {"value": mean(d)}),
        ModelError,
        ValueError,
        "must return 'values' of shape (2, 1); it returned 'value'",
    ),
    "no tensor": Case("model", lambda: with_value(lambda d: 3.0), ModelError, ValueError, "returned float"),
    "unknown input": Case(
        "model",
        lambda: with_value(mean, ModelCfg(inputs_name=["stat"])),
        ModelError,
        ValueError,
        "Did you mean 'state'?",
    ),
    "tensor for dict": Case(
        "model", lambda: Value(mean).act(torch.zeros(2, 3)), ModelError, ValueError, "expects a dict of tensors"
    ),
    "gaussian for discrete": Case(
        "model",
        lambda: train(ppo(), environment(actions=gymnasium.spaces.Discrete(2))),
        ModelError,
        ValueError,
        "Use CategoricalModel for Discrete",
    ),
    "log_std bounds": Case(
        "model", lambda: GaussianModel(ModelCfg(), min_log_std=3.0), ModelError, ValueError, "min_log_std is 3.0"
    ),
    "composite of values": Case(
        "model", lambda: CompositeModel({"a": Value(mean)}), ModelError, ValueError, "expected a distribution"
    ),
    "composite names": Case(
        "model",
        lambda: train(PPO(dict(good_models(), policy=CompositeModel({"a": CategoricalModel(ModelCfg())})))),
        ModelError,
        ValueError,
        "models for 'a', but the actions are 'action'",
    ),
    "activation": Case(
        "model",
        lambda: default_models(environment().getEnvInfo(), activation="rely"),
        ModelError,
        ValueError,
        "Did you mean 'relu'?",
    ),
    "no model configuration": Case("model", lambda: Model({}), ModelError, ValueError, "expects a ModelCfg"),
    # ------------------------------------------------------------------ agent
    "no value": Case(
        "agent", lambda: PPO({"policy": good_models()["policy"]}), AgentError, ValueError, "'value' is missing"
    ),
    "no models": Case("agent", lambda: PPO(None), AgentError, ValueError, "given are none"),
    "models as a list": Case("agent", lambda: PPO([1]), AgentError, ValueError, "models as a dict"),
    "model is no module": Case(
        "agent", lambda: PPO({"policy": 1, "value": 2}), AgentError, ValueError, "expected a Model"
    ),
    "policy without chance": Case(
        "agent",
        lambda: PPO(dict(good_models(), policy=DeterministicModel(ModelCfg()))),
        AgentError,
        ValueError,
        "no log-probability",
    ),
    "foreign configuration": Case(
        "agent", lambda: PPO(good_models(), TrainerConfig()), AgentError, ValueError, "expects a PPOCfg"
    ),
    "act returns nothing": Case(
        "agent", lambda: train(Idle(lambda: None)), AgentError, ValueError, "Idle.act gave NoneType"
    ),
    "act returns other names": Case(
        "agent", lambda: train(Idle(lambda: {"a": torch.zeros(1, 1)})), AgentError, ValueError, "expected 'action'"
    ),
    "unregistered state": Case("agent", unregistered, AgentError, ValueError, "PPO.extra has a state"),
    "other spaces": Case("agent", other_spaces, AgentError, ValueError, "set up for other spaces"),
    "other num_envs": Case(
        "agent", second_number_of_environments, AgentError, ValueError, "trains with 1 environments"
    ),
    "normaliser of nothing": Case(
        "agent",
        lambda: train(ppo(observation_normalizer_by_key={"stat": False})),
        AgentError,
        ValueError,
        "Did you mean 'state'?",
    ),
    "reward shaper": Case(
        "agent",
        lambda: train(ppo(rollouts=1, reward_shaper=lambda rewards: rewards.sum())),
        AgentError,
        ValueError,
        "expected a tensor of shape (1, 1, 1)",
    ),
    # ------------------------------------------------------------------ checkpoint
    "missing file": Case(
        "checkpoint", lambda: ppo().load("no.pt"), CheckpointNotFoundError, FileNotFoundError, "no.pt"
    ),
    "truncated file": Case("checkpoint", truncated_file, CheckpointCorruptError, RuntimeError, "damaged"),
    "torch file": Case("checkpoint", torch_file, CheckpointCorruptError, RuntimeError, "import_torch_weights()"),
    "other architecture": Case(
        "checkpoint", other_architecture, CheckpointMismatchError, RuntimeError, "nothing was loaded"
    ),
    "other algorithm": Case("checkpoint", other_algorithm, CheckpointMismatchError, RuntimeError, "saved by PPO"),
    "only an unknown part": Case(
        "checkpoint", only_unknown, CheckpointMismatchError, RuntimeError, "Did you mean 'policy'?"
    ),
    "save to a folder": Case("checkpoint", lambda: ppo().save("."), CheckpointError, RuntimeError, "it is a folder"),
    # ------------------------------------------------------------------ trainer
    "unwrapped environment": Case(
        "trainer",
        lambda: SequentialTrainer(Counted(), ppo()),
        TrainerError,
        RuntimeError,
        "GymnasiumWrapper(env)",
    ),
    "no agent": Case(
        "trainer",
        lambda: SequentialTrainer(environment(), good_models()),
        TrainerError,
        RuntimeError,
        "agent is a dict",
    ),
    "foreign trainer configuration": Case(
        "trainer",
        lambda: SequentialTrainer(environment(), ppo(), PPOCfg()),
        TrainerError,
        RuntimeError,
        "cfg is a PPOCfg",
    ),
    "hook is no hook": Case(
        "trainer",
        lambda: SequentialTrainer(environment(), ppo(), hooks=[print]),
        TrainerError,
        RuntimeError,
        "subclass AquaML.learning.trainers.hooks.Hook",
    ),
    "evaluation environment unwrapped": Case(
        "trainer",
        lambda: SequentialTrainer(environment(), ppo(), evaluation_env=Counted()),
        TrainerError,
        RuntimeError,
        "evaluation_env is a Counted",
    ),
    "evaluation environment missing": Case(
        "trainer",
        lambda: train(ppo(), GymnasiumWrapper(Counted()), evaluation_interval=3),
        EnvironmentContractError,
        ValueError,
        "evaluation_env=...",
    ),
    "resume from nowhere": Case(
        "trainer", lambda: train(ppo(), resume="runs/no"), CheckpointNotFoundError, FileNotFoundError, "runs/no"
    ),
    "resume from an agent": Case(
        "trainer", lambda: train(ppo(), resume=str(saved_agent())), TrainerError, RuntimeError, "lies in no run folder"
    ),
    "run directory is a file": Case(
        "trainer",
        lambda: train(ppo(), run_directory=str(saved_agent())),
        TrainerError,
        RuntimeError,
        "choose another run_directory",
    ),
    "empty run name": Case("trainer", lambda: train(ppo(), run_name=""), ConfigError, ValueError, "not empty"),
    "state of a subclass": Case("trainer", own_state, TrainerError, RuntimeError, "Mine.net has a state"),
    # ------------------------------------------------------------------ device
    "unknown device": Case("device", lambda: ppo(device="gpu"), DeviceError, RuntimeError, "Unknown device 'gpu'"),
    "missing device": Case("device", lambda: ppo(device="cuda:99"), DeviceError, RuntimeError, "'cuda:99'"),
    "missing device of a model": Case(
        "device", lambda: Model(ModelCfg(device="cuda:99")), DeviceError, RuntimeError, "'cuda:99' was asked for"
    ),
    "unsupported device": Case(
        "device", lambda: ppo(device="meta"), DeviceError, RuntimeError, "Unknown device 'meta'"
    ),
    "device of the coordinator": Case(
        "device", lambda: Coordinator("cuda:99"), DeviceError, RuntimeError, "'cuda:99' was asked for"
    ),
    "nonsense index": Case(
        "device", lambda: ppo(device="cuda:x"), DeviceError, RuntimeError, "Unknown device 'cuda:x'"
    ),
    "half precision": Case(
        "device", lambda: ppo(mixed_precision="fp16"), DeviceError, RuntimeError, "needs a CUDA device"
    ),
    "device is no name": Case("device", lambda: ppo(device=3), ConfigError, ValueError, "PPOCfg.device is 3"),
    "model device is no name": Case(
        "device", lambda: Model(ModelCfg(device=None)), ConfigError, ValueError, "ModelCfg.device is None"
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_mistake(name: str) -> None:
    STEPS.clear()
    case = CASES[name]
    with pytest.raises(case.kind) as caught:
        case.mistake()
    assert isinstance(caught.value, AquaMLError) and isinstance(caught.value, case.builtin)
    assert case.words in str(caught.value)
    assert len(STEPS) < 2


def test_the_mistakes_are_spread_over_all_areas() -> None:
    areas = [case.area for case in CASES.values()]
    assert len(areas) >= 60 and areas.count("range") <= 20
    for area in ("environment", "model", "agent", "trainer", "device"):
        assert areas.count(area) >= 8, area
