"""Reading weights that ``torch.save`` wrote, without running code hidden in the file."""

import pickle
from pathlib import Path
from typing import Any, Mapping, Union

import torch
from loguru import logger

from AquaML.compat import safe_load_available
from AquaML.errors import CheckpointError, CheckpointNotFoundError


def read_torch_weights(path: Union[str, Path]) -> Mapping[str, Any]:
    """Return the dictionary that a file of ``torch.save`` holds, and warn that nothing else is checked.

    Args:
        path: The file.

    Raises:
        CheckpointError: This torch cannot read such files safely, the file is missing or damaged, or it holds more
            than tensors.
    """
    if not safe_load_available():
        raise CheckpointError(
            "torch {} cannot read foreign files without running code hidden in them; use 1.13 or newer.".format(
                torch.__version__
            )
        )
    if not Path(path).is_file():
        raise CheckpointNotFoundError("There is no file '{}'.".format(path))
    logger.warning("'{}' is no AquaML checkpoint: only model weights are taken, nothing else is checked.", path)
    try:
        content = torch.load(str(path), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise CheckpointError("'{}' holds more than tensors or is damaged: {}".format(path, error)) from error
    if not isinstance(content, Mapping):
        raise CheckpointError("'{}' holds a {}; expected a state_dict.".format(path, type(content).__name__))
    return content
