"""What every agent's configuration has."""

import dataclasses

from AquaML.config import Config, option


@dataclasses.dataclass
class AgentCfg(Config):
    """Base of all agents' configurations."""

    device: str = option("auto")
    """``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:<index>"`` or ``"mps"``; ``"auto"`` follows the models' device."""

    non_finite: str = option("raise", choices=("raise", "skip", "rollback"))
    """What happens when NaN or infinity appears in observations, rewards, actions, values, losses or gradients, before
    anything has changed by it. ``"raise"`` ends training. ``"skip"`` leaves out the minibatch, or the rollout and every
    running episode, and goes on. ``"rollback"`` goes on from the newest checkpoint's weights, with new episodes."""
