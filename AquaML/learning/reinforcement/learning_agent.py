"""What all agents with networks and a memory share: normalised observations, and the environments they train with."""

import abc
import contextlib
from typing import Any, Dict, Iterator, List, Mapping, Optional

import torch

from AquaML.environment.spaces import TensorSpec
from AquaML.errors import AgentError, AquaMLError
from AquaML.learning.model.normalizer import RunningNormalizer
from AquaML.learning.reinforcement.base import Agent, TensorDict
from AquaML.learning.reinforcement.learning_cfg import LearningCfg
from AquaML.learning.reinforcement.observation_normalizers import PART_PREFIX, make_normalizers, normalized
from AquaML.stateful import WEIGHTS


class LearningAgent(Agent):
    """Normalises observations as configured, and knows the environments for which a memory is made.

    Args:
        models: Role to model.
        cfg: The configuration; None: defaults.
    """

    config_class = LearningCfg
    cfg: LearningCfg

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[LearningCfg] = None) -> None:
        super().__init__(models, cfg)
        self.normalizers: Dict[str, RunningNormalizer] = {}
        self._env_info: Dict[str, Any] = {}

    def bind_spaces(self, observations: Any, actions: Any, action_bounds: str = "none") -> None:
        """Learn the spaces and make the observation normalisers."""
        was_bound = self.observation_layout is not None
        super().bind_spaces(observations, actions, action_bounds)
        if was_bound:
            return
        try:
            names = self._input_names(observations.specs)
            self.normalizers = make_normalizers(observations.specs, names, self.cfg, self.device)
        except AquaMLError:
            self._unbind_spaces()
            raise
        for name, normalizer in self.normalizers.items():
            self.register_part(PART_PREFIX + name, normalizer, WEIGHTS)

    def _unbind_spaces(self) -> None:
        super()._unbind_spaces()
        self._parts = [part for part in self._parts if part.target not in self.normalizers.values()]
        self.normalizers = {}

    @abc.abstractmethod
    def _input_names(self, specs: Mapping[str, TensorSpec]) -> List[str]:
        """Return the observations that any model reads, in the space's order."""

    def setup(self, env_info: Mapping[str, Any]) -> None:
        """Learn the spaces; :meth:`prepare_training` then allocates the memory for this many environments."""
        super().setup(env_info)
        self._env_info = dict(env_info)

    def has_memory(self, memory: Any) -> bool:
        """Return whether a memory is there already, made for the environments that :meth:`setup` named.

        Args:
            memory: The memory, with ``num_envs``; None: there is none.

        Raises:
            AgentError: No environment was named yet, or the memory was made for another number of them.
        """
        if self.num_envs is None:
            raise AgentError(
                "{0} does not know the environment yet; call setup(env.getEnvInfo()) before training, or "
                "set_mode(training=False) to act only.".format(type(self).__name__)
            )
        if memory is not None and memory.num_envs != self.num_envs:
            raise AgentError(
                "{} trains with {} environments and cannot go on with {}; make a new agent and load this one's "
                "checkpoint.".format(type(self).__name__, memory.num_envs, self.num_envs)
            )
        return memory is not None

    @contextlib.contextmanager
    def trying_models(self) -> Iterator[None]:
        """Let models be run on made-up rows: without gradients, and without a move of their own running statistics."""
        modules = [module for model in self.models.values() for module in model.modules()]
        modes = [module.training for module in modules]
        try:
            for module in modules:
                module.training = False
            with torch.no_grad():
                yield
        finally:
            for module, mode in zip(modules, modes):
                module.training = mode

    def normalize(self, states: TensorDict) -> TensorDict:
        """Return observations as the models see them; what is not normalised is passed on."""
        return normalized(self.normalizers, states)
