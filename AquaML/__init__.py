"""AquaML: object-oriented reinforcement learning for robots, on PyTorch.

Importing this package loads neither torch nor gymnasium; names are loaded when first used.
"""

from AquaML._lazy import lazy_attributes

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Coordinator": "AquaML.coordinator.coordinator",
        "check_agent": "AquaML.learning.reinforcement.checker",
        "check_env": "AquaML.environment.checker",
        "default_coordinator": "AquaML.coordinator.coordinator",
        "default_models": "AquaML.learning.model.ready_made",
        "seed_everything": "AquaML.coordinator.random_state",
    },
)
