"""The one optimiser of the library: Adam (Kingma and Ba, 2015), with as little as possible around its fused kernel."""

import inspect
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

import torch

from AquaML.compat import adam_arguments


class _Group(NamedTuple):
    parameters: List[torch.Tensor]
    averages: List[torch.Tensor]
    squares: List[torch.Tensor]
    steps: List[torch.Tensor]
    all_steps: torch.Tensor


class FusedAdam(torch.optim.Adam):
    """PyTorch's fused Adam, number for number, whose step costs less for small networks.

    What is to be updated is collected once rather than at every step, and all parameters of a group count their steps
    in one tensor. Where a gradient is missing, the loss is scaled, or options ask for another kernel, the step is
    PyTorch's own.

    Args:
        params: Parameter groups.
        **options: As of ``torch.optim.Adam``, ``fused=True`` among them.
    """

    def __init__(self, params: Iterable[Any], **options: Any) -> None:
        self._groups: List[_Group] = []
        super().__init__(params, **options)

    def __setstate__(self, state: Dict[str, Any]) -> None:
        # Loading and copying give the moments new tensors.
        self._groups = []
        super().__setstate__(state)

    def add_param_group(self, param_group: Dict[str, Any]) -> None:
        """Add parameters; see ``torch.optim.Optimizer``."""
        self._groups = []
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step, unless ``found_inf`` is set to a tensor that is 1."""
        gradients = self._gradients() if closure is None and getattr(self, "grad_scale", None) is None else None
        if gradients is None:
            # Unwrapped, since hooks of a step are called around this method already.
            return inspect.unwrap(torch.optim.Adam.step)(self, closure)
        skip: Optional[torch.Tensor] = getattr(self, "found_inf", None)
        for options, group, values in zip(self.param_groups, self._groups, gradients):
            group.all_steps.add_(1.0)
            torch._fused_adam_(
                group.parameters,
                values,
                group.averages,
                group.squares,
                [],
                group.steps,
                lr=options["lr"],
                beta1=options["betas"][0],
                beta2=options["betas"][1],
                weight_decay=options["weight_decay"],
                eps=options["eps"],
                amsgrad=False,
                maximize=options["maximize"],
                grad_scale=None,
                found_inf=skip,
            )
            if skip is not None:
                group.all_steps.sub_(skip)
        return None

    def _gradients(self) -> Optional[List[List[torch.Tensor]]]:
        """Return the gradients of each group, or None if a step must be PyTorch's own."""
        if not self._groups and not self._collect():
            return None
        gradients = [[parameter.grad for parameter in group.parameters] for group in self._groups]
        return None if any(item is None for values in gradients for item in values) else gradients  # type: ignore

    def _collect(self) -> bool:
        """Find what is to be updated; not before PyTorch's own first step has made the moments."""
        groups = []
        for options in self.param_groups:
            parameters = options["params"]
            kinds = {(item.device, item.dtype) for item in parameters}
            made = all("step" in self.state.get(item, {}) for item in parameters)
            if len(kinds) != 1 or not made or options["amsgrad"] or not options["fused"]:
                return False
            states = [self.state[item] for item in parameters]
            all_steps = torch.stack([state["step"] for state in states])
            for state, step in zip(states, all_steps.unbind()):
                state["step"] = step
            groups.append(
                _Group(
                    parameters,
                    [state["exp_avg"] for state in states],
                    [state["exp_avg_sq"] for state in states],
                    [state["step"] for state in states],
                    all_steps,
                )
            )
        self._groups = groups
        return True


def make_adam(groups: Iterable[Dict[str, Any]], device: torch.device, **options: Any) -> torch.optim.Adam:
    """Return the fastest Adam that this torch offers for a device.

    Args:
        groups: Parameter groups.
        device: Where the parameters are.
        **options: As of ``torch.optim.Adam``.
    """
    arguments = adam_arguments(device)
    kind = FusedAdam if arguments else torch.optim.Adam
    return kind(groups, **arguments, **options)
