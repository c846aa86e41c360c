"""Storage of what agents learn from."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "FinalObservations": "AquaML.learning.memory.final_observations",
        "ReplayMemory": "AquaML.learning.memory.replay",
        "RolloutMemory": "AquaML.learning.memory.rollout",
        "minibatch_indices": "AquaML.learning.memory.sampling",
    },
)
