"""Ways to step many environments at once, behind one small interface."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "VectorBackend": "AquaML.environment.vectorization.backend",
        "SyncVector": "AquaML.environment.vectorization.sync",
        "ShardedVector": "AquaML.environment.vectorization.sharded",
        "EnvPoolVector": "AquaML.environment.vectorization.envpool",
        "VectorAdapter": "AquaML.environment.vectorization.adapter",
    },
)
