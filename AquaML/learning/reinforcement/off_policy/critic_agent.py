"""What agents share that learn a policy through critics of continuous actions."""

import abc
from typing import Any, Mapping, Optional, Sequence, Tuple

import torch

from AquaML.environment.action_transform import policy_specs
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.reinforcement.base import TensorDict
from AquaML.learning.reinforcement.off_policy.action_ranges import ActionRanges
from AquaML.learning.reinforcement.off_policy.base import OffPolicyAgent
from AquaML.learning.reinforcement.off_policy.critic_agent_cfg import CriticAgentCfg
from AquaML.learning.reinforcement.off_policy.network_optimizer import trainable_parameters
from AquaML.learning.reinforcement.off_policy.transitions import Transitions


class CriticAgent(OffPolicyAgent):
    """Learns a critic from targets, and a policy from the critic.

    The critic is one model that reads observations and actions by name and returns ``"values"`` ``(B, critics)``: as
    many estimates as it likes, of which targets and policy take the smallest (Fujimoto et al., 2018). It sees actions
    as places in their range, -1 … 1.

    Args:
        models: ``"policy"`` and ``"critic"``.
        cfg: The configuration; None: defaults.
    """

    config_class = CriticAgentCfg
    cfg: CriticAgentCfg
    required_models = ("policy", "critic")
    target_roles: Sequence[str] = ("critic",)
    action_readers = ("critic",)
    action_ranges: ActionRanges

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[CriticAgentCfg] = None) -> None:
        super().__init__(models, cfg)
        self.policy: Any = self.models["policy"]
        self.critic, self.target_critic = self.models["critic"], self.models["target_critic"]
        self.check_policy()
        rate = self.cfg.learning_rate
        self.critic_optimizer = self.add_optimizer(
            "critic", [{"params": trainable_parameters(self.critic), "lr": _first(self.cfg.critic_learning_rate, rate)}]
        )
        self.policy_optimizer = self.add_optimizer("policy", self.policy_groups())

    def check_policy(self) -> None:
        """Check that the policy is of a kind that this agent can learn.

        Raises:
            AgentError: It is not.
        """

    def policy_groups(self) -> Any:
        """Return the parameter groups that descend the policy's loss."""
        rate = _first(self.cfg.policy_learning_rate, self.cfg.learning_rate)
        return [{"params": trainable_parameters(self.policy), "lr": rate}]

    def _bind_policy(self, actions: Any, action_bounds: str) -> None:
        super()._bind_policy(actions, action_bounds)
        specs = policy_specs(actions.specs, action_bounds)
        target: Any = self.models.get("target_policy")
        if hasattr(target, "bind_actions"):
            target.bind_actions(specs)
        self.action_ranges = ActionRanges(specs, type(self).__name__, self.device)

    # ------------------------------------------------------------------ critics

    def judge(self, critic: Any, states: TensorDict, actions: TensorDict) -> torch.Tensor:
        """Return what a critic thinks of actions, ``(B, critics)``.

        Args:
            critic: The learned or the target critic.
            states: Normalised observations.
            actions: Actions by name, in their own units.
        """
        return self.critic_outputs(critic, states, actions)["values"]

    def critic_outputs(self, critic: Any, states: TensorDict, actions: TensorDict) -> ModelOutput:
        """Return everything that a critic says of actions."""
        return critic.outputs(critic.select_inputs(self.critic_inputs(states, actions)))

    def critic_inputs(self, states: TensorDict, actions: TensorDict) -> TensorDict:
        """Return what critics read: observations, and actions as places in -1 … 1."""
        return dict(states, **self.action_ranges.to_symmetric(actions))

    def check_models(self, states: TensorDict, actions: TensorDict) -> None:
        """Try policy and critics; see :meth:`OffPolicyAgent.check_models`."""
        drawn = self.name_actions(self.policy.act_deterministic(self.policy.select_inputs(states))["actions"])
        self.check_critic(self.critic.outputs(dict(states, **drawn)))

    def check_critic(self, outputs: ModelOutput) -> None:
        """Check what the critic said of two rows.

        Raises:
            ModelError: An output is missing or has a wrong shape.
        """
        self.critic.require_output(outputs, "values", (2, None))

    def learn(self, batch: Transitions) -> None:
        """Take a step of the critic, now and then of the policy, and move the targets."""
        self.learn_critic(batch)
        if self.count.gradient_steps % self.cfg.policy_interval == 0:
            self.learn_policy(batch)
            self.move_targets()

    def learn_critic(self, batch: Transitions) -> None:
        """Take a step of the critic towards its targets."""
        with torch.no_grad():
            targets = batch.rewards + batch.discounts * self.next_values(batch)
        values = self.judge(self.critic, batch.states, batch.actions)
        errors = values - targets
        loss = self.critic_loss(batch, errors)
        self.track("gradient/critic", self.critic_optimizer.descend(loss))
        self.take_notice(batch, errors)
        self.last_loss = loss.detach()
        self.track("loss/critic", loss)
        self.track("value/mean", values.detach().mean())
        self.track("value/target", targets.mean())

    def critic_loss(self, batch: Transitions, errors: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error, summed over critics, shape ``()``.

        Args:
            batch: The rows.
            errors: Values less targets, ``(B, critics)``.
        """
        return (0.5 * errors.shape[1]) * batch.mean(errors.square())

    @abc.abstractmethod
    def next_values(self, batch: Transitions) -> torch.Tensor:
        """Return what the successors are worth by the target critic, ``(B, 1)``."""

    @abc.abstractmethod
    def learn_policy(self, batch: Transitions) -> None:
        """Take a step of the policy."""

    def drawn(self, states: TensorDict) -> Tuple[TensorDict, torch.Tensor]:
        """Return actions of the present policy by name, with gradients, and their log-probability ``(B, 1)``.

        Args:
            states: Normalised observations.
        """
        outputs = self.policy.outputs(self.policy.select_inputs(states))
        parameters = self.policy.parameters_of(outputs, len(next(iter(states.values()))))
        actions, log_prob = self.policy.sample_with_log_prob(parameters)
        return self.name_actions(actions), log_prob


def smallest(values: torch.Tensor) -> torch.Tensor:
    """Return the smallest of several critics' values, ``(B, 1)``."""
    return values if values.shape[1] == 1 else values.amin(dim=1, keepdim=True)


def _first(own: Optional[float], common: float) -> float:
    return common if own is None else own
