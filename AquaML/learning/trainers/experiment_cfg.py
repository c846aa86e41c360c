"""Everything that an experiment is made of, in one configuration that may stand in a file."""

import dataclasses
from pathlib import Path
from typing import Any, List, Optional

from AquaML.config import Config, option
from AquaML.errors import ConfigError
from AquaML.learning.reinforcement.on_policy.ppo_cfg import PPOCfg
from AquaML.learning.trainers.trainer_cfg import TrainerConfig


@dataclasses.dataclass
class NetworksCfg(Config):
    """Ready-made networks, see :func:`~AquaML.learning.model.default_models`."""

    hidden_sizes: List[int] = option(factory=lambda: [64, 64])
    """Width of each hidden layer."""

    activation: str = option("tanh", choices=("tanh", "elu", "relu", "silu", "leaky_relu"))
    """What stands after each hidden layer."""

    shared: bool = option(False)
    """True: policy and value function have a common trunk."""

    initial_log_std: float = option(0.0)
    """Logarithm of the initial standard deviation of Box actions."""

    policy_inputs: Optional[List[str]] = option(None)
    """Observations for the policy; None: all but ``"privileged"`` and what is below it."""

    value_inputs: Optional[List[str]] = option(None)
    """Observations for the value function; None: all."""

    distribution: str = option("gaussian", choices=("gaussian", "multivariate", "squashed", "beta"))
    """Of Box actions: a Gaussian, one with a full covariance, one squashed into the action's bounds, or Beta."""

    state_dependent_std: bool = option(False)
    """True: the network computes standard deviations from the observation; False: they are a free parameter."""

    min_log_std: Optional[float] = option(None)
    """Floor of the logarithm of the standard deviation; None: the distribution's own."""

    max_log_std: Optional[float] = option(None)
    """Cap of the logarithm of the standard deviation; None: the distribution's own."""

    recurrent: Optional[str] = option(None, choices=(None, "gru", "lstm"))
    """Recurrent layer between features and hidden layers; None: no memory."""

    recurrent_size: int = option(64, at_least=1)
    """Number of features of the recurrent layer."""


@dataclasses.dataclass
class ExperimentCfg(Config):
    """Networks, PPO and trainer of an experiment; a plain dictionary, JSON or YAML holds it as well."""

    networks: NetworksCfg = option(factory=NetworksCfg)
    """The networks."""

    agent: PPOCfg = option(factory=PPOCfg)
    """The algorithm's settings."""

    trainer: TrainerConfig = option(factory=TrainerConfig)
    """The trainer's settings; its seed is that of the weights as well."""

    @classmethod
    def of(cls, source: Any) -> "ExperimentCfg":
        """Return an experiment from whatever a registry of tasks holds.

        Args:
            source: An :class:`ExperimentCfg`, a dictionary, the path of a JSON or YAML file, an object with
                ``to_dict()`` (Isaac Lab's ``configclass``), or a class or function that makes one of these.

        Raises:
            ConfigError: It is none of them, or a field is unknown or wrong.
        """
        if isinstance(source, cls):
            return source
        if isinstance(source, dict):
            return cls.from_dict(source)
        if isinstance(source, (str, Path)):
            return cls.load(source)
        if callable(source):
            return cls.of(source())
        if callable(getattr(source, "to_dict", None)):
            return cls.of(source.to_dict())
        raise ConfigError(
            "An experiment cannot be read from {!r}; expected an ExperimentCfg, a dictionary, the path of a JSON or "
            "YAML file, or something that makes one of these.".format(source)
        )
