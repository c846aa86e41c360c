"""The base class of all agents."""

import abc
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type, Union

import numpy as np
import torch

import AquaML
from AquaML.coordinator.checkpoint_format import Checkpoint, write_checkpoint
from AquaML.coordinator.checkpoint_match import Differences
from AquaML.coordinator.coordinator import default_coordinator
from AquaML.coordinator.device import agree_on_device
from AquaML.environment.action_transform import ActionTransform, policy_specs
from AquaML.environment.base import TensorDict
from AquaML.environment.spaces import (
    OBSERVATION_NAME,
    SpaceLayout,
    TensorSpec,
    check_action_leaves,
    join_names,
    store_leaf,
)
from AquaML.errors import (
    AgentError,
    CheckpointError,
    CheckpointMismatchError,
    EnvironmentContractError,
    StateError,
)
from AquaML.learning.finite_guard import FiniteGuard
from AquaML.learning.model.base import Model, binding_of, rebind
from AquaML.learning.reinforcement.agent_cfg import AgentCfg
from AquaML.learning.reinforcement.agent_checkpoint import (
    AGENT_KIND,
    AGENT_PREFIX,
    RUN_KIND,
    differences_from,
    model_inputs,
    read_agent,
    saved_agent,
    take_over,
)
from AquaML.learning.reinforcement.torch_weights import read_torch_weights
from AquaML.stateful import (
    TRAINING,
    WEIGHTS,
    ModuleState,
    Part,
    collect_states,
    restore_states,
    unregistered_states,
)
from AquaML.tracking.figures import read_figures

__all__ = ["AGENT_KIND", "AGENT_PREFIX", "RUN_KIND", "Agent", "TensorDict"]


class Agent(abc.ABC):
    """What acts and learns.

    A custom agent writes :meth:`act`, :meth:`record_transition` and :meth:`post_interaction`. Everything that must
    survive a restart and is no model is announced by :meth:`register_part`.

    Args:
        models: Role to model, for example ``{"policy": …, "value": …}``.
        cfg: The configuration; None: defaults.

    Raises:
        AgentError: A model or the configuration is of the wrong type.
        ConfigError: A field of the configuration is wrong.
        DeviceError: Models and configuration name different devices, or one that is missing.
    """

    config_class: Type[AgentCfg] = AgentCfg
    """The configuration that this agent takes."""

    required_models: Sequence[str] = ()
    """Roles that must be given."""

    acting_role: str = "policy"
    """Role of the model that chooses actions, and whose observations :meth:`predict` needs."""

    recurrent_roles: Sequence[str] = ()
    """Roles whose model may have a recurrent state, because the agent keeps it."""

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[AgentCfg] = None) -> None:
        self.models: Dict[str, Any] = self._checked_models(models)
        if cfg is not None and not isinstance(cfg, self.config_class):
            raise AgentError(
                "{} expects a {}, got {!r}.".format(type(self).__name__, self.config_class.__name__, type(cfg).__name__)
            )
        self.cfg = (cfg if cfg is not None else self.config_class()).take(type(self).__name__)
        self.finite_guard = FiniteGuard(self.cfg.non_finite)
        self.device = self._choose_device()
        for model in self.models.values():
            model.to(self.device)
        self.num_envs: Optional[int] = None
        self.observation_layout: Optional[SpaceLayout] = None
        self.action_layout: Optional[SpaceLayout] = None
        self.action_bounds = "none"
        self.is_training = True
        self.is_deterministic = False
        self.is_predicting = False
        self._metrics: Dict[str, Tuple[Any, int]] = {}
        self._parts: List[Part] = []
        for role, model in self.models.items():
            if not any(part.target is model for part in self._parts):
                self.register_part(role, model, WEIGHTS)

    # ------------------------------------------------------------------ what a custom agent writes

    @abc.abstractmethod
    def act(self, states: TensorDict, timestep: int, timesteps: int) -> Any:
        """Choose actions.

        Args:
            states: Observation name to ``(num_envs, *shape)`` tensor.
            timestep: Index of this vector step, from 0.
            timesteps: Number of vector steps of the whole run.

        Returns:
            Action name to ``(num_envs, *shape)`` tensor, or that tensor where there is one action.
        """

    @abc.abstractmethod
    def record_transition(
        self,
        states: TensorDict,
        actions: TensorDict,
        rewards: torch.Tensor,
        next_states: TensorDict,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        infos: Dict[str, Any],
        timestep: int,
        timesteps: int,
    ) -> None:
        """Take notice of a step.

        Args:
            states: What :meth:`act` saw.
            actions: What :meth:`act` returned, by name.
            rewards: ``(num_envs, 1)``.
            next_states: The true successors, also where an episode ended.
            terminated: ``(num_envs, 1)`` bool.
            truncated: ``(num_envs, 1)`` bool; never True together with ``terminated``.
            infos: See :class:`~AquaML.environment.base.EnvironmentWrapper`.
            timestep: Index of this vector step, from 0.
            timesteps: Number of vector steps of the whole run.
        """

    @abc.abstractmethod
    def post_interaction(self, timestep: int, timesteps: int) -> None:
        """Learn, if it is time; called after every vector step."""

    # ------------------------------------------------------------------ what a custom agent may override

    def setup(self, env_info: Mapping[str, Any]) -> None:
        """Learn the spaces and the number of environments; called before training and evaluation.

        Calling it again with equal spaces changes nothing.

        Args:
            env_info: ``env.getEnvInfo()``.

        Raises:
            AgentError: The spaces differ from those that the agent was set up or loaded with, or an attribute with
                state is registered nowhere.
            ModelError: A model does not suit the spaces.
        """
        self.bind_spaces(env_info["observation_layout"], env_info["action_layout"], env_info["action_bounds"])
        self.num_envs = int(env_info["num_envs"])
        self.require_registered_state()

    def prepare_training(self) -> None:
        """Allocate what only training needs; called after :meth:`setup`, and again is no error."""

    def on_reset(self, mask: torch.Tensor) -> None:
        """Clear what lives across steps, such as recurrent state, where episodes begin.

        Args:
            mask: ``(num_envs, 1)`` bool, True where an environment was reset.
        """

    def on_interruption(self) -> None:
        """Take notice that the environment was reset from outside, in the middle of episodes."""

    def set_mode(self, training: bool, deterministic: bool = False) -> None:
        """Switch between training and evaluating; the trainer calls this before each loop.

        Args:
            training: Whether what follows is training.
            deterministic: Whether :meth:`act` should leave out chance.
        """
        self.is_training = training
        self.is_deterministic = deterministic
        for model in self.models.values():
            model.train(training)

    # ------------------------------------------------------------------ spaces

    def bind_spaces(self, observations: SpaceLayout, actions: SpaceLayout, action_bounds: str = "none") -> None:
        """Learn the spaces without any environment; :meth:`setup` and :meth:`load` call this.

        Raises:
            AgentError: Other spaces are bound already.
            ModelError: A model does not suit the spaces.
        """
        if self.observation_layout is not None and self.action_layout is not None:
            lines = self.observation_layout.differences(observations) + self.action_layout.differences(actions)
            if lines:
                raise AgentError(
                    "{} was set up for other spaces: {}. Make a new agent for this environment.".format(
                        type(self).__name__, "; ".join(lines)
                    )
                )
            if action_bounds != self.action_bounds:
                self._bind_policy(actions, action_bounds)
            self.action_bounds = action_bounds
            return
        for role, model in self.models.items():
            if isinstance(model, Model):
                model.bind(self.model_specs(role, observations.specs, policy_specs(actions.specs, action_bounds)))
        self._bind_policy(actions, action_bounds)
        self.observation_layout, self.action_layout = observations, actions
        self.action_bounds = action_bounds

    def model_specs(
        self, role: str, observations: Mapping[str, TensorSpec], actions: Mapping[str, TensorSpec]
    ) -> Mapping[str, TensorSpec]:
        """Return what a model may read: the observations.

        Args:
            role: The model's role.
            observations: Observation name to specification.
            actions: Action name to specification, as the policy has to fill it.
        """
        return observations

    def _bind_policy(self, actions: SpaceLayout, action_bounds: str) -> None:
        """Tell the policy the range that it fills, which is -1 … 1 where the wrapper rescales."""
        policy: Any = self.models.get("policy")
        if hasattr(policy, "bind_actions"):
            policy.bind_actions(policy_specs(actions.specs, action_bounds))

    def _unbind_spaces(self) -> None:
        self.observation_layout = self.action_layout = None

    def name_actions(self, actions: Any) -> TensorDict:
        """Return actions by name: a model's ``"actions"``, or what a custom :meth:`act` returned.

        Raises:
            AgentError: Names or shapes do not fit the action space.
        """
        if self.action_layout is None:
            return dict(actions) if isinstance(actions, Mapping) else {"action": actions}
        try:
            return check_action_leaves(self.action_layout.specs, actions, None, "{}.act".format(type(self).__name__))
        except EnvironmentContractError as error:
            raise AgentError(str(error)) from error

    # ------------------------------------------------------------------ device

    def _named_devices(self) -> Dict[str, str]:
        names = {"{}.device".format(type(self.cfg).__name__): self.cfg.device}
        for role, model in self.models.items():
            if isinstance(model, Model):
                names["ModelCfg.device of '{}'".format(role)] = model.model_cfg.device
        return names

    def _choose_device(self) -> torch.device:
        return agree_on_device(self._named_devices()) or default_coordinator().device

    # ------------------------------------------------------------------ metrics

    def track(self, name: str, value: Any) -> None:
        """Report a number; the trainer logs the mean of what was reported since the last log.

        Args:
            name: Name with a group before a ``/``, for example ``"loss/policy"``.
            value: A number, or a tensor of one element that stays on its device until the log is written.
        """
        number = value.detach() if isinstance(value, torch.Tensor) else float(value)
        if isinstance(number, torch.Tensor) and (number.dim() or number.dtype != torch.float32):
            number = number.reshape(()).float()
        total, count = self._metrics.get(name, (0.0, 0))
        self._metrics[name] = (total + number, count + 1)

    @property
    def log_interval(self) -> Optional[int]:
        """Vector steps between rows of figures where the trainer's configuration names none; None: after updates."""
        return None

    @property
    def has_metrics(self) -> bool:
        """Whether anything was tracked since the last log."""
        return bool(self._metrics)

    def pending_metrics(self) -> Dict[str, Union[float, torch.Tensor]]:
        """Return the means of what was tracked, still on the device, and forget it."""
        metrics, self._metrics = self._metrics, {}
        return {name: total / count for name, (total, count) in metrics.items()}

    def collect_metrics(self) -> Dict[str, float]:
        """Return the means of what was tracked as numbers and forget it; one device-to-host transfer."""
        return read_figures(self.pending_metrics())[0]

    def metric_sums(self) -> Dict[str, Any]:
        """Return what was tracked since the last log, for a checkpoint: name to sum and count."""
        return {
            name: {"total": total.clone() if isinstance(total, torch.Tensor) else total, "count": count}
            for name, (total, count) in self._metrics.items()
        }

    def set_metric_sums(self, sums: Mapping[str, Any]) -> None:
        """Take over what :meth:`metric_sums` returned."""
        self._metrics = {
            name: (total.to(self.device).clone() if isinstance(total, torch.Tensor) else total, entry["count"])
            for name, entry in sums.items()
            for total in [entry["total"]]
        }

    # ------------------------------------------------------------------ state

    def register_part(self, name: str, target: Any, role: str = TRAINING) -> None:
        """Announce something that belongs into checkpoints.

        Args:
            name: The part's name, unique within the agent.
            target: A torch module, optimiser or scheduler, a :class:`~AquaML.stateful.Stateful`, or any object with
                ``state_dict`` and ``load_state_dict``.
            role: ``"weights"``, ``"training"`` or ``"run"``; :meth:`save` takes the first two.

        Raises:
            AgentError: The name is taken.
        """
        if any(part.name == name for part in self._parts):
            raise AgentError("{} has a part '{}' already.".format(type(self).__name__, name))
        self._parts.append(Part(name, role, target))

    @property
    def parts(self) -> List[Part]:
        """Everything that checkpoints hold of this agent."""
        return list(self._parts)

    def require_registered_state(self) -> None:
        """Check that no attribute with a state of its own is left out of checkpoints.

        Raises:
            AgentError: Names the attribute and what to do.
        """
        missing = unregistered_states(self, self._parts)
        if missing:
            raise AgentError(
                "{0}.{1} has a state but is in no checkpoint; call self.register_part('{1}', self.{1}) in {0}.__init__ "
                "after super().__init__().".format(type(self).__name__, missing[0])
            )

    @classmethod
    def algorithm(cls) -> str:
        """Return the name of the algorithm; subclasses of an AquaML agent share its name, and so its checkpoints."""
        for base in cls.__mro__:
            if base.__module__.startswith("AquaML."):
                return cls.__name__ if base is Agent else base.__name__
        return cls.__name__

    def metadata(self) -> Dict[str, Any]:
        """Return what a checkpoint says about this agent beside its parts."""
        spaces = None
        if self.observation_layout is not None and self.action_layout is not None:
            spaces = {
                "observations": self.observation_layout.to_dict(),
                "actions": self.action_layout.to_dict(),
                "action_bounds": self.action_bounds,
            }
        return {
            "algorithm": self.algorithm(),
            "agent_class": type(self).__name__,
            "models": {role: type(model).__name__ for role, model in self.models.items()},
            "config": self.cfg.to_dict(),
            "inputs": None if spaces is None else model_inputs(self),
            "spaces": spaces,
            "versions": {"AquaML": AquaML.__version__, "torch": str(torch.__version__)},
        }

    def save(self, path: Union[str, Path]) -> None:
        """Write weights and training state as an AquaML checkpoint, whatever the suffix.

        Raises:
            CheckpointError: The file cannot be written; one already there is unchanged.
            AgentError: An attribute with state is registered nowhere.
        """
        self.require_registered_state()
        metadata = dict(self.metadata(), kind=AGENT_KIND)
        write_checkpoint(path, Checkpoint(metadata, collect_states(self.parts, (WEIGHTS, TRAINING))))

    def load(self, path: Union[str, Path], only: Optional[Sequence[str]] = None) -> None:
        """Read an AquaML checkpoint written by :meth:`save` or by a run.

        Args:
            path: The file.
            only: Names of the parts to take, for a warm start, for example ``["policy"]``; None takes all.

        Raises:
            CheckpointError: The file is missing, damaged, or belongs to another algorithm, architecture or
                environment. The agent is as it was.
        """
        saved = read_agent(path)
        was_bound = self.observation_layout is not None
        before = (self.action_bounds, binding_of(self.models.values()))
        try:
            take_over(self, saved, only)
        except BaseException:
            if not was_bound:
                self._unbind_spaces()
            self.action_bounds, binding = before
            rebind(binding)
            raise

    def compare_metadata(self, metadata: Any, where: str) -> Differences:
        """Compare with what a run's checkpoint says about its agent, beside the parts.

        Raises:
            CheckpointCorruptError: It says nothing of the kind.
        """
        return differences_from(self, saved_agent(metadata, {}, where))

    def import_torch_weights(self, path: Union[str, Path], role: str = "policy") -> None:
        """Take over model weights from a file of ``torch.save``: one model's ``state_dict``, or several by role.

        Only tensors are read, by torch's restricted unpickler; such a file has no digest, spaces or normalisers.

        Args:
            path: The file.
            role: The model to fill when the file holds a single ``state_dict``.

        Raises:
            CheckpointError: This torch cannot read such files safely, or the weights do not fit. The agent is as it
                was.
        """
        content = read_torch_weights(path)
        by_role = {name: state for name, state in content.items() if name in self.models and isinstance(state, Mapping)}
        chosen = by_role or {role: content}
        unknown = [name for name in chosen if name not in self.models]
        if unknown:
            raise CheckpointError("There is no model '{}'; there are {}.".format(unknown[0], join_names(self.models)))
        parts = [Part(name, WEIGHTS, ModuleState(self.models[name])) for name in chosen]
        entries = {name: {"role": WEIGHTS, "state": dict(state)} for name, state in chosen.items()}
        try:
            restore_states(parts, entries, (WEIGHTS,))
        except StateError as error:
            raise CheckpointMismatchError("'{}' does not fit; nothing was loaded: {}".format(path, error)) from error

    # ------------------------------------------------------------------ use without an environment

    def predict(self, observation: Any, begin: bool = False) -> Any:
        """Choose the deterministic action for one observation, as on a robot; no environment is needed.

        A recurrent policy carries its state from call to call; that of training and evaluation is another one.

        Args:
            observation: One unbatched observation in the environment's own form: an array, or a dict of arrays. What
                only the value function reads may be missing.
            begin: Whether an episode begins with this observation, so that what came before is forgotten.

        Returns:
            One action in the environment's own form: an array or number, or a dict or tuple of them.

        Raises:
            EnvironmentContractError: The observation does not fit the space.
        """
        before = (self.is_training, self.is_deterministic)
        self.set_mode(training=False, deterministic=True)
        self.is_predicting = True
        try:
            if begin:
                self.on_reset(torch.ones((1, 1), dtype=torch.bool, device=self.device))
            named = self.name_actions(self.act(self._batch_of_one(observation), 0, 1))
        finally:
            self.is_predicting = False
            self.set_mode(*before)
        arrays = {name: value.detach().cpu().numpy() for name, value in named.items()}
        if self.action_layout is None:
            rows = {name: value[0] for name, value in arrays.items()}
            return next(iter(rows.values())) if len(rows) == 1 else rows
        transform = ActionTransform(self.action_layout, self.action_bounds)
        return transform.row(transform(arrays), 0)

    def _batch_of_one(self, observation: Any) -> TensorDict:
        batch = {}
        if self.observation_layout is None:
            given = observation if isinstance(observation, Mapping) else {OBSERVATION_NAME: observation}
            for name, value in given.items():
                array = np.asarray(value)
                tensor = torch.as_tensor(array, dtype=torch.float32 if array.dtype == np.float64 else None)
                batch[name] = tensor.reshape((1,) + (tuple(tensor.shape) or (1,))).to(self.device)
            return batch
        model, specs = self.models.get(self.acting_role), self.observation_layout.specs
        needed = model.input_names(specs) if isinstance(model, Model) else list(specs)
        for name, value in self.observation_layout.flatten_needed(observation, needed).items():
            spec = specs[name]
            stored = np.zeros((1,) + spec.shape, spec.dtype)
            store_leaf(spec, value, stored[0])
            batch[name] = torch.from_numpy(stored).to(self.device)
        return batch

    def _checked_models(self, models: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
        given = {} if models is None else models
        if not isinstance(given, Mapping):
            raise AgentError(
                "{} expects models as a dict like {{'policy': model}}, got {}.".format(
                    type(self).__name__, type(given).__name__
                )
            )
        for role, model in given.items():
            if not isinstance(model, torch.nn.Module):
                raise AgentError(
                    "{}: models['{}'] is {!r}; expected a Model.".format(
                        type(self).__name__, role, type(model).__name__
                    )
                )
            if getattr(model, "recurrent_state", None) and role not in self.recurrent_roles:
                raise AgentError(
                    "{}: models['{}'] has a recurrent state, which this agent does not keep. Use a model without "
                    "memory, or an agent with memory: PPO, A2C or RPO.".format(type(self).__name__, role)
                )
        missing = [role for role in self.required_models if role not in given]
        if missing:
            raise AgentError(
                "{} needs the models {}; {} is missing, given are {}.".format(
                    type(self).__name__,
                    join_names(self.required_models),
                    join_names(missing),
                    join_names(given) or "none",
                )
            )
        return dict(given)
