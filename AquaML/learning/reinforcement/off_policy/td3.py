"""Twin delayed DDPG (Fujimoto et al., 2018, "Addressing function approximation error in actor-critic methods")."""

from AquaML.learning.reinforcement.base import TensorDict
from AquaML.learning.reinforcement.off_policy.ddpg import DDPG
from AquaML.learning.reinforcement.off_policy.td3_cfg import TD3Cfg


class TD3(DDPG):
    """DDPG with the smaller of two critics, noise on the target's actions, and a policy that learns half as often.

    Args:
        models: ``"policy"``, which is no distribution, and ``"critic"``, best with two values.
        cfg: The configuration; None: defaults.
    """

    config_class = TD3Cfg
    cfg: TD3Cfg

    def target_actions(self, states: TensorDict) -> TensorDict:
        """Return the target policy's actions with clipped noise, so that the critic is smooth around them."""
        return self.disturbed(super().target_actions(states), self.cfg.target_noise, self.cfg.target_noise_clip)
