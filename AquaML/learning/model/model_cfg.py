"""Configuration of a model."""

import dataclasses
from typing import List, Optional

from AquaML.config import Config, option


@dataclasses.dataclass
class ModelCfg(Config):
    """What a model sees and where it lives."""

    device: str = option("auto")
    """``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:<index>"`` or ``"mps"``; ``"auto"`` follows the agent's device."""

    inputs_name: Optional[List[str]] = option(None)
    """Observation keys that the model sees, in this order; None: all of them."""

    concat_dict: bool = option(False)
    """True: ``compute`` gets one float tensor ``(B, features)`` instead of a dictionary: categories one-hot, bytes
    scaled to 0 … 1, everything flattened."""

    def check_relations(self) -> None:
        """Names must be given once each."""
        names = self.inputs_name
        if names is not None and (not names or len(set(names)) != len(names)):
            self.fail("inputs_name", "at least one name and each only once")
