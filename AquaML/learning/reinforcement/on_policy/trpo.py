"""Trust region policy optimisation."""

import functools
import math
import operator
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import torch

from AquaML.errors import AgentError, NonFiniteError
from AquaML.learning.model.base import ModelOutput
from AquaML.learning.model.stochastic import Parameters
from AquaML.learning.reinforcement.on_policy.actor_critic import ActorCriticAgent, standardized, trainable_parameters
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.trpo_cfg import TRPOCfg

__all__ = ["TRPO", "TRPOCfg", "conjugate_gradient"]


class TRPO(ActorCriticAgent):
    """Trust region policy optimisation (Schulman et al., 2015, arXiv:1502.05477).

    In each update the policy takes one step along the natural gradient, as long as its divergence from the acting one
    may become, and shortened until it really improves the surrogate. The value function takes ``value_epochs`` passes.

    :meth:`extra_losses` count in the surrogate; :meth:`augment` is asked about the whole rollout and about each
    minibatch of the value function.

    Args:
        models: ``"policy"``, a distribution, and ``"value"``, which must be two models.
        cfg: The configuration; None: defaults.

    Raises:
        AgentError: Policy and value are one model, or share parameters.
    """

    config_class = TRPOCfg
    recurrent_roles = ()
    cfg: TRPOCfg

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[TRPOCfg] = None) -> None:
        super().__init__(models, cfg)
        self._policy_parameters = trainable_parameters(self.policy)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        own = {id(parameter) for parameter in trainable_parameters(self.policy)}
        values = trainable_parameters(self.value)
        if self.shares_model or any(id(parameter) in own for parameter in values):
            raise AgentError(
                "TRPO: policy and value share parameters, but the one follows a trust region and the other an "
                "optimiser; use two models."
            )
        if not own or not values:
            raise AgentError("TRPO: policy and value must both have parameters to learn.")
        return self._adam([{"params": values, "lr": self.cfg.learning_rate, "name": "value"}])

    def passes(self) -> int:
        """Return ``value_epochs``."""
        return self.cfg.value_epochs

    def learn(self, batch: Batch, rows: torch.Tensor) -> None:
        """Take the policy's step, then the value function's passes."""
        whole = batch.select(rows)
        if self.cfg.advantage_normalization != "none":
            whole.advantages = standardized(whole.advantages, whole.advantages)
        for name, value in self._step_policy(self.augment(whole)).items():
            self.track(name, value)
        super().learn(batch, rows)

    def _before_update(self) -> Any:
        return super()._before_update(), self._policy_vector()

    def _undo_update(self, before: Any) -> None:
        """Take back the policy's step too."""
        super()._undo_update(before[0])
        _write(self._policy_parameters, before[1])

    def _policy_vector(self) -> torch.Tensor:
        """Return a copy of the policy's parameters, ``(n,)``."""
        return _flat([parameter.detach() for parameter in self._policy_parameters], self._policy_parameters)

    # ------------------------------------------------------------------ the policy's step

    def _step_policy(self, batch: Batch) -> Dict[str, float]:
        """Move the policy within its trust region; return what was measured.

        Raises:
            NonFiniteError: Surrogate, gradient or curvature is not finite; the policy is as it was.
        """
        surrogate = self._surrogate(batch)
        gradient = _flat(
            torch.autograd.grad(surrogate, self._policy_parameters, allow_unused=True), self._policy_parameters
        )
        norm, before = float(gradient.norm()), float(surrogate.detach())
        curvature = self._curvature(batch)
        direction = conjugate_gradient(curvature, gradient, self.cfg.conjugate_gradient_steps)
        scale = float(direction @ curvature(direction))
        if not all(math.isfinite(number) for number in (norm, before, scale)):
            raise NonFiniteError(
                "The policy's surrogate is {}, its gradient has the norm {}, its curvature is {}; the policy is as it "
                "was. Look for a division, logarithm or root in it.".format(before, norm, scale),
                "gradient",
                "policy",
            )
        measured = {"policy/gradient_norm": norm, "policy/surrogate": before, "policy/kl": 0.0, "policy/step": 0.0}
        if not scale > 0.0:
            # A gradient of zero, or a Fisher matrix that says nothing: there is nowhere to go.
            return measured
        step = direction * (2.0 * self.cfg.max_divergence / scale) ** 0.5
        measured.update(self._search(batch, step, before, float(gradient @ step)))
        return measured

    def _search(self, batch: Batch, step: torch.Tensor, before: float, promised: float) -> Dict[str, float]:
        """Try shorter and shorter steps until one improves enough and stays within the trust region."""
        start, share = self._policy_vector(), 1.0
        for _ in range(self.cfg.line_search_steps):
            _write(self._policy_parameters, start + share * step)
            with torch.no_grad():
                surrogate, divergence = float(self._surrogate(batch)), float(self._divergence(batch))
            enough = surrogate - before >= self.cfg.accepted_share * share * promised
            # Comparisons with NaN are false, so that a policy that has become NaN is taken back.
            if enough and divergence <= self.cfg.max_divergence:
                return {"policy/surrogate": surrogate, "policy/kl": divergence, "policy/step": share}
            share *= self.cfg.line_search_shrinking
        _write(self._policy_parameters, start)
        return {}

    def _surrogate(self, batch: Batch) -> torch.Tensor:
        """Return what the policy's step improves: its losses, negated, shape ``()``."""
        evaluated = self.evaluate_policy(batch)
        losses = [self.policy_loss(batch, evaluated)] + list(self.extra_losses(batch, evaluated).values())
        return -functools.reduce(operator.add, losses)

    def _divergence(self, batch: Batch) -> torch.Tensor:
        """Return the mean divergence of the present policy from the acting one, shape ``()``."""
        return self.policy.kl(batch.parameters, self._parameters_now(batch)).mean()

    def _parameters_now(self, batch: Batch) -> Parameters:
        evaluated = self.evaluate_policy(batch)
        return {name: evaluated[name] for name in batch.parameters}

    def _curvature(self, batch: Batch) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the product with the Fisher matrix of the present policy, damped."""
        parameters = self._parameters_now(batch)
        fixed = {name: value.detach() for name, value in parameters.items()}
        divergence = self.policy.kl(fixed, parameters).mean()
        slopes = torch.autograd.grad(divergence, self._policy_parameters, create_graph=True, allow_unused=True)
        slope = _flat(slopes, self._policy_parameters)

        def product(vector: torch.Tensor) -> torch.Tensor:
            products = torch.autograd.grad(
                slope @ vector, self._policy_parameters, retain_graph=True, allow_unused=True
            )
            return _flat(products, self._policy_parameters) + self.cfg.damping * vector

        return product

    # ------------------------------------------------------------------ the value function's passes

    def _losses(self, minibatch: Batch) -> Tuple[Dict[str, torch.Tensor], Dict[str, torch.Tensor]]:
        values = self.evaluate_values(minibatch)
        return {"loss/value": self.cfg.value_loss_scale * self.value_loss(minibatch, values)}, {}

    def policy_loss(self, minibatch: Batch, evaluated: ModelOutput) -> torch.Tensor:
        """Return the expected advantage, negated; the step does not descend it but follows its natural gradient."""
        return -(torch.exp(evaluated["log_prob"] - minibatch.log_prob) * minibatch.advantages).mean()


def conjugate_gradient(
    product: Callable[[torch.Tensor], torch.Tensor], target: torch.Tensor, steps: int, tolerance: float = 1e-10
) -> torch.Tensor:
    """Solve ``A x = target`` for a symmetric positive definite ``A`` that is known by its products.

    Args:
        product: Returns ``A v`` for ``v``.
        target: ``(n,)``.
        steps: At most how many.
        tolerance: Squared norm of the residual, relative to that of the target, below which no further step is taken.

    Returns:
        ``(n,)``.
    """
    solution, residual = torch.zeros_like(target), target.clone()
    direction, square = target.clone(), target @ target
    smallest = float(square) * tolerance
    for _ in range(steps):
        if float(square) <= smallest:
            break
        image = product(direction)
        along = direction @ image
        if float(along) <= 0.0:
            # A singular matrix does not see this direction; comparisons with NaN are false, so that one is not hidden.
            break
        length = square / along
        solution = solution + length * direction
        residual = residual - length * image
        before, square = square, residual @ residual
        direction = residual + (square / before) * direction
    return solution


def _flat(tensors: Any, like: List[torch.nn.Parameter]) -> torch.Tensor:
    """Return tensors, one for each parameter and None where there is none, as one vector."""
    return torch.cat(
        [
            (torch.zeros_like(parameter) if tensor is None else tensor).reshape(-1)
            for tensor, parameter in zip(tensors, like)
        ]
    )


@torch.no_grad()
def _write(parameters: List[torch.nn.Parameter], vector: torch.Tensor) -> None:
    place = 0
    for parameter in parameters:
        parameter.copy_(vector[place : place + parameter.numel()].reshape(parameter.shape))
        place += parameter.numel()
