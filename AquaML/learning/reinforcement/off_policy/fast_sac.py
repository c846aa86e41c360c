"""SAC for many parallel environments, with distributional critics.

After Seo et al., 2025, "FastTD3" and "Learning sim-to-real humanoid locomotion in 15 minutes" (FastSAC), and the scale
of rewards of Lee et al., 2025, "Hyperspherical normalization for scalable deep reinforcement learning".
"""

from typing import Any, Mapping, Optional

import torch

from AquaML.learning.memory.replay import Places, ReplayMemory
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.reinforcement.base import TensorDict
from AquaML.learning.reinforcement.off_policy.fast_sac_cfg import FastSACCfg
from AquaML.learning.reinforcement.off_policy.return_scale import ReturnScale
from AquaML.learning.reinforcement.off_policy.sac import SAC
from AquaML.learning.reinforcement.off_policy.transitions import REWARDS, TERMINATED, Transitions
from AquaML.learning.reinforcement.off_policy.value_distribution import ValueDistribution
from AquaML.stateful import TRAINING


class FastSAC(SAC):
    """SAC whose critics predict how returns are distributed, so that large, rare batches teach them enough.

    The critic returns ``"logits"`` ``(B, critics, atoms)``; targets go on from the distribution of the critic with the
    smaller mean, and the critics descend the cross entropy with it. Networks with normalised layers suit this best
    (:func:`~AquaML.learning.model.default_actor_critic` with ``atoms=`` and ``layer_norm=True``).

    Args:
        models: ``"policy"``, a squashed Gaussian, and ``"critic"``.
        cfg: The configuration; None: defaults.
    """

    config_class = FastSACCfg
    cfg: FastSACCfg

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[FastSACCfg] = None) -> None:
        super().__init__(models, cfg)
        self.distribution = ValueDistribution(self.cfg.value_limit, self.cfg.atoms, self.device)
        # There from the beginning, so that a file is read before there is an environment.
        self.return_scale = ReturnScale(self.cfg.discount_factor, self.cfg.value_limit, 1, self.device)
        self.register_part("return_scale", self.return_scale, TRAINING)

    def prepare_training(self) -> None:
        """Allocate the memory, and begin to follow returns; see :meth:`OffPolicyAgent.prepare_training`."""
        super().prepare_training()
        assert self.num_envs is not None
        self.return_scale.expect(self.num_envs)

    def check_critic(self, outputs: ModelOutput) -> None:
        """Check what the critic said of two rows; see :meth:`CriticAgent.check_critic`."""
        self.critic.require_output(outputs, "logits", (2, None, self.cfg.atoms))

    def follow_fresh(self, memory: ReplayMemory, places: Places, valid: Optional[torch.Tensor]) -> None:
        """Follow the returns; see :meth:`OffPolicyAgent.follow_fresh`."""
        shape = (-1, memory.num_envs, 1)
        rewards = memory.read(REWARDS, places).reshape(shape)
        terminated = memory.read(TERMINATED, places).reshape(shape) > 0.0
        counts = None if valid is None else valid.reshape(shape)
        for step in range(len(rewards)):
            self.return_scale.follow(rewards[step], terminated[step], None if counts is None else counts[step])

    def on_interruption(self) -> None:
        """End the running episodes; see :meth:`OffPolicyAgent.on_interruption`."""
        super().on_interruption()
        self.return_scale.interrupt()

    def batch_rewards(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return rewards in the scale in which no return exceeds ``value_limit``."""
        return super().batch_rewards(rewards) * self.return_scale.factor()

    # ------------------------------------------------------------------ learning

    def judge(self, critic: Any, states: TensorDict, actions: TensorDict) -> torch.Tensor:
        """Return the critics' mean values, ``(B, critics)``."""
        return self.distribution.expected(self.judge_distribution(critic, states, actions))

    def judge_distribution(self, critic: Any, states: TensorDict, actions: TensorDict) -> torch.Tensor:
        """Return the critics' logits, ``(B, critics, atoms)``."""
        return self.critic_outputs(critic, states, actions)["logits"].float()

    @torch.no_grad()
    def target_distribution(self, batch: Transitions) -> torch.Tensor:
        """Return how the returns of a batch are distributed by the target critics, ``(B, atoms)``."""
        actions, log_prob = self.drawn(batch.next_states)
        logits = self.judge_distribution(self.target_critic, batch.next_states, actions)
        lowest = self.distribution.expected(logits).argmin(dim=1)
        chosen = torch.softmax(logits[torch.arange(len(logits), device=logits.device), lowest], dim=-1)
        offsets = batch.rewards - batch.discounts * self.temperature() * self.in_places(log_prob)
        return self.distribution.projected(chosen, offsets, batch.discounts)

    def learn_critic(self, batch: Transitions) -> None:
        """Take a step of the critics towards the target's distribution."""
        targets = self.target_distribution(batch)
        logits = self.judge_distribution(self.critic, batch.states, batch.actions)
        losses = self.distribution.cross_entropy(logits, targets)
        loss = batch.mean(losses.sum(dim=1, keepdim=True))
        self.track("gradient/critic", self.critic_optimizer.descend(loss))
        self.last_loss = loss.detach()
        with torch.no_grad():
            values, wanted = self.distribution.expected(logits), targets @ self.distribution.values
            self.take_notice(batch, values - wanted.unsqueeze(1))
            self.track("loss/critic", loss)
            self.track("value/mean", values.mean())
            self.track("value/target", wanted.mean())
