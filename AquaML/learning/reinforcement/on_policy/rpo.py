"""Robust policy optimisation."""

from typing import Any, Dict, Mapping, Optional, Tuple

import torch

from AquaML.errors import AgentError
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.model.gaussian import GaussianModel
from AquaML.learning.model.stochastic import Parameters
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.ppo import PPO
from AquaML.learning.reinforcement.on_policy.rpo_cfg import RPOCfg

__all__ = ["RPO", "RPOCfg"]


class RPO(PPO):
    """Robust policy optimisation (Rahman and Xue, 2022, arXiv:2212.07536): PPO that does not stop to explore.

    When the update judges the stored actions, the mean of the Gaussian policy is moved by a uniform random number in
    every dimension, drawn anew for each minibatch. The policy then has to be good for a neighbourhood of means. Acting
    is that of PPO.

    Args:
        models: ``"policy"``, a :class:`GaussianModel`, and ``"value"``.
        cfg: The configuration; None: defaults.

    Raises:
        AgentError: The policy is no Gaussian.
    """

    config_class = RPOCfg
    cfg: RPOCfg

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[RPOCfg] = None) -> None:
        super().__init__(models, cfg)
        if not isinstance(self.policy, GaussianModel):
            raise AgentError(
                "RPO moves the mean of a Gaussian policy, but the policy is a {}; use PPO, or a GaussianModel.".format(
                    type(self.policy).__name__
                )
            )

    def evaluate(self, minibatch: Batch) -> Tuple[ModelOutput, torch.Tensor]:
        """Judge the stored actions by a policy whose mean is moved; see :meth:`ActorCriticAgent.evaluate`."""
        evaluated, values = super().evaluate(minibatch)
        if not self.cfg.perturbation:
            return evaluated, values
        moved = self._moved({name: evaluated[name] for name in minibatch.parameters})
        actions = next(iter(minibatch.actions.values()))
        return dict(evaluated, log_prob=self.policy.log_prob(moved, actions)), values

    def _moved(self, parameters: Parameters) -> Dict[str, torch.Tensor]:
        mean = parameters["mean_actions"]
        offset = torch.empty_like(mean).uniform_(-self.cfg.perturbation, self.cfg.perturbation)
        return dict(parameters, mean_actions=mean + offset)
