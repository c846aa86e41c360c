"""Soft actor-critic (Haarnoja et al., 2018, "Soft actor-critic algorithms and applications")."""

import math
from typing import Any, Dict, List

import torch
from torch import nn

from AquaML.errors import AgentError
from AquaML.learning.model.gaussian import GaussianModel
from AquaML.learning.model.squashed_gaussian import SquashedGaussianModel
from AquaML.learning.model.stochastic import StochasticModel
from AquaML.learning.reinforcement.base import TensorDict
from AquaML.learning.reinforcement.off_policy.critic_agent import CriticAgent, smallest
from AquaML.learning.reinforcement.off_policy.sac_cfg import SACCfg
from AquaML.learning.reinforcement.off_policy.transitions import Transitions


class Temperature(nn.Module):
    """What a nat of entropy is worth in reward, kept positive by its logarithm.

    Args:
        initial: The temperature at first.
    """

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.logarithm = nn.Parameter(torch.full((), math.log(initial)))

    def forward(self) -> torch.Tensor:
        """Return the temperature, shape ``()``, without gradient."""
        return self.logarithm.detach().exp()


class SAC(CriticAgent):
    """Learns a policy that earns reward and stays as random as it can afford.

    With ``alpha`` the temperature, ``a'`` drawn from the policy and the smallest of the target critics::

        target       = r + gamma (1 - terminated) (min Q'(s', a') - alpha log pi(a' | s'))
        policy loss  = alpha log pi(a | s) - min Q(s, a)
        alpha's loss = -log(alpha) (log pi(a | s) + target entropy)

    Args:
        models: ``"policy"``, a squashed Gaussian (or a composite of such), and ``"critic"``.
        cfg: The configuration; None: defaults.
    """

    config_class = SACCfg
    cfg: SACCfg

    def check_policy(self) -> None:
        """Accept distributions on a bounded range whose samples have gradients."""
        policy = self.policy
        parts = list(policy.models.values()) if hasattr(policy, "models") else [policy]
        for part in parts:
            unbounded = isinstance(part, GaussianModel) and not isinstance(part, SquashedGaussianModel)
            if not isinstance(part, StochasticModel) or not part.is_reparameterized or unbounded:
                raise AgentError(
                    "{}: the policy is a {}; expected a SquashedGaussianModel, or a CompositeModel of such: it needs "
                    "actions within bounds, drawn so that gradients flow through them.".format(
                        type(self).__name__, type(part).__name__
                    )
                )

    def policy_groups(self) -> List[Dict[str, Any]]:
        """Return the policy's group, and the temperature's if it learns: one backward pass serves both."""
        groups = super().policy_groups()
        cfg = self.cfg
        self.temperature = Temperature(cfg.initial_temperature).to(self.device)
        self.register_part("temperature", self.temperature)
        if cfg.learn_temperature:
            own = cfg.temperature_learning_rate
            rate = cfg.learning_rate if own is None else own
            groups.append({"params": list(self.temperature.parameters()), "lr": rate})
        return groups

    def choose_actions(self, states: TensorDict, timestep: int, timesteps: int) -> Any:
        """Draw actions, or take the squashed means; see :meth:`OffPolicyAgent.choose_actions`."""
        inputs = self.policy.select_inputs(states)
        if self.is_deterministic:
            return self.policy.act_deterministic(inputs)["actions"]
        outputs = self.policy.outputs(inputs)
        return self.policy.sample(self.policy.parameters_of(outputs, len(next(iter(states.values())))))

    def next_values(self, batch: Transitions) -> torch.Tensor:
        """Return the soft values of the successors, ``(B, 1)``."""
        actions, log_prob = self.drawn(batch.next_states)
        values = self.judge(self.target_critic, batch.next_states, actions)
        return smallest(values) - self.temperature() * self.in_places(log_prob)

    def learn_policy(self, batch: Transitions) -> None:
        """Take a step of policy and temperature."""
        actions, log_prob = self.drawn(batch.states)
        values = smallest(self.judge(self.critic, batch.states, actions))
        temperature, negentropy = self.temperature(), batch.mean(self.in_places(log_prob))
        policy_loss = temperature * negentropy - batch.mean(values)
        total = policy_loss
        if self.cfg.learn_temperature:
            excess = negentropy.detach() + self.target_entropy
            total = policy_loss - self.temperature.logarithm * excess
        self.track("gradient/policy", self.policy_optimizer.descend(total))
        self.track("loss/policy", policy_loss)
        self.track("policy/entropy", -negentropy)
        self.track("policy/temperature", temperature)

    def in_places(self, log_prob: torch.Tensor) -> torch.Tensor:
        """Return log-densities of actions as places in -1 … 1 rather than in their own units.

        A unit of measurement must change neither the temperature nor the entropy that it aims at.

        Args:
            log_prob: ``(B, 1)``.
        """
        shift = self.action_ranges.log_half_widths
        return log_prob + shift if shift else log_prob

    @property
    def target_entropy(self) -> float:
        """The entropy that the temperature aims at, in nats."""
        if self.cfg.target_entropy is not None:
            return self.cfg.target_entropy
        return -float(self.action_ranges.dimensions)
