"""The guard of off-policy agents: numbers that are not finite are caught and named, and nothing learns from them."""

import math
from pathlib import Path
from typing import Any, Dict, List, Optional

import gymnasium
import pytest
import torch

import AquaML
from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.environment.spaces import layout_of
from AquaML.errors import EnvironmentNonFiniteError, NonFiniteError
from AquaML.learning.model import default_actor_critic, default_q_network
from AquaML.learning.reinforcement.off_policy import DQN, SAC, TD3, FastSAC
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from AquaML.stateful import TRAINING, WEIGHTS, collect_states
from benchmarks.reliability.digest import digest_of
from benchmarks.reliability.spoiled_runs import ENVIRONMENTS, Spoil, SpoiledEnvironment, _tensors

NAN, INF = math.nan, math.inf
KINDS = {"SAC": SAC, "TD3": TD3, "DQN": DQN, "FastSAC": FastSAC}
POLICIES = ("raise", "skip", "rollback")
EARLY, LATE, TIMESTEPS = 9, 29, 40
"""A step of those that are checked whole after the start, and one after them, at which environment 0's episode ends."""


class SpoiledWorld(SpoiledEnvironment):
    """Puts the number into what it returns; with categories as actions for an agent that learns those."""

    def __init__(self, spoil: Spoil, discrete: bool) -> None:
        super().__init__(spoil)
        if discrete:
            self.action_layout = layout_of(gymnasium.spaces.Discrete(3), "action")


def spoiled(base: Any, spoil: Spoil, guarded: bool = True) -> Any:
    """Return a class of agents that put the number into what they compute, and note what they were before each step."""

    class SpoiledAgent(base):
        config_class = base.config_class
        before: Optional[str] = None
        now = -1

        def networks(self) -> str:
            return digest_of(collect_states(self.parts, (WEIGHTS, TRAINING)))

        def act(self, states: Any, timestep: int, timesteps: int) -> Any:
            self.now = timestep
            self.before = self.networks()
            actions = super().act(states, timestep, timesteps)
            return {n: spoil.row(v) for n, v in actions.items()} if spoil.now("action", timestep) else actions

        def batch_rewards(self, rewards: torch.Tensor) -> torch.Tensor:
            rewards = super().batch_rewards(rewards)
            return rewards * spoil.value if spoil.now("loss", self.now) else rewards

        def check_learning(self) -> None:
            if guarded:
                super().check_learning()

        def _require_finite_rows(self, memory: Any, places: torch.Tensor) -> None:
            if guarded:
                super()._require_finite_rows(memory, places)

    return SpoiledAgent


def make_run(
    name: str, spoil: Spoil, policy: str, guarded: bool = True, kind: Any = None, **options: Any
) -> SequentialTrainer:
    AquaML.seed_everything(2)
    env = SpoiledWorld(spoil, name == "DQN")
    info = env.getEnvInfo()
    cfg: Dict[str, Any] = {"memory_size": 20 * ENVIRONMENTS, "batch_size": 8, "random_timesteps": 2}
    cfg.update(learning_starts=4, device="cpu", non_finite=policy)
    if name == "DQN":
        models = default_q_network(info, hidden_sizes=(8,))
    else:
        style = "deterministic" if name == "TD3" else "squashed"
        cfg.update({"atoms": 11} if name == "FastSAC" else {})
        models = default_actor_critic(info, style, hidden_sizes=(8,), atoms=cfg.get("atoms"))
    base = kind or KINDS[name]
    agent = spoiled(base, spoil, guarded)(models, base.config_class(**dict(cfg, **options)))
    settings = TrainerConfig(
        timesteps=TIMESTEPS,
        seed=2,
        checkpoint_interval=10,
        log_interval=TIMESTEPS,
        run_name="run",
        disable_progressbar=True,
        tensorboard=False,
        learning_curve=False,
    )
    return SequentialTrainer(env, agent, settings)


def finite(value: Any) -> bool:
    return all(bool(torch.isfinite(tensor.double()).all()) for tensor in _tensors(value))


def state_of(trainer: SequentialTrainer) -> Dict[str, Any]:
    """Return all that learning goes by: every part, and of the memory the rows that can be drawn."""
    memory = trainer.agent.memory
    rows = (torch.arange(memory.size) + memory.cursor - memory.size) % memory.rows
    places = (rows.unsqueeze(1) * ENVIRONMENTS + torch.arange(ENVIRONMENTS)).flatten()
    parts = collect_states([part for part in trainer.agent.parts if part.name != "memory"])
    return dict(parts, memory=memory.read_all(places))


STEPS = [("observation", NAN), ("final observation", -INF), ("reward", INF), ("action", NAN), ("reward", 2e19)]


@pytest.mark.parametrize("step", [EARLY, LATE])
@pytest.mark.parametrize("site, value", STEPS, ids=lambda v: str(v))
def test_a_step_is_named_and_nothing_learns_from_it(site: str, value: float, step: int) -> None:
    spoil = Spoil(site, value, 1, step - 1, 0)
    trainer = make_run("SAC", spoil, "raise", prioritized=True, n_steps=3)
    with pytest.raises(NonFiniteError) as caught:
        trainer.train()
    error = caught.value
    assert (error.site, error.environments, error.timestep) == (site, (1,), step - 1)
    assert isinstance(error, EnvironmentNonFiniteError) is (site != "action")
    assert trainer.agent.networks() == trainer.agent.before
    assert finite(state_of(trainer)) and trainer.state == "failed"
    # What was written of the step is forgotten, so that the memory ends with the step before it.
    memory = trainer.agent.memory
    assert memory.size == (step - 1 if step == EARLY else 19)


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_training_goes_on_with_new_episodes_and_the_rest_of_the_memory(name: str, policy: str) -> None:
    trainer = make_run(name, Spoil("reward", NAN, 2, LATE - 2, 0), policy)
    trainer.train()
    assert trainer.state == "finished" and trainer.timestep == TIMESTEPS
    assert trainer.get_status()["figures"]["guard/reward"] == 1.0
    assert finite(state_of(trainer))
    memory = trainer.agent.memory
    assert memory.size == 20 and memory.written == TIMESTEPS
    # The step before the fault ends its episodes in the memory: what follows it is no continuation.
    row = (memory.cursor - 1 - (TIMESTEPS - (LATE - 2)) + 1) % memory.rows
    places = torch.arange(row * ENVIRONMENTS, (row + 1) * ENVIRONMENTS)
    assert memory.read("ended", places).tolist() == [[1.0]] * ENVIRONMENTS


# FastSAC cuts its targets off at value_limit, so that large ones are no fault.
LOSSES = [(name, value) for name in KINDS for value in (NAN, INF, 1e38) if name != "FastSAC" or value != value]


@pytest.mark.parametrize("name, value", LOSSES)
def test_a_loss_is_named_and_its_network_is_as_it_was(name: str, value: float) -> None:
    trainer = make_run(name, Spoil("loss", value, 0, LATE, 0), "raise")
    judge = trainer.agent.models["q_network" if name == "DQN" else "critic"]
    network = "q_network" if name == "DQN" else "critic"
    states: List[Any] = []
    learn = trainer.agent.learn

    def noted(batch: Any) -> None:
        states[:] = [digest_of(judge.state_dict()), digest_of(trainer.agent.optimizers[0].adam.state_dict()["state"])]
        learn(batch)

    trainer.agent.learn = noted
    with pytest.raises(NonFiniteError) as caught:
        trainer.train()
    assert (caught.value.site, caught.value.timestep) in (("loss", LATE), ("gradient", LATE))
    assert network in caught.value.key
    assert "gradient step" in str(caught.value)
    assert states == [
        digest_of(judge.state_dict()),
        digest_of(trainer.agent.optimizers[0].adam.state_dict()["state"]),
    ]
    assert finite(state_of(trainer))


@pytest.mark.parametrize("name", ["SAC", "DQN"])
@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_training_goes_on_after_a_loss_that_was_left_out(name: str, policy: str) -> None:
    # Two steps of an update are good, so that only the one between them is left out.
    trainer = make_run(name, Spoil("loss", NAN, 0, LATE, 0), policy, gradient_steps=3, prioritized=True)
    trainer.train()
    assert trainer.state == "finished" and finite(state_of(trainer))
    assert trainer.get_status()["figures"]["guard/loss"] == 1.0


def test_a_rollback_takes_the_weights_of_the_newest_checkpoint_and_keeps_the_memory() -> None:
    trainer = make_run("TD3", Spoil("reward", NAN, 0, LATE, 0), "rollback")
    recovered: Dict[str, str] = {}
    sizes: List[int] = []
    interrupt = trainer.agent.on_interruption

    def noted() -> None:
        parts = collect_states(trainer.agent.parts, (WEIGHTS, TRAINING))
        recovered.update({name: digest_of(entry["state"]) for name, entry in parts.items()})
        sizes.append(trainer.agent.memory.size)
        interrupt()

    trainer.agent.on_interruption = noted
    trainer.train()
    assert sizes == [19]
    saved = read_checkpoint("runs/run/checkpoints/step_20.aqua").parts
    assert recovered == {name: digest_of(saved["agent/" + name]["state"]) for name in recovered}


@pytest.mark.parametrize("key", ["critic", "policy"])
def test_a_gradient_is_named_by_its_parameter(key: str) -> None:
    trainer = make_run("SAC", Spoil("none", NAN, 0, 0, 0), "raise")
    module = trainer.agent.models[key]
    name, parameter = list(module.named_parameters())[-1]

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * NAN if trainer.timestep == LATE else gradient

    parameter.register_hook(spoil)
    with pytest.raises(NonFiniteError, match=r"The gradient '{}\.{}' is nan in gradient step".format(key, name)):
        trainer.train()
    assert finite(state_of(trainer)) and trainer.timestep == LATE


def test_without_the_check_a_step_would_spoil_memory_and_statistics() -> None:
    trainer = make_run("SAC", Spoil("observation", NAN, 1, LATE, 0), "raise", guarded=False)
    with pytest.raises(NonFiniteError, match="so that nobody should go on from them"):
        trainer.train()
    assert not finite(state_of(trainer)["memory"])
    assert not finite(state_of(trainer)["observation_normalizer/state"])


def test_a_policy_that_gives_nan_for_good_ends_training() -> None:
    class ActsWithNan(SAC):
        def choose_actions(self, states: Any, timestep: int, timesteps: int) -> Any:
            actions = super().choose_actions(states, timestep, timesteps)
            return actions * NAN if timestep > 20 else actions

    trainer = make_run("SAC", Spoil("none", NAN, 0, 0, 0), "skip", kind=ActsWithNan)
    with pytest.raises(NonFiniteError, match=r"The action .* 10 recoveries in a row"):
        trainer.train()


@pytest.mark.parametrize("learns_from", ["critic", "policy"])
def test_weights_that_are_not_finite_replace_no_checkpoint(learns_from: str) -> None:
    trainer = make_run("SAC", Spoil("none", NAN, 0, 0, 0), "raise")
    trainer.train()
    before = Path("runs/run/checkpoints/last.aqua").read_bytes()
    with torch.no_grad():
        next(iter(trainer.agent.models[learns_from].parameters())).fill_(NAN)
    with pytest.raises(NonFiniteError):
        trainer._save(type(trainer._require_store()).save_last, must=True)
    assert Path("runs/run/checkpoints/last.aqua").read_bytes() == before
