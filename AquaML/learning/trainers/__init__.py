"""The loop, hooks, evaluation and episode statistics."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "EpisodeSummary": "AquaML.learning.trainers.evaluation",
        "Hook": "AquaML.learning.trainers.hooks",
        "SequentialTrainer": "AquaML.learning.trainers.sequential",
        "Trainer": "AquaML.learning.trainers.base",
        "TrainerConfig": "AquaML.learning.trainers.trainer_cfg",
        "evaluate": "AquaML.learning.trainers.evaluation",
    },
)
