"""The guard against NaN and infinity: what it lets pass, what it leaves out, and when it gives up."""

import math
from pathlib import Path
from typing import Any, Dict, List, Optional

import gymnasium
import numpy as np
import pytest
import torch

from AquaML.compat import skips_by_flag
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import EnvironmentContractError, EnvironmentNonFiniteError, NonFiniteError, non_finite_numbers
from AquaML.learning.finite_guard import LARGEST, FiniteGuard, Numbers, StepGuard, of_step, require_finite
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.agent_cfg import AgentCfg
from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from benchmarks.reliability.soak import TickingEnvironment

NAN, INF = math.nan, math.inf
QUIET: Dict[str, Any] = {"disable_progressbar": True, "tensorboard": False, "learning_curve": False}


def trainer_of(agent: Agent, env: Any, timesteps: int, **settings: Any) -> SequentialTrainer:
    return SequentialTrainer(env, agent, TrainerConfig(timesteps=timesteps, **dict(QUIET, **settings)))


def ppo(env: Any, kind: Any = PPO, **options: Any) -> PPO:
    settings = dict({"rollouts": 4, "mini_batches": 2, "learning_epochs": 2, "device": "cpu"}, **options)
    return kind(default_models(env.getEnvInfo(), hidden_sizes=(8,)), PPOCfg(**settings))


# ---------------------------------------------------------------------- checks


def test_the_earliest_number_is_named_with_all_its_environments() -> None:
    late, early = torch.zeros(5, 4, 3), torch.zeros(5, 4)
    late[3, 1, 2] = NAN
    early[2, 3], early[2, 1], early[4, 0] = INF, -INF, NAN
    with pytest.raises(NonFiniteError) as caught:
        require_finite([Numbers("action", "move", late), Numbers("value", "values", early)], 5)
    error = caught.value
    assert (error.site, error.key, error.environments, error.steps_ago) == ("value", "values", (1, 3), 2)
    assert str(error).startswith(
        "The value of environment 1 holds -inf ('values'), as does that of environment 3. The value function gave it"
    )
    assert not isinstance(error, EnvironmentContractError)


def test_rows_without_a_say_hold_what_they_like() -> None:
    values, counts = torch.zeros(2, 3, 4), torch.ones(2, 3, 1, dtype=torch.bool)
    values[1, 2] = NAN
    counts[1, 2] = False
    require_finite([Numbers("observation", "state", values, counts)], 2)
    values[0, 0, 0] = NAN
    with pytest.raises(EnvironmentNonFiniteError, match="environment 0 holds nan"):
        require_finite([Numbers("observation", "state", values, counts)], 2)


def test_slots_tell_the_step_themselves() -> None:
    slots, times = torch.zeros(2, 3, 1), torch.tensor([[7, -1, 3], [9, -1, -1]])
    slots[0, 2] = NAN
    with pytest.raises(NonFiniteError) as caught:
        require_finite([Numbers("final observation", "state", slots, (times >= 0).unsqueeze(2), times)], 10)
    assert caught.value.steps_ago == 6


@pytest.mark.parametrize(
    "value, passes",
    [(0.99 * LARGEST, True), (-0.99 * LARGEST, True), (1.01 * LARGEST, False), (NAN, False), (-INF, False)],
)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_limit_is_the_root_of_the_largest_float32(value: float, passes: bool, kind: torch.dtype) -> None:
    values = torch.zeros(3, 2, dtype=kind)
    values[1, 0] = value
    if passes:
        require_finite(of_step("reward", {"rewards": values}))
    else:
        with pytest.raises(NonFiniteError, match="The reward of environment 1 holds"):
            require_finite(of_step("reward", {"rewards": values}))


def test_many_large_numbers_are_no_fault_though_their_norm_overflows() -> None:
    values = torch.full((1, 1000, 1), 0.9 * LARGEST)
    assert not math.isfinite(float(values.norm()))
    require_finite([Numbers("observation", "state", values)])


def test_whole_numbers_and_nothing_are_not_looked_at() -> None:
    require_finite(of_step("observation", {"picture": torch.zeros(2, 4, dtype=torch.uint8)}))
    require_finite([Numbers("observation", "state", torch.zeros(1, 0, 3))])


@pytest.mark.parametrize("number", [1, 2, 5, 9])
def test_a_message_lists_some_environments(number: int) -> None:
    message = str(non_finite_numbers("reward", "rewards", range(number), NAN))
    others = {
        1: "",
        2: ", as does that of environment 1",
        5: ", as do those of environments 1, 2, 3, 4",
        9: ", as do those of environments 1, 2, 3, 4 and 4 more",
    }[number]
    assert message.startswith("The reward of environment 0 holds nan ('rewards'){}. One such".format(others))


# ---------------------------------------------------------------------- steps of the optimiser


def optimizers(parameter: torch.nn.Parameter) -> Dict[str, torch.optim.Optimizer]:
    env = TickingEnvironment(2)
    own = ppo(env)._make_optimizer()
    ours: Any = type(own)([parameter], lr=0.1, **{key: own.defaults[key] for key in ("fused",) if key in own.defaults})
    return {"ours": ours, "plain": torch.optim.SGD([parameter], lr=0.1, momentum=0.9)}


@pytest.mark.parametrize("name", ["ours", "plain"])
@pytest.mark.parametrize("loss, norm", [(NAN, 1.0), (1.0, NAN), (INF, -INF), (-INF, 1.0), (1.0, INF)])
@pytest.mark.parametrize("sticky", [False, True])
def test_a_faulty_step_changes_no_bit(name: str, loss: float, norm: float, sticky: bool) -> None:
    from AquaML.compat import gradient_scaler

    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = optimizers(parameter)[name]
    guard = StepGuard(optimizer, torch.device("cpu"), gradient_scaler(enabled=False), sticky)
    guard.begin()

    def step(loss_value: float, norm_value: float) -> List[Any]:
        parameter.grad = torch.tensor([0.5, norm_value])
        guard.step(torch.tensor(loss_value), torch.tensor(norm_value))
        state = optimizer.state[parameter]
        return [parameter.tolist()] + [value.tolist() for value in state.values() if isinstance(value, torch.Tensor)]

    good = step(1.0, 1.0)
    assert step(loss, norm) == good and guard.faults() == 1
    after = step(1.0, 1.0)
    assert (after == good) is sticky
    if not sticky:
        step(loss, norm)
        assert guard.faults() == 2
    guard.begin()
    assert guard.faults() == 0
    assert step(1.0, 1.0) != after


def test_our_optimiser_needs_no_host() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    found = optimizers(parameter)
    assert skips_by_flag(found["ours"]) is bool(found["ours"].defaults.get("fused"))
    assert not skips_by_flag(found["plain"])


@pytest.mark.skipif(not hasattr(getattr(torch, "amp", None), "GradScaler"), reason="this torch scales on CUDA only")
@pytest.mark.parametrize("sticky", [False, True])
def test_the_loss_scaler_skips_by_itself(sticky: bool) -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1000)
    guard = StepGuard(optimizer, torch.device("cpu"), scaler, sticky)
    guard.begin()

    def step(factor: float, gradient_norm: Optional[float] = None) -> float:
        parameter.grad = None
        loss = (parameter * factor).sum()
        guard.scale(loss).backward()
        scaler.unscale_(optimizer)
        if gradient_norm is not None:
            parameter.grad.fill_(gradient_norm)
            scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"][parameter.device].fill_(1.0)
        guard.step(loss, parameter.grad.norm())
        return float(parameter)

    assert step(1.0) == pytest.approx(0.9)
    # A gradient that overflows is how the scaler looks for its scale: 4, then 2, then 1.
    assert step(1.0, INF) == step(1.0, INF) == pytest.approx(0.9)
    assert float(scaler.get_scale()) == 1.0 and guard.faults() == 0
    # At 1 it is the gradient's own fault, and a loss that is not finite always is one.
    assert step(1.0, INF) == pytest.approx(0.9)
    assert guard.faults() == 1
    after = step(1.0)
    assert after == pytest.approx(0.9 if sticky else 0.8)
    assert step(NAN) == after
    assert guard.faults() == (1 if sticky else 2)


# ---------------------------------------------------------------------- a whole run


class Faults(TickingEnvironment):
    """Gives NaN rewards in some vector steps, and NaN observations at some resets."""

    def __init__(self, rewards: Any = (), resets: Any = ()) -> None:
        super().__init__(3, 5)
        self._wrong_rewards, self._wrong_resets = rewards, resets
        self.steps = self.resets = 0

    def reset(self, seed: Optional[int] = None) -> Any:
        states, infos = super().reset(seed)
        self.resets += 1
        if self.resets - 1 in self._wrong_resets:
            states = {name: value + NAN for name, value in states.items()}
        return states, infos

    def step(self, actions: Any) -> Any:
        observations, rewards, terminated, truncated, infos = super().step(actions)
        if self.steps in self._wrong_rewards:
            rewards = rewards + NAN
        self.steps += 1
        return observations, rewards, terminated, truncated, infos


def test_a_healthy_run_looks_at_nothing_twice_and_logs_nothing(log_lines: list) -> None:
    env = Faults()
    trainer = trainer_of(ppo(env, non_finite="skip"), env, 40)
    trainer.train()
    assert not any(name.startswith("guard/") for name in trainer.get_status()["figures"])
    assert not any("non_finite" in line for line in log_lines)


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_recoveries_are_counted_and_new_episodes_begin(policy: str, log_lines: list) -> None:
    env = Faults(rewards=(5, 21, 38))
    trainer = trainer_of(ppo(env, non_finite=policy), env, 60, log_interval=60)
    trainer.train()
    assert trainer.timestep == 60
    assert env.resets == 4
    assert trainer.get_status()["figures"]["guard/reward"] == 3.0
    warnings = [line for line in log_lines if "non_finite='{}'".format(policy) in line]
    assert len(warnings) == 1
    assert "The reward of environment 0 holds nan ('rewards'), as do those of environments 1, 2." in warnings[0]
    assert "(vector step 5)" in warnings[0] and "'guard/reward'" in warnings[0]


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_ten_recoveries_without_an_update_are_the_end(policy: str) -> None:
    env = Faults(rewards=range(100))
    trainer = trainer_of(ppo(env, non_finite=policy), env, 90)
    with pytest.raises(NonFiniteError, match=r"10 recoveries in a row \(non_finite='{}'\)".format(policy)):
        trainer.train()
    assert trainer.state == "failed"
    assert env.resets == 1 + FiniteGuard.MOST_RECOVERIES


def test_updates_between_them_let_recoveries_go_on() -> None:
    # One fault in every fifth step; four steps are a rollout, so that there is an update between any two.
    env = Faults(rewards=range(20, 200, 5))
    trainer = trainer_of(ppo(env, non_finite="skip"), env, 200)
    trainer.train()
    assert env.resets == 1 + 36


def test_a_reset_that_gives_nan_is_tried_again() -> None:
    env = Faults(rewards=(20,), resets=(1, 2))
    trainer = trainer_of(ppo(env, non_finite="skip"), env, 40)
    trainer.train()
    assert env.resets == 4
    env = Faults(rewards=(20,), resets=range(1, 100))
    with pytest.raises(NonFiniteError, match="10 recoveries in a row"):
        trainer_of(ppo(env, non_finite="skip"), env, 40).train()


def test_a_first_reset_with_nan_is_an_error_before_anything_begins() -> None:
    env = Faults(resets=(0,))
    with pytest.raises(EnvironmentNonFiniteError, match="Observation of environment 0 holds nan"):
        trainer_of(ppo(env, non_finite="skip"), env, 40).train()


def test_a_run_that_is_taken_up_is_checked_whole_again() -> None:
    trainer = trainer_of(ppo(Faults()), Faults(), 24)
    trainer.train()
    env = Faults(rewards=(1,))
    more = trainer_of(ppo(env), env, 48)
    with pytest.raises(NonFiniteError, match=r"\(vector step 25\)"):
        more.train(resume=trainer.run_folder)
    # The rollout of steps 24 to 27 was not complete, so nothing but the check of the step itself can have seen it.
    assert env.steps == 2


class SpoiledSuccessor(Faults):
    """The observation that vector step 23, the last of a rollout, leads to holds infinity."""

    def step(self, actions: Any) -> Any:
        observations, *others = super().step(actions)
        if self.steps == 24:
            observations = {name: value.clone() for name, value in observations.items()}
            observations["state"][2, 0] = INF
        return (observations, *others)


def test_the_last_successor_of_a_rollout_is_looked_at_with_it() -> None:
    env = SpoiledSuccessor()
    with pytest.raises(EnvironmentNonFiniteError, match=r"Observation of environment 2 holds inf.*\(vector step 23\)"):
        trainer_of(ppo(env), env, 40).train()
    assert env.steps == 24


class LossOfNan(PPO):
    """Every loss is NaN from some update on."""

    begin = 2
    updates = 0

    def learn(self, batch: Any, rows: Any) -> None:
        self.updates += 1
        super().learn(batch, rows)

    def value_loss(self, minibatch: Any, values: Any) -> torch.Tensor:
        loss = super().value_loss(minibatch, values)
        return loss * NAN if self.updates > self.begin else loss


def test_an_update_of_which_no_step_is_left_is_a_failure() -> None:
    env = Faults()
    agent = ppo(env, LossOfNan, non_finite="skip")
    with pytest.raises(NonFiniteError, match=r"4 of 4 steps were left out.*10 recoveries in a row"):
        trainer_of(agent, env, 400).train()
    assert agent.updates == agent.begin + 11


def test_a_faulty_update_takes_back_the_value_statistics_and_figures() -> None:
    env = Faults()
    agent = ppo(env, LossOfNan)
    trainer = trainer_of(agent, env, 40, log_interval=40)
    trainer.begin()
    for _ in range(8):
        trainer.step()
    before, metrics = agent.value_normalizer.state_dict(), dict(agent._metrics)
    for _ in range(3):
        trainer.step()
    with pytest.raises(NonFiniteError, match="The loss 'value' is nan in minibatch 0 of pass 0. 4 of 4 steps"):
        trainer.step()
    trainer.tracker.close()
    after = agent.value_normalizer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert agent._metrics == metrics


class OneLossOfNan(LossOfNan):
    """One loss of one minibatch is NaN."""

    def value_loss(self, minibatch: Any, values: Any) -> torch.Tensor:
        loss = super().value_loss(minibatch, values)
        if self.updates > self.begin:
            self.begin = 1000
        return loss


def test_figures_of_an_update_leave_out_what_was_skipped() -> None:
    env = Faults()
    agent = ppo(env, OneLossOfNan, non_finite="skip", learning_rate_scheduler="KLAdaptiveLR")
    trainer = trainer_of(agent, env, 12)
    trainer.train()
    figures = trainer.get_status()["figures"]
    assert figures["guard/loss"] == 1.0
    assert all(math.isfinite(value) for value in figures.values())


class Own(Agent):
    """A custom agent that notices something itself."""

    def act(self, states: Any, timestep: int, timesteps: int) -> torch.Tensor:
        return torch.zeros(3, 2)

    def record_transition(self, *arguments: Any) -> None:
        pass

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        if timestep in (3, 1500):
            raise NonFiniteError("My loss is nan.", "my loss")


def test_a_custom_agent_has_the_same_policies(log_lines: list) -> None:
    env = Faults()
    with pytest.raises(NonFiniteError, match=r"My loss is nan\. \(vector step 3\)"):
        trainer_of(Own({}, AgentCfg(device="cpu")), env, 8).train()
    env = Faults()
    agent = Own({}, AgentCfg(device="cpu", non_finite="skip"))
    trainer_of(agent, env, 1600).train()
    assert env.resets == 3
    # A thousand steps without a fault count like an update that went well.
    assert agent.finite_guard.in_a_row == 1


# ---------------------------------------------------------------------- wrappers


class Spoiled(gymnasium.Env):
    """Returns what it is told, from the second step on."""

    observation_space = gymnasium.spaces.Box(-INF, INF, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, observation: float = 0.0, reward: float = 0.0, echo: bool = False) -> None:
        self._wrong, self._echo, self._steps = (observation, reward), echo, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self._steps += 1
        observation, reward = self._wrong if self._steps > 1 else (0.0, 0.0)
        if self._echo:
            observation = float(action[0])
        return np.array([0.0, observation], np.float32), reward, False, False, {}


@pytest.mark.parametrize(
    "wrong, site, key", [({"observation": NAN}, "observation", "state"), ({"reward": INF}, "reward", "rewards")]
)
def test_a_wrapper_names_site_and_environment_and_the_trainer_the_step(wrong: Any, site: str, key: str) -> None:
    env = GymnasiumWrapper(lambda: Spoiled(**wrong), num_envs=2)
    with pytest.raises(EnvironmentContractError) as caught:
        trainer_of(ppo(env), env, 8).train()
    error = caught.value
    assert isinstance(error, NonFiniteError)
    assert (error.site, error.key, error.environments, error.timestep) == (site, key, (0, 1), 1)


class ActionOfNan(PPO):
    """Acts with NaN from some step on, long after the steps that are checked whole."""

    def act(self, states: Any, timestep: int, timesteps: int) -> Any:
        actions = super().act(states, timestep, timesteps)
        return {name: value + NAN for name, value in actions.items()} if timestep == 21 else actions


def test_an_environment_that_was_fed_with_nan_is_not_blamed() -> None:
    env = GymnasiumWrapper(lambda: Spoiled(echo=True), num_envs=2)
    with pytest.raises(NonFiniteError, match=r"The action of environment 0 holds nan.*\(vector step 21\)") as caught:
        trainer_of(ppo(env, ActionOfNan), env, 40).train()
    assert caught.value.site == "action"


def test_a_checkpoint_is_as_it_was_when_training_ends(tmp_path: Path) -> None:
    env = Faults(rewards=(21,))
    trainer = trainer_of(ppo(env), env, 40, checkpoint_interval=10, run_directory=str(tmp_path))
    with pytest.raises(NonFiniteError):
        trainer.train()
    files = sorted(path.name for path in (trainer.run_folder / "checkpoints").glob("step_*"))
    assert files == ["step_10.aqua", "step_20.aqua"]
    again = trainer_of(ppo(Faults()), Faults(), 40, run_directory=str(tmp_path))
    again.train(resume=trainer.run_folder)
    assert again.timestep == 40
