"""The loop, hooks, evaluation, episode statistics, and experiments from one configuration."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "EpisodeSummary": "AquaML.learning.trainers.evaluation",
        "ExperimentCfg": "AquaML.learning.trainers.experiment_cfg",
        "Hook": "AquaML.learning.trainers.hooks",
        "SequentialTrainer": "AquaML.learning.trainers.sequential",
        "Trainer": "AquaML.learning.trainers.base",
        "TrainerConfig": "AquaML.learning.trainers.trainer_cfg",
        "WindowReturn": "AquaML.learning.trainers.window_return",
        "evaluate": "AquaML.learning.trainers.evaluation",
        "make_trainer": "AquaML.learning.trainers.experiment",
    },
)
