"""Proximal policy optimisation."""

from typing import Dict

import torch

from AquaML.learning.model.base import ModelOutput
from AquaML.learning.reinforcement.on_policy.actor_critic import ActorCriticAgent
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.ppo_cfg import PPOCfg

__all__ = ["PPO", "PPOCfg"]


class PPO(ActorCriticAgent):
    """Proximal policy optimisation with a clipped ratio (Schulman et al., 2017, arXiv:1707.06347).

    Every ``rollouts`` vector steps the rollout is valued, advantages are estimated, and the networks take
    ``learning_epochs`` passes over it in random minibatches.

    To change the algorithm, override one of :meth:`policy_loss`, :meth:`value_loss`, :meth:`extra_losses`,
    :meth:`augment` and :meth:`rollout_rewards`.

    Args:
        models: ``"policy"``, a distribution, and ``"value"``; the same object under both names is a shared network
            whose ``compute`` also returns ``"values"``.
        cfg: The configuration; None: defaults.
    """

    config_class = PPOCfg
    cfg: PPOCfg

    def passes(self) -> int:
        """Return ``learning_epochs``."""
        return self.cfg.learning_epochs

    def has_learned_enough(self, measured: Dict[str, torch.Tensor]) -> bool:
        """Return whether the mean divergence exceeds ``kl_threshold``; one read from the device where there is one."""
        return self.cfg.kl_threshold is not None and float(measured["policy/kl"]) > self.cfg.kl_threshold

    def policy_loss(self, minibatch: Batch, evaluated: ModelOutput) -> torch.Tensor:
        """Return the clipped surrogate, negated for descent; see :meth:`ActorCriticAgent.policy_loss`."""
        clip = self.cfg.ratio_clip
        ratio = torch.exp(evaluated["log_prob"] - minibatch.log_prob)
        surrogate = ratio * minibatch.advantages
        clipped = ratio.clamp(1.0 - clip, 1.0 + clip) * minibatch.advantages
        return -torch.min(surrogate, clipped).mean()

    def value_loss(self, minibatch: Batch, values: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error, pessimistic where clipping is on; see :meth:`ActorCriticAgent.value_loss`."""
        clip = self.cfg.value_clip
        if clip is None:
            return super().value_loss(minibatch, values)
        error = (values - minibatch.returns).square()
        near = minibatch.values + (values - minibatch.values).clamp(-clip, clip)
        return torch.max(error, (near - minibatch.returns).square()).mean()

    def diagnose(self, minibatch: Batch, evaluated: ModelOutput) -> Dict[str, torch.Tensor]:
        """Add the share of ratios beyond the clip range."""
        ratio = torch.exp(evaluated["log_prob"] - minibatch.log_prob)
        clipped = ((ratio - 1.0).abs() > self.cfg.ratio_clip).float().mean()
        return dict(super().diagnose(minibatch, evaluated), **{"policy/clip_fraction": clipped})
