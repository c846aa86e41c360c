"""Configuration of a trainer."""

import dataclasses
from typing import Optional, Union

from AquaML.config import Config, option
from AquaML.errors import ConfigError


@dataclasses.dataclass
class TrainerConfig(Config):
    """How long to train, what to log, when to evaluate, save and stop."""

    timesteps: int = option(100_000, at_least=1)
    """Length of training in vector steps, in each of which every environment makes one step; also the length of
    ``eval()`` unless that is given a number of episodes."""

    seed: Optional[int] = option(None, at_least=0, at_most=2**32 - 1)
    """Seed of environments and exploration; weights are drawn before, so call ``AquaML.seed_everything`` for them.
    None: the streams go on as they are."""

    headless: bool = option(True)
    """False: every step is rendered."""

    disable_progressbar: bool = option(False)
    """True: no progress bar."""

    stochastic_evaluation: bool = option(False)
    """True: evaluations draw actions; False: they take the likeliest."""

    evaluation_interval: int = option(0, at_least=0)
    """Vector steps between evaluations during training; 0: none."""

    evaluation_episodes: int = option(10, at_least=1)
    """Episodes of each evaluation during training."""

    checkpoint_interval: int = option(10_000, at_least=0)
    """Vector steps between periodic checkpoints; 0: only the last and the best are saved."""

    keep_checkpoints: int = option(3, at_least=1)
    """Number of periodic checkpoints kept; the last and the best stay besides."""

    on_save_error: str = option("warn", choices=("warn", "raise"))
    """What happens when a checkpoint cannot be written, for example because the disk is full: ``"warn"`` goes on and
    tries again at the next occasion, ``"raise"`` ends training. The first and the last checkpoint always raise."""

    log_interval: Optional[int] = option(None, at_least=1)
    """Vector steps between rows of figures; None: a row after every update of the agent."""

    stop_return: Optional[float] = option(None)
    """Mean episode return at which training ends: that of evaluations if there are any, else of training episodes."""

    stop_seconds: Optional[float] = option(None, above=0.0)
    """Wall time after which ``train()`` ends, in seconds; the step under way is finished."""

    run_directory: str = option("runs")
    """Where run folders are collected."""

    run_name: Optional[str] = option(None)
    """Name of the run folder; None: ``<time>_<agent>_<environment>``."""

    resume: Union[bool, str] = option(False)
    """True: go on with the newest run of this agent and environment in ``run_directory``, or begin one if there is
    none. A path: go on with that run folder or checkpoint file of a run."""

    learning_curve: bool = option(True)
    """Whether a picture of the learning curve is drawn at the end."""

    tensorboard: bool = option(True)
    """Whether figures go to TensorBoard files too, if the package tensorboard is installed."""

    wandb: bool = option(False)
    """Whether figures go to Weights & Biases too."""

    wandb_project: str = option("AquaML")
    """The project there."""

    system_monitor: bool = option(True)
    """Whether memory of the process and load of the GPU are among the figures."""

    def check_relations(self) -> None:
        """Names and paths must not be empty."""
        for name in ("run_directory", "run_name", "wandb_project", "resume"):
            if getattr(self, name) == "":
                self.fail(name, "a name that is not empty")
        if self.stop_return is not None and abs(self.stop_return) == float("inf"):
            raise ConfigError("TrainerConfig.stop_return is {!r}; expected a finite return.".format(self.stop_return))
