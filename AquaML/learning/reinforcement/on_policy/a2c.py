"""Advantage actor-critic."""

import torch

from AquaML.learning.model.base import ModelOutput
from AquaML.learning.reinforcement.on_policy.a2c_cfg import A2CCfg
from AquaML.learning.reinforcement.on_policy.actor_critic import ActorCriticAgent
from AquaML.learning.reinforcement.on_policy.batch import Batch

__all__ = ["A2C", "A2CCfg"]


class A2C(ActorCriticAgent):
    """Advantage actor-critic, synchronous (Mnih et al., 2016, arXiv:1602.01783).

    Every ``rollouts`` vector steps the networks take one pass over the rollout: the policy along the gradient of its
    log-probabilities, weighted by the advantages, the value function towards the returns.

    Args:
        models: ``"policy"``, a distribution, and ``"value"``; the same object under both names is a shared network
            whose ``compute`` also returns ``"values"``.
        cfg: The configuration; None: defaults.
    """

    config_class = A2CCfg
    cfg: A2CCfg

    def policy_loss(self, minibatch: Batch, evaluated: ModelOutput) -> torch.Tensor:
        """Return the policy gradient's loss; see :meth:`ActorCriticAgent.policy_loss`."""
        return -(evaluated["log_prob"] * minibatch.advantages).mean()
