"""Configuration of a running normaliser."""

import dataclasses
from typing import Optional

from AquaML.config import Config, option


@dataclasses.dataclass
class NormalizerCfg(Config):
    """How one observation key, or the values, are normalised by running mean and variance."""

    frozen: bool = option(False)
    """True: the statistics are used as they are and never updated, for example after a warm start."""

    clip: Optional[float] = option(None, above=0.0)
    """Largest absolute normalised number, in standard deviations; None: unlimited."""

    epsilon: float = option(1e-8, above=0.0)
    """What is added to the variance, so that a constant feature does not divide by zero."""
