"""Whether weights are fit to be saved as something to go on from."""

from typing import Any, Iterator, List, Tuple

import torch

from AquaML.learning.reinforcement.base import Agent
from AquaML.stateful import WEIGHTS


def not_finite_weights(agent: Agent) -> List[str]:
    """Return the places of an agent's weights that hold NaN or infinity.

    A model's buffer may hold infinity, as a mask or the bounds of a space do; a parameter may not, and nothing NaN.

    Args:
        agent: The agent; its models and normalisers are looked at.
    """
    places = []
    for part in agent.parts:
        if part.role != WEIGHTS:
            continue
        parameters = dict(part.target.named_parameters()) if isinstance(part.target, torch.nn.Module) else {}
        for name, value in _tensors(part.stateful.state_dict(), ""):
            broken = ~torch.isfinite(value) if name in parameters else torch.isnan(value)
            if bool(broken.any()):
                places.append("{}.{}".format(part.name, name))
    return places


def _tensors(value: Any, place: str) -> Iterator[Tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        if value.is_floating_point() or value.is_complex():
            yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(item, "{}.{}".format(place, key) if place else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _tensors(item, "{}[{}]".format(place, index))
