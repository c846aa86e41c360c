"""Deep Q-network (Mnih et al., 2015), with double Q-learning (van Hasselt et al., 2016)."""

from typing import Any, Mapping, Optional

import torch
from torch.nn import functional

from AquaML.environment.spaces import DISCRETE
from AquaML.errors import AgentError
from AquaML.learning.reinforcement.base import TensorDict
from AquaML.learning.reinforcement.exploration import epsilon_greedy, exploration_chance
from AquaML.learning.reinforcement.off_policy.base import OffPolicyAgent
from AquaML.learning.reinforcement.off_policy.dqn_cfg import DQNCfg
from AquaML.learning.reinforcement.off_policy.network_optimizer import trainable_parameters
from AquaML.learning.reinforcement.off_policy.transitions import Transitions


class DQN(OffPolicyAgent):
    """Learns what each of some actions is worth, and takes the best one.

    With ``Q'`` the target network::

        target = r + gamma (1 - terminated) Q'(s', argmax_a Q(s', a))
        loss   = Huber(Q(s, a) - target)

    and with ``double=False``, as published first, the argmax over ``Q'``.

    Args:
        models: ``"q_network"``, a model whose ``"values"`` are ``(B, categories)``.
        cfg: The configuration; None: defaults.
    """

    config_class = DQNCfg
    cfg: DQNCfg
    required_models = ("q_network",)
    target_roles = ("q_network",)
    acting_role = "q_network"

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[DQNCfg] = None) -> None:
        super().__init__(models, cfg)
        self.q_network, self.target_q_network = self.models["q_network"], self.models["target_q_network"]
        self.optimizer = self.add_optimizer(
            "q_network", [{"params": trainable_parameters(self.q_network), "lr": self.cfg.learning_rate}]
        )
        self.categories = 0

    def _bind_policy(self, actions: Any, action_bounds: str) -> None:
        specs = actions.specs
        if len(specs) != 1 or next(iter(specs.values())).kind != DISCRETE:
            raise AgentError(
                "{} learns one Discrete action, but the actions are {}. Use PPO or A2C, or SAC and TD3 where all are "
                "bounded real numbers.".format(type(self).__name__, {name: spec.kind for name, spec in specs.items()})
            )
        self.categories = next(iter(specs.values())).sizes[0]

    def check_models(self, states: TensorDict, actions: TensorDict) -> None:
        """Try the network; see :meth:`OffPolicyAgent.check_models`."""
        outputs = self.q_network.outputs(self.q_network.select_inputs(states))
        self.q_network.require_output(outputs, "values", (2, self.categories))

    # ------------------------------------------------------------------ acting

    def choose_actions(self, states: TensorDict, timestep: int, timesteps: int) -> torch.Tensor:
        """Return the best actions, in training random ones now and then; see :meth:`OffPolicyAgent.choose_actions`."""
        best = self.action_values(self.q_network, states).argmax(dim=1, keepdim=True)
        if not self.explores:
            return best
        chance = self.exploration(timestep, timesteps)
        self.track("policy/exploration", chance)
        return epsilon_greedy(best, self.categories, chance)

    def exploration(self, timestep: int, timesteps: int) -> float:
        """Return the chance of a random action at a vector step."""
        return exploration_chance(self.cfg, timestep, timesteps)

    def action_values(self, network: Any, states: TensorDict) -> torch.Tensor:
        """Return what a network thinks all actions are worth, ``(B, categories)``.

        Args:
            network: The learned or the target network.
            states: Normalised observations.
        """
        return network.outputs(network.select_inputs(states))["values"]

    # ------------------------------------------------------------------ learning

    def learn(self, batch: Transitions) -> None:
        """Take a step of the network, and move its target."""
        with torch.no_grad():
            targets = batch.rewards + batch.discounts * self.next_values(batch.next_states)
        taken = next(iter(batch.actions.values()))
        values = self.action_values(self.q_network, batch.states).gather(1, taken)
        # Huber's loss: the gradient of one surprise is at most that of an error of 1.
        loss = batch.mean(functional.smooth_l1_loss(values, targets, reduction="none"))
        self.track("gradient/q_network", self.optimizer.descend(loss))
        self.take_notice(batch, values - targets)
        self.last_loss = loss.detach()
        self.track("loss/q_network", loss)
        self.track("value/mean", values.detach().mean())
        self.track("value/target", targets.mean())
        self.move_targets()

    def next_values(self, states: TensorDict) -> torch.Tensor:
        """Return what the successors are worth, ``(B, 1)``.

        Args:
            states: Normalised observations of the successors.
        """
        values = self.action_values(self.target_q_network, states)
        chooser = self.action_values(self.q_network, states) if self.cfg.double else values
        return values.gather(1, chooser.argmax(dim=1, keepdim=True))
