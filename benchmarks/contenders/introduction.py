"""What every contender says of itself before it is measured."""

from typing import Any, Dict, Iterable

import torch

from benchmarks.specification import Specification


def introduce(
    specification: Specification, settings: Dict[str, Any], parameters: Iterable[torch.nn.Parameter], sizes: Any
) -> Dict[str, Any]:
    """Describe a contender, and make sure that it trains as large a network as all others.

    Args:
        specification: What was asked for.
        settings: The library's settings that were given or that matter.
        parameters: What it trains.
        sizes: Sizes of observation and action.

    Raises:
        ValueError: The networks are not of the size that all contenders must have.
    """
    unique = {id(parameter): parameter.numel() for parameter in parameters if parameter.requires_grad}
    found, expected = sum(unique.values()), specification.parameters(*sizes)
    if found != expected:
        raise ValueError("{} trains {} parameters; expected {}.".format(specification.name, found, expected))
    return {
        "settings": {name: _plain(value) for name, value in settings.items()},
        "parameters": found,
        "observation_size": sizes[0],
        "action_size": sizes[1],
        "torch_threads": torch.get_num_threads(),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
