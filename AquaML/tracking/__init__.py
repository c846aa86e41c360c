"""What people look at: figures, curves and the console."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "CsvSink": "AquaML.tracking.csv_sink",
        "Sink": "AquaML.tracking.sink",
        "TensorBoardSink": "AquaML.tracking.tensorboard_sink",
        "WandbSink": "AquaML.tracking.wandb_sink",
        "draw_learning_curve": "AquaML.tracking.learning_curve",
    },
)
