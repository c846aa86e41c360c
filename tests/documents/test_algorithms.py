"""The table of features by algorithm is what the algorithms do."""

import math
from typing import Any, Callable, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from pages import DOCUMENTS
from test_tables import rows_of

import AquaML.learning.reinforcement.on_policy as on_policy
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AquaMLError, NonFiniteError
from AquaML.learning.model import default_models
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


def header() -> List[str]:
    section = PAGE.read_text(encoding="utf-8").split("## Features", 1)[1]
    return [cell.strip() for cell in section.strip().splitlines()[0].strip("|").split(" | ")][1:]


def test_the_table_names_every_algorithm_and_every_probe() -> None:
    assert sorted(header()) == sorted(name for name in dir(on_policy) if name + "Cfg" in dir(on_policy))
    assert [row[0] for row in rows_of(PAGE, "Features")] == list(PROBES)


@pytest.mark.parametrize("feature", sorted(PROBES))
def test_the_algorithms_do_what_the_table_says(feature: str) -> None:
    (row,) = [row for row in rows_of(PAGE, "Features") if row[0] == feature]
    for name, said in zip(header(), row[1:]):
        try:
            done = PROBES[feature](getattr(on_policy, name))
        except AquaMLError:
            done = False
        assert said == ("yes" if done else "no"), name
