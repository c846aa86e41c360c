"""Where a run lives: device, random state, run folder, checkpoints."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Coordinator": "AquaML.coordinator.coordinator",
        "default_coordinator": "AquaML.coordinator.coordinator",
        "read_checkpoint": "AquaML.coordinator.checkpoint_format",
        "resolve_device": "AquaML.coordinator.device",
        "seed_everything": "AquaML.coordinator.random_state",
        "set_default_coordinator": "AquaML.coordinator.coordinator",
        "write_checkpoint": "AquaML.coordinator.checkpoint_format",
    },
)
