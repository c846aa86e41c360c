"""What every agent's configuration has."""

import dataclasses

from AquaML.config import Config, option


@dataclasses.dataclass
class AgentCfg(Config):
    """Base of all agents' configurations."""

    device: str = option("auto")
    """``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:<index>"`` or ``"mps"``; ``"auto"`` follows the models' device."""
