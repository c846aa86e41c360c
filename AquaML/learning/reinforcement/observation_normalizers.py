"""The running normalisers of an agent's observations, one per key."""

from typing import Dict, Mapping, Optional, Sequence, Union

import torch

from AquaML.environment.base import TensorDict
from AquaML.environment.spaces import TensorSpec
from AquaML.errors import AgentError, did_you_mean
from AquaML.learning.model.normalizer import RunningNormalizer
from AquaML.learning.model.normalizer_cfg import NormalizerCfg
from AquaML.learning.reinforcement.learning_cfg import LearningCfg

PART_PREFIX = "observation_normalizer/"
"""What a normaliser's part of a checkpoint is called, before its key."""


def make_normalizers(
    specs: Mapping[str, TensorSpec], names: Sequence[str], cfg: LearningCfg, device: torch.device
) -> Dict[str, RunningNormalizer]:
    """Make the normalisers that a configuration asks for.

    Args:
        specs: All observations.
        names: Those that the models read.
        cfg: The agent's configuration.
        device: Where observations live.

    Raises:
        AgentError: The configuration names a key that there is not, or that is no floating-point observation.
    """
    exceptions = cfg.observation_normalizer_by_key
    for name, option in exceptions.items():
        if name not in specs:
            raise AgentError(
                "observation_normalizer_by_key names '{}', which is no observation.{}".format(
                    name, did_you_mean(name, specs)
                )
            )
        if option is not False and not specs[name].is_floating:
            raise AgentError(
                "observation_normalizer_by_key['{}']: the observation is {}; only floating-point observations are "
                "normalised.".format(name, specs[name].dtype)
            )
    normalizers = {}
    for name in names:
        chosen = chosen_normalizer_cfg(exceptions.get(name, cfg.observation_normalizer))
        if chosen is not None and specs[name].is_floating:
            normalizers[name] = RunningNormalizer(specs[name].shape, chosen, device)
    return normalizers


def normalized(normalizers: Mapping[str, RunningNormalizer], states: TensorDict) -> TensorDict:
    """Return observations as the models see them; what is not normalised is passed on."""
    return {
        name: normalizers[name].normalize(value) if name in normalizers else value for name, value in states.items()
    }


def chosen_normalizer_cfg(option: Union[bool, NormalizerCfg]) -> Optional[NormalizerCfg]:
    """Return what an option of a configuration stands for; None: no normaliser."""
    if isinstance(option, NormalizerCfg):
        return option
    return NormalizerCfg() if option else None
