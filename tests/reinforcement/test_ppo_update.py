"""What one update of PPO does, in numbers."""

import math
from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from scripted import PlainPolicy, SpaceEnv, batch_of, drive, known_agent, parameters_of, small_agent, wrap

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import AgentError, ConfigError
from AquaML.learning.model.normalizer_cfg import NormalizerCfg
from AquaML.learning.reinforcement.on_policy.base import Batch
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg

spaces = gymnasium.spaces
BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)
ACTIONS = {
    "gaussian": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "categorical": spaces.Discrete(4, start=2),
    "multi_categorical": spaces.MultiDiscrete([3, 2, 4]),
    "multi_binary": spaces.MultiBinary(3),
    "composite": spaces.Dict({"move": spaces.Box(-1.0, 1.0, (2,), np.float32), "grip": spaces.Discrete(3)}),
}


def space_env(actions: gymnasium.Space, num_envs: int = 3, observations: gymnasium.Space = BOX) -> GymnasiumWrapper:
    return GymnasiumWrapper(lambda: SpaceEnv(observations, actions), num_envs=num_envs)


class Watching(PPO):
    """Keeps what the first minibatch of every update measured, and every minibatch's rows."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.first: List[Dict[str, float]] = []
        self.minibatches: List[torch.Tensor] = []
        self.is_first = True

    def learn(self, batch: Batch, rows: torch.Tensor) -> None:
        self.is_first = True
        super().learn(batch, rows)

    def policy_loss(self, minibatch: Batch, evaluated: Any) -> torch.Tensor:
        if self.is_first:
            self.is_first = False
            new = {name: evaluated[name].detach() for name in minibatch.parameters}
            self.first.append(
                {
                    "log_ratio": float((evaluated["log_prob"].detach() - minibatch.log_prob).abs().max()),
                    "kl": float(self.policy.kl(minibatch.parameters, new).mean()),
                }
            )
        self.minibatches.append(minibatch.log_prob[:, 0].clone())
        return super().policy_loss(minibatch, evaluated)


@pytest.mark.parametrize(
    "kind, shared", [(kind, False) for kind in ACTIONS] + [("gaussian", True), ("categorical", True)]
)
def test_first_minibatch_is_the_policy_that_acted(kind: str, shared: bool) -> None:
    env = space_env(ACTIONS[kind])
    agent = small_agent(
        env, Watching, shared=shared, rollouts=8, learning_rate=3e-3, observation_normalizer=NormalizerCfg(clip=3.0)
    )
    drawn: List[torch.Tensor] = []
    act = agent.policy.act

    def spying(inputs: Any) -> Any:
        outputs = act(inputs)
        drawn.append(outputs["log_prob"].clone())
        return outputs

    agent.policy.act = spying
    drive(env, agent, 6 * 8)
    assert len(agent.first) == 6
    assert int(agent.normalizers["state"].count) == 6 * 8 * 3
    for measured in agent.first:
        assert measured["log_ratio"] <= 1e-4
        assert abs(measured["kl"]) <= 1e-6
    # What the update compares with is the very number that act returned.
    per_update = 3 * 2
    for update in range(6):
        stored = torch.cat(agent.minibatches[update * per_update : update * per_update + 3]).sort()[0]
        returned = torch.cat(drawn[update * 8 : update * 8 + 8])[:, 0].sort()[0]
        assert torch.equal(stored, returned)


def test_statistics_rest_from_the_first_act_to_the_last_epoch() -> None:
    env = space_env(ACTIONS["gaussian"])
    seen: List[int] = []

    class Counting(PPO):
        def act(self, *arguments: Any) -> Any:
            seen.append(int(self.normalizers["state"].count))
            return super().act(*arguments)

        def policy_loss(self, minibatch: Batch, evaluated: Any) -> torch.Tensor:
            seen.append(int(self.normalizers["state"].count))
            return super().policy_loss(minibatch, evaluated)

    agent = small_agent(env, Counting)
    drive(env, agent, 16)
    per_update = 8 + 2 * 3
    assert seen == [0] * per_update + [24] * per_update
    assert int(agent.normalizers["state"].count) == 48


def test_value_statistics_come_from_returns_alone_and_before_the_first_epoch() -> None:
    agent = known_agent(
        lambda s: 100.0 + s[:, :1], rollouts=4, value_normalizer=True, gae_lambda=1.0, discount_factor=1.0
    )
    env = wrap("own", [[([1.0, 2.0, 3.0, 4.0], "terminated")]])
    drive(env, agent, 4, learn=False)
    batch = agent.prepare_batch(agent.memory.rollout())
    # Returns 10, 9, 7, 4 whatever the critic says: mean 7.5, variance 5.25.
    assert float(agent.value_normalizer.mean) == pytest.approx(7.5)
    assert float(agent.value_normalizer.variance) == pytest.approx(5.25, rel=1e-6)
    scale = math.sqrt(5.25)
    expected = [(value - 7.5) / scale for value in (10.0, 9.0, 7.0, 4.0)]
    assert batch.returns[:, 0].tolist() == pytest.approx(expected, rel=1e-5)
    # Old values, known to be 100 + clock, are re-expressed in the same units.
    expected = [(100.0 + clock - 7.5) / scale for clock in range(4)]
    assert batch.values[:, 0].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rollouts, num_envs, mini_batches", [(8, 3, 5), (7, 1, 3), (1, 1, 1), (4, 2, 8)])
def test_every_sample_once_per_epoch(rollouts: int, num_envs: int, mini_batches: int) -> None:
    def play() -> List[torch.Tensor]:
        torch.manual_seed(11)
        env = space_env(ACTIONS["gaussian"], num_envs)
        agent = small_agent(env, Watching, rollouts=rollouts, mini_batches=mini_batches, learning_epochs=3)
        drive(env, agent, rollouts, learn=False)
        stored = agent.memory.rollout()["log_prob"].flatten().clone()
        agent.update()
        assert len(agent.minibatches) == 3 * mini_batches
        epochs = [torch.cat(agent.minibatches[i * mini_batches : (i + 1) * mini_batches]) for i in range(3)]
        for epoch in epochs:
            assert torch.equal(epoch.sort()[0], stored.sort()[0])
        assert all(bool(torch.isfinite(value.double()).all()) for value in parameters_of(agent).values())
        return epochs

    first, second = play(), play()
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    if rollouts * num_envs > 6:
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(first[1], first[2])


# ---------------------------------------------------------------------- losses on a policy of two parameters


def test_gradient_of_the_clipped_surrogate() -> None:
    agent = known_agent(lambda s: s[:, :1], ratio_clip=0.2)
    policy = agent.policy
    policy.mean.data.fill_(0.5)
    policy.log_std_parameter.data.fill_(math.log(2.0))
    action = 1.5
    now = -0.5 * 0.25 - math.log(2.0) - 0.5 * math.log(2.0 * math.pi)
    # Ratios 1.5 and 0.5: with a positive advantage the first is clipped, with a negative one the second.
    ratios, advantages = [1.5, 1.5, 0.5, 0.5, 1.1], [2.0, -2.0, 2.0, -2.0, 3.0]
    batch = batch_of([now - math.log(ratio) for ratio in ratios], advantages)
    evaluated = policy.evaluate(batch.states, torch.full((5, 1), action))
    loss = agent.policy_loss(batch, evaluated)
    surrogates = [1.2 * 2.0, 1.5 * -2.0, 0.5 * 2.0, 0.8 * -2.0, 1.1 * 3.0]
    assert loss.item() == pytest.approx(-sum(surrogates) / 5, rel=1e-5)
    loss.backward()
    # d log p / d mean = (a - mean) / std^2 = 0.25, d log p / d log_std = (a - mean)^2 / std^2 - 1 = -0.75.
    active = 1.5 * -2.0 + 0.5 * 2.0 + 1.1 * 3.0
    assert float(policy.mean.grad) == pytest.approx(-active / 5 * 0.25, rel=1e-5)
    assert float(policy.log_std_parameter.grad) == pytest.approx(-active / 5 * -0.75, rel=1e-5)


@pytest.mark.parametrize("clip", [0.2, None])
def test_gradient_of_the_value_loss(clip: Any) -> None:
    agent = known_agent(lambda s: s[:, :1], value_clip=clip)
    batch = batch_of([0.0] * 4, [0.0] * 4)
    batch.values = torch.zeros(4, 1)
    batch.returns = torch.tensor([[1.0], [1.0], [-1.0], [0.1]])
    values = torch.tensor([[0.5], [0.1], [0.5], [0.15]], requires_grad=True)
    loss = agent.value_loss(batch, values)
    loss.backward()
    if clip is None:
        assert loss.item() == pytest.approx((0.25 + 0.81 + 2.25 + 0.0025) / 4)
        expected = [2 * -0.5 / 4, 2 * -0.9 / 4, 2 * 1.5 / 4, 2 * 0.05 / 4]
    else:
        # The first value moved by 0.5 towards its target: clipped to 0.2, whose error 0.64 is larger and constant.
        assert loss.item() == pytest.approx((0.64 + 0.81 + 2.25 + 0.0025) / 4)
        expected = [0.0, 2 * -0.9 / 4, 2 * 1.5 / 4, 2 * 0.05 / 4]
    assert values.grad[:, 0].tolist() == pytest.approx(expected, rel=1e-5)


def test_gradient_of_the_entropy_bonus() -> None:
    class Losses(PPO):
        gradient = 0.0

        def policy_loss(self, minibatch: Batch, evaluated: Any) -> torch.Tensor:
            return 0.0 * evaluated["log_prob"].mean()

        def _descend(self, loss: torch.Tensor) -> torch.Tensor:
            norm = super()._descend(loss)
            self.gradient = float(self.policy.log_std_parameter.grad[0])
            return norm

    env = wrap("own", [[([1.0], "terminated")]])
    models = {"policy": PlainPolicy(), "value": known_agent(lambda s: s[:, :1]).value}
    agent = Losses(
        models,
        PPOCfg(
            rollouts=2, mini_batches=1, learning_epochs=1, entropy_loss_scale=0.3, grad_norm_clip=None, device="cpu"
        ),
    )
    drive(env, agent, 2)
    # The entropy of a Gaussian grows by 1 per unit of log_std, and descent subtracts the bonus.
    assert agent.gradient == pytest.approx(-0.3)
    metrics = agent.collect_metrics()
    assert metrics["policy/entropy"] == pytest.approx(0.5 * math.log(2 * math.pi * math.e), rel=1e-5)
    assert metrics["loss/entropy"] == pytest.approx(-0.3 * metrics["policy/entropy"], rel=1e-5)


@pytest.mark.parametrize("kind", ["batch", "minibatch", "none"])
def test_advantage_normalization_by_hand(kind: str) -> None:
    found: List[torch.Tensor] = []

    class Keeping(PPO):
        def policy_loss(self, minibatch: Batch, evaluated: Any) -> torch.Tensor:
            found.append(minibatch.advantages[:, 0].clone())
            return super().policy_loss(minibatch, evaluated)

    models = {"policy": PlainPolicy(), "value": known_agent(lambda s: s[:, :1]).value}
    agent = Keeping(
        models,
        PPOCfg(
            rollouts=4,
            mini_batches=2,
            learning_epochs=1,
            advantage_normalization=kind,
            gae_lambda=0.0,
            discount_factor=0.0,
            observation_normalizer=False,
            value_normalizer=False,
            device="cpu",
        ),
    )
    # Without a future the advantage is r - clock: 1 - 0, 5 - 1, 2 - 2, 11 - 3.
    env = wrap("own", [[([1.0, 5.0, 2.0, 11.0], "terminated")]])
    drive(env, agent, 4)
    raw = [1.0, 4.0, 0.0, 8.0]
    assert [len(item) for item in found] == [2, 2]
    if kind == "none":
        assert sorted(torch.cat(found).tolist()) == pytest.approx(sorted(raw))
    elif kind == "minibatch":
        for item in found:
            assert sorted(item.tolist()) == pytest.approx([-1.0, 1.0], abs=1e-3)
    else:
        mean, spread = 3.25, math.sqrt(sum((value - 3.25) ** 2 for value in raw) / 4)
        assert sorted(torch.cat(found).tolist()) == pytest.approx(
            sorted((value - mean) / spread for value in raw), rel=1e-3
        )


# ---------------------------------------------------------------------- options


def test_kl_early_stop_leaves_later_epochs_out() -> None:
    def minibatches(threshold: Any) -> int:
        torch.manual_seed(0)
        env = space_env(ACTIONS["gaussian"])
        agent = small_agent(env, Watching, learning_epochs=6, learning_rate=0.05, kl_threshold=threshold)
        drive(env, agent, 8)
        return len(agent.minibatches)

    assert minibatches(None) == 6 * 3
    assert minibatches(1e9) == 6 * 3
    # The first epoch already moves the policy by more than this, and later epochs are left out.
    assert minibatches(1e-12) == 3
    assert 3 < minibatches(0.2) < 18


def test_value_learning_rate_of_zero_leaves_the_critic_alone() -> None:
    env = space_env(ACTIONS["gaussian"])
    agent = small_agent(env, value_learning_rate=0.0, learning_rate=1e-2)
    before = parameters_of(agent)
    drive(env, agent, 16)
    after = parameters_of(agent)
    critic = [name for name in before if name.startswith("value.")]
    assert critic
    assert all(torch.equal(before[name], after[name]) for name in critic)
    assert not torch.equal(before["policy.heads.output.weight"], after["policy.heads.output.weight"])
    metrics = agent.collect_metrics()
    assert metrics["learning_rate/value"] == 0.0
    assert metrics["learning_rate/policy"] == pytest.approx(1e-2)


def test_one_model_has_one_learning_rate() -> None:
    env = space_env(ACTIONS["gaussian"])
    with pytest.raises(ConfigError, match="PPOCfg.value_learning_rate is 0.1.*one model"):
        small_agent(env, shared=True, value_learning_rate=0.1)


def test_rewards_are_scaled_then_shaped() -> None:
    given: List[torch.Tensor] = []

    def shaper(rewards: torch.Tensor) -> torch.Tensor:
        given.append(rewards.clone())
        return rewards.double() + 1.0

    agent = known_agent(
        lambda s: 0.0 * s[:, :1],
        rollouts=3,
        reward_scale=0.5,
        reward_shaper=shaper,
        gae_lambda=1.0,
        discount_factor=1.0,
    )
    drive(wrap("own", [[([2.0, 4.0, 6.0], "terminated")]]), agent, 3, learn=False)
    batch = agent.prepare_batch(agent.memory.rollout())
    assert given[0].flatten().tolist() == [1.0, 2.0, 3.0]
    assert batch.returns.flatten().tolist() == [9.0, 7.0, 4.0]
    assert agent.memory.rollout()["rewards"].flatten().tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    "wrong, words", [(lambda r: r.mean(), r"returned \(\)"), (lambda r: None, "returned NoneType")]
)
def test_a_reward_shaper_of_another_shape_is_refused(wrong: Any, words: str) -> None:
    agent = known_agent(lambda s: s[:, :1], rollouts=3, reward_shaper=wrong)
    with pytest.raises(AgentError, match="reward_shaper {}; expected a tensor of shape".format(words)):
        drive(wrap("own", [[([2.0] * 3, "terminated")]]), agent, 3)


@pytest.mark.parametrize("kind", ["gaussian", "composite"])
def test_bfloat16_keeps_the_first_ratio_near_one(kind: str) -> None:
    env = space_env(ACTIONS[kind])
    agent = small_agent(env, Watching, mixed_precision="bf16", learning_rate=3e-3)
    drive(env, agent, 4 * 8)
    assert len(agent.first) == 4
    assert max(measured["log_ratio"] for measured in agent.first) <= 0.05
    assert all(value.dtype in (torch.float32, torch.float64, torch.int64) for value in parameters_of(agent).values())


def test_older_rollouts_stay_readable() -> None:
    env = wrap("own", [[([float(i) for i in range(100)], "terminated")]])
    agent = known_agent(lambda s: s[:, :1], rollouts=4, memory_size=13)
    drive(env, agent, 12)
    ages = [agent.memory.rollout(age)["rewards"].flatten().tolist() for age in (1, 2)]
    assert ages == [[8.0, 9.0, 10.0, 11.0], [4.0, 5.0, 6.0, 7.0]]


def test_everything_is_reported_as_a_finite_number() -> None:
    env = space_env(ACTIONS["gaussian"])
    agent = small_agent(env)
    drive(env, agent, 8)
    metrics = agent.collect_metrics()
    assert all(math.isfinite(value) for value in metrics.values())
    wanted = {"loss/policy", "loss/value", "loss/entropy", "policy/kl", "policy/clip_fraction", "policy/entropy"}
    wanted |= {"value/explained_variance", "gradient/norm", "policy/std", "learning_rate/policy"}
    assert wanted <= set(metrics)
    assert agent.collect_metrics() == {}


def test_explained_variance_by_hand() -> None:
    agent = known_agent(lambda s: 0.5 * s[:, :1], rollouts=4, discount_factor=1.0, gae_lambda=1.0)
    drive(wrap("own", [[([0.0, 0.0, 0.0, 4.0], "terminated"), ([0.0], "terminated")]]), agent, 4, learn=False)
    agent.prepare_batch(agent.memory.rollout())
    # All returns are 4: nothing to explain. Then returns 3, 2, 1, 0 against values 0, 0.5, 1, 1.5.
    agent.collect_metrics()
    agent = known_agent(lambda s: 0.5 * s[:, :1], rollouts=4, discount_factor=1.0, gae_lambda=1.0)
    drive(wrap("own", [[([1.0, 1.0, 1.0, 0.0], "terminated")]]), agent, 4, learn=False)
    agent.prepare_batch(agent.memory.rollout())
    # Errors 3, 1.5, 0, -1.5 have variance 2.8125, returns 1.25.
    assert agent.collect_metrics()["value/explained_variance"] == pytest.approx(1.0 - 2.8125 / 1.25, rel=1e-5)


def test_a_model_error_at_set_up_is_raised_again_not_forgotten() -> None:
    env = wrap("own", [[([1.0], "terminated")]])

    class TwoValues(PlainPolicy):
        pass

    models = {"policy": TwoValues(size=2), "value": known_agent(lambda s: s[:, :1]).value}
    agent = PPO(models, PPOCfg(rollouts=2, mini_batches=1, device="cpu"))
    agent.setup(env.getEnvInfo())
    for _ in range(2):
        with pytest.raises(ValueError, match=r"TwoValues.compute returned 'mean_actions' of shape \(2, 2\)"):
            agent.prepare_training()


def test_a_wrong_normalizer_key_is_raised_again_not_forgotten() -> None:
    env = wrap("own", [[([1.0], "terminated")]])
    agent = known_agent(lambda s: s[:, :1], observation_normalizer_by_key={"stat": True})
    for _ in range(2):
        with pytest.raises(AgentError, match="'stat', which is no observation. Did you mean 'state'"):
            agent.setup(env.getEnvInfo())


def test_normalizers_by_key() -> None:
    observations = spaces.Dict({"a": BOX, "b": BOX, "kind": spaces.Discrete(3)})
    env = space_env(ACTIONS["gaussian"], observations=observations)
    agent = small_agent(env, observation_normalizer_by_key={"b": False})
    agent.setup(env.getEnvInfo())
    assert list(agent.normalizers) == ["a"]
    agent = small_agent(env, observation_normalizer_by_key={"kind": True})
    with pytest.raises(AgentError, match="'kind'.*int64; only floating-point"):
        agent.setup(env.getEnvInfo())
    agent = small_agent(env, observation_normalizer=NormalizerCfg(frozen=True))
    drive(env, agent, 8)
    assert int(agent.normalizers["a"].count) == 0


def test_acting_in_training_before_set_up_says_what_to_do() -> None:
    agent = known_agent(lambda s: s[:, :1])
    with pytest.raises(AgentError, match=r"call setup\(env.getEnvInfo\(\)\) before training"):
        agent.act({"state": torch.zeros(1, 2)}, 0, 1)


def test_recording_without_acting_is_refused() -> None:
    env = wrap("own", [[([1.0], "terminated")]])
    agent = known_agent(lambda s: s[:, :1], rollouts=2)
    agent.setup(env.getEnvInfo())
    agent.prepare_training()
    flag, row = torch.zeros(1, 1, dtype=torch.bool), {"state": torch.zeros(1, 2)}
    with pytest.raises(AgentError, match="needs an act"):
        agent.record_transition(row, {"action": torch.zeros(1, 1)}, torch.zeros(1, 1), row, flag, flag, {}, 0, 1)
