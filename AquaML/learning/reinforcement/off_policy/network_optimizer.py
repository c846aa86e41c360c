"""Gradient steps of one network, guarded against numbers that are not finite."""

import math
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from AquaML.compat import clip_gradient_norm, gradient_scaler
from AquaML.learning.adam import make_adam
from AquaML.learning.finite_guard import SKIP, StepGuard
from AquaML.learning.reinforcement.off_policy.off_policy_cfg import OffPolicyCfg


class NetworkOptimizer:
    """Adam over some parameters; a step touches the gradients of no others.

    Args:
        name: What is learned, for figures and messages: ``"policy"``, ``"critic"`` …
        groups: Parameter groups for Adam.
        cfg: Clipping and what follows numbers that are not finite.
        device: Where the parameters are.
    """

    def __init__(self, name: str, groups: Sequence[Mapping[str, Any]], cfg: OffPolicyCfg, device: torch.device) -> None:
        self.name = name
        self.adam = make_adam([dict(group) for group in groups], device)
        self.parameters = [item for group in self.adam.param_groups for item in group["params"]]
        self._clip = cfg.grad_norm_clip
        self._guard = StepGuard(self.adam, device, gradient_scaler(enabled=False), sticky=cfg.non_finite != SKIP)
        self._steps: List[Tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def descend(self, loss: torch.Tensor) -> torch.Tensor:
        """Take a step, unless the loss or its gradient is not finite; return the gradient's norm, shape ``()``.

        Args:
            loss: Shape ``()``, with its graph.
        """
        for parameter in self.parameters:
            parameter.grad = None
        # Only these: a policy's loss goes through the critic, whose gradients nobody needs.
        loss.backward(inputs=self.parameters)
        norm, norms = clip_gradient_norm(self.parameters, self._clip)
        loss = loss.detach()
        self._guard.step(loss, norm)
        self._steps.append((loss, norm, norms))
        return norm

    def take_faults(self) -> Tuple[int, int]:
        """Return how many steps there were since :meth:`begin`, and how many were left out; one read if any.

        If none was left out, the steps are forgotten.
        """
        steps, faults = len(self._steps), self._guard.faults() if self._steps else 0
        if not faults:
            self._steps = []
        return steps, faults

    def first_fault(self, names: Mapping[int, str]) -> Optional[Dict[str, Any]]:
        """Return ``site``, ``key``, ``value`` and ``step`` of the first step that was not finite.

        Args:
            names: ``id`` of each parameter to its name.
        """
        for step, (loss, norm, norms) in enumerate(self._steps):
            if not math.isfinite(float(loss)):
                return {"site": "loss", "key": self.name, "value": float(loss), "step": step}
            if not math.isfinite(float(norm)):
                present = [names.get(id(item), "?") for item in self.parameters if item.grad is not None]
                wrong = [(name, value) for name, value in zip(present, norms.tolist()) if not math.isfinite(value)]
                key, value = wrong[0] if wrong else ("norm of all", float(norm))
                return {"site": "gradient", "key": key, "value": value, "step": step}
        return None

    def begin(self) -> None:
        """Forget the steps so far."""
        if self._steps:
            self._steps = []
            self._guard.begin()


def trainable_parameters(model: torch.nn.Module) -> List[torch.nn.Parameter]:
    """Return the parameters of a network that are to be learned."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
