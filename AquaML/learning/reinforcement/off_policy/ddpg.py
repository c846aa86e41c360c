"""Deep deterministic policy gradient (Lillicrap et al., 2016, "Continuous control with deep RL")."""

from typing import Any, Mapping, Optional

import torch

from AquaML.errors import AgentError
from AquaML.learning.model.stochastic import StochasticModel
from AquaML.learning.reinforcement.base import TensorDict
from AquaML.learning.reinforcement.off_policy.critic_agent import CriticAgent, smallest
from AquaML.learning.reinforcement.off_policy.ddpg_cfg import DDPGCfg
from AquaML.learning.reinforcement.off_policy.noise import CorrelatedNoise
from AquaML.learning.reinforcement.off_policy.transitions import Transitions
from AquaML.stateful import RUN


class DDPG(CriticAgent):
    """Learns a policy without chance along the critic's slope; noise tries actions.

    With ``mu`` the policy and primes for the target networks::

        target      = r + gamma (1 - terminated) Q'(s', mu'(s'))
        policy loss = -Q(s, mu(s))

    Args:
        models: ``"policy"``, which is no distribution, and ``"critic"``.
        cfg: The configuration; None: defaults.
    """

    config_class = DDPGCfg
    cfg: DDPGCfg
    target_roles = ("critic", "policy")

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[DDPGCfg] = None) -> None:
        super().__init__(models, cfg)
        self.target_policy = self.models["target_policy"]
        self.noise: Optional[CorrelatedNoise] = None
        if self.cfg.noise_correlation > 0.0:
            self.noise = CorrelatedNoise(self.cfg.noise_correlation)
            self.register_part("noise", self.noise, RUN)

    def check_policy(self) -> None:
        """Accept policies without chance."""
        if isinstance(self.policy, StochasticModel):
            raise AgentError(
                "{}: the policy is a {}, a distribution; expected a DeterministicModel, whose actions are the same for "
                "the same observation.".format(type(self).__name__, type(self.policy).__name__)
            )

    # ------------------------------------------------------------------ acting

    def choose_actions(self, states: TensorDict, timestep: int, timesteps: int) -> Any:
        """Return the policy's actions, in training with noise; see :meth:`OffPolicyAgent.choose_actions`."""
        actions = self.actions_of(self.policy, states)
        if not self.explores:
            return actions
        return self.disturbed(actions, self.noise_deviation(timestep, timesteps))

    def noise_deviation(self, timestep: int, timesteps: int) -> float:
        """Return the standard deviation of the noise at a vector step, in half widths."""
        first, last = self.cfg.exploration_noise, self.cfg.final_exploration_noise
        return first + (last - first) * min(1.0, timestep / max(1, timesteps))

    def disturbed(self, actions: TensorDict, deviation: float, clip: Optional[float] = None) -> TensorDict:
        """Return actions with noise, within their range.

        Args:
            actions: By name, ``(B, *shape)``.
            deviation: Standard deviation of the noise in half widths.
            clip: Largest noise in half widths; None: unlimited. Noise that is clipped is never correlated.
        """
        return self.action_ranges.moved(
            actions, {name: self._noise_like(name, values, deviation, clip) for name, values in actions.items()}
        )

    def _noise_like(self, name: str, values: torch.Tensor, deviation: float, clip: Optional[float]) -> torch.Tensor:
        noise = torch.randn_like(values)
        if clip is not None:
            return (noise * deviation).clamp_(-clip, clip)
        return (noise if self.noise is None else self.noise.follow(name, noise)) * deviation

    def on_reset(self, mask: torch.Tensor) -> None:
        """Begin the noise anew where episodes begin."""
        if self.noise is not None and self.is_training:
            self.noise.reset(mask)

    def actions_of(self, policy: Any, states: TensorDict) -> TensorDict:
        """Return a policy's actions by name."""
        return self.name_actions(policy.act(policy.select_inputs(states))["actions"])

    # ------------------------------------------------------------------ learning

    def next_values(self, batch: Transitions) -> torch.Tensor:
        """Return what the successors are worth under the target policy, ``(B, 1)``."""
        actions = self.target_actions(batch.next_states)
        return smallest(self.judge(self.target_critic, batch.next_states, actions))

    def target_actions(self, states: TensorDict) -> TensorDict:
        """Return the actions with which targets go on; those of the target policy."""
        return self.actions_of(self.target_policy, states)

    def learn_policy(self, batch: Transitions) -> None:
        """Take a step of the policy along the first critic's slope."""
        actions = self.actions_of(self.policy, batch.states)
        loss = -batch.mean(self.first_values(batch.states, actions))
        self.track("gradient/policy", self.policy_optimizer.descend(loss))
        self.track("loss/policy", loss)

    def first_values(self, states: TensorDict, actions: TensorDict) -> torch.Tensor:
        """Return what the first critic thinks of actions, ``(B, 1)``.

        A critic model that defines ``compute_first`` is spared the others, and so is the backward pass.

        Args:
            states: Normalised observations.
            actions: Actions by name, in their own units.
        """
        compute_first = getattr(self.critic, "compute_first", None)
        if compute_first is None:
            return self.judge(self.critic, states, actions)[:, :1]
        return compute_first(self.critic.select_inputs(self.critic_inputs(states, actions)))
