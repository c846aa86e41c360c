"""What all off-policy agents share: warm-up, the replay memory, normalisers, sampling, and the rhythm of updates."""

import abc
import math
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from loguru import logger

from AquaML.environment.action_transform import policy_specs
from AquaML.environment.rows import like_rows
from AquaML.environment.spaces import BOX, TensorSpec
from AquaML.errors import AgentError, NonFiniteError, StorageError
from AquaML.learning.finite_guard import SKIP, Numbers, require_finite
from AquaML.learning.memory.priorities import Priorities
from AquaML.learning.memory.replay import Places, ReplayMemory, rows_for
from AquaML.learning.model.base import Model
from AquaML.learning.reinforcement.base import TensorDict
from AquaML.learning.reinforcement.learning_agent import LearningAgent
from AquaML.learning.reinforcement.off_policy.network_optimizer import NetworkOptimizer
from AquaML.learning.reinforcement.off_policy.off_policy_cfg import OffPolicyCfg
from AquaML.learning.reinforcement.off_policy.target_network import TargetUpdate, frozen_copy
from AquaML.learning.reinforcement.off_policy.transitions import (
    ACTION,
    ENDED,
    NEXT,
    REWARDS,
    STATE,
    TERMINATED,
    VALID,
    Transitions,
    gather_transitions,
)
from AquaML.learning.reinforcement.schedulers import LearningRateSchedule
from AquaML.stateful import RUN, TRAINING, Stateful, require_keys


class StepCount(Stateful):
    """Number of gradient steps taken."""

    def __init__(self) -> None:
        self.gradient_steps = 0

    def state_dict(self) -> Dict[str, Any]:
        """Return the count."""
        return {"gradient_steps": self.gradient_steps}

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check that it is there."""
        require_keys(state, ("gradient_steps",), "step count")

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over the count."""
        self.gradient_steps = int(state["gradient_steps"])


class OffPolicyAgent(LearningAgent):
    """Stores transitions and learns from random batches of them.

    Subclasses write :meth:`choose_actions` and :meth:`learn`, and name what they optimise by :meth:`add_optimizer`.

    Args:
        models: Role to model.
        cfg: The configuration; None: defaults.
    """

    config_class = OffPolicyCfg
    cfg: OffPolicyCfg

    target_roles: Sequence[str] = ()
    """Roles whose models get a slowly following copy under ``"target_" + role``."""

    action_readers: Sequence[str] = ()
    """Roles whose models read actions by name beside the observations."""

    CHECK_INTERVAL = 64
    """Updates between two looks, on an accelerator, at whether a step was not finite; none is taken after it anyway."""

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[OffPolicyCfg] = None) -> None:
        super().__init__(self._with_targets(models), cfg)
        self._require_models()
        self.memory: Optional[ReplayMemory] = None
        self.optimizers: List[NetworkOptimizer] = []
        self.schedulers: List[LearningRateSchedule] = []
        self.count = StepCount()
        self.register_part("count", self.count)
        self._progress = 0.0
        self._unchecked_updates = 0
        self._target_updates = [
            TargetUpdate(self.models["target_" + role], self.models[role], self.cfg.target_smoothing)
            for role in self.target_roles
        ]

    def _require_models(self) -> None:
        for role in self.required_models:
            if not isinstance(self.models[role], Model):
                raise AgentError(
                    "{}: the model '{}' is a {}; expected a Model.".format(
                        type(self).__name__, role, type(self.models[role]).__name__
                    )
                )

    def _with_targets(self, models: Any) -> Any:
        if not isinstance(models, Mapping):
            return models
        given = dict(models)
        for role in self.target_roles:
            if isinstance(given.get(role), torch.nn.Module):
                given["target_" + role] = frozen_copy(given[role])
        return given

    def add_optimizer(self, name: str, groups: Sequence[Mapping[str, Any]]) -> NetworkOptimizer:
        """Make an optimiser, with the configured schedule, and announce both to checkpoints.

        Raises:
            AgentError: There is no parameter to learn.
        """
        if not any(group["params"] for group in groups):
            raise AgentError("{}: the model '{}' has no parameter to learn.".format(type(self).__name__, name))
        optimizer = NetworkOptimizer(name, groups, self.cfg, self.device)
        self.optimizers.append(optimizer)
        self.register_part("optimizer/" + name, optimizer.adam)
        if self.cfg.learning_rate_scheduler is not None:
            schedule = LearningRateSchedule(
                optimizer.adam, self.cfg.learning_rate_scheduler, self.cfg.learning_rate_scheduler_kwargs
            )
            self.schedulers.append(schedule)
            self.register_part("scheduler/" + name, schedule, TRAINING)
        return optimizer

    # ------------------------------------------------------------------ set-up

    def model_specs(
        self, role: str, observations: Mapping[str, TensorSpec], actions: Mapping[str, TensorSpec]
    ) -> Mapping[str, TensorSpec]:
        """Return what a model may read: observations, and actions by name for those that judge them."""
        if role.replace("target_", "", 1) not in self.action_readers:
            return observations
        both = [name for name in actions if name in observations]
        if both:
            raise AgentError(
                "'{}' is the name of an observation and of an action, so that the model '{}' could not tell them "
                "apart; rename the observation in the environment.".format(both[0], role)
            )
        return dict(observations, **actions)

    def _input_names(self, specs: Mapping[str, TensorSpec]) -> List[str]:
        """Return the observations that any model reads."""
        wanted = {name for model in self.models.values() for name in _names_read(model, specs)}
        return [name for name in specs if name in wanted]

    def setup(self, env_info: Mapping[str, Any]) -> None:
        """Learn the spaces; :meth:`prepare_training` then allocates the memory for this many environments."""
        super().setup(env_info)
        self._policy_specs = policy_specs(env_info["action_cfg"], env_info["action_bounds"])

    def prepare_training(self) -> None:
        """Allocate the memory for the environments that :meth:`setup` named; again is no error."""
        if self.has_memory(self.memory):
            return
        info, specs = self._env_info, self._env_info["observation_cfg"]
        self._names = self._input_names(specs)
        with self.trying_models():
            self.check_models(*self._probe(specs))
        # Assigned only now, so that an error above leaves nothing half made.
        self.memory = self._make_memory(info)
        if not info["gives_final_observation"]:
            logger.warning(
                "'{}' hides the last observation of an episode: at time limits the one before it stands for it.",
                info["name"],
            )
        self.register_part("memory", self.memory, RUN)

    def _make_memory(self, info: Mapping[str, Any]) -> ReplayMemory:
        cfg, specs, actions = self.cfg, info["observation_cfg"], info["action_cfg"]
        rows = rows_for(cfg.memory_size, info["num_envs"])
        priorities = None
        if cfg.prioritized:
            places = rows * info["num_envs"]
            priorities = Priorities(places, cfg.priority_exponent, cfg.importance_exponent, self.device)
        memory = ReplayMemory(rows, info["num_envs"], self.device, cfg.memory_directory, priorities)
        for prefix in (STATE, NEXT):
            for name in self._names:
                memory.create_tensor(prefix + name, specs[name].shape, getattr(torch, specs[name].dtype))
        for name, spec in actions.items():
            memory.create_tensor(ACTION + name, spec.shape, getattr(torch, spec.dtype))
        for name in (REWARDS, TERMINATED, ENDED) + ((VALID,) if info["has_invalid_rows"] else ()):
            memory.create_tensor(name, (1,), torch.float32)
        memory.is_saved = cfg.save_memory
        try:
            memory.allocate()
        except (MemoryError, RuntimeError, OSError) as error:
            raise StorageError(
                "{}.memory_size is {}, for which there is no room ({}); lower it, or name a folder for it by "
                "memory_directory.".format(type(cfg).__name__, cfg.memory_size, str(error)[:200])
            ) from error
        return memory

    def _probe(self, specs: Mapping[str, TensorSpec]) -> Tuple[TensorDict, TensorDict]:
        """Return two rows of observations and of actions to try the models with."""
        states = {name: _two_rows(specs[name], self.device) for name in self._names}
        return states, {name: _two_rows(spec, self.device) for name, spec in self._policy_specs.items()}

    @abc.abstractmethod
    def check_models(self, states: TensorDict, actions: TensorDict) -> None:
        """Try the models once, without moving the random streams; called without gradients, in evaluation mode.

        Args:
            states: Observations of two rows.
            actions: Actions of two rows.

        Raises:
            ModelError: An output is missing or has a wrong shape.
        """

    # ------------------------------------------------------------------ acting

    def act(self, states: TensorDict, timestep: int, timesteps: int) -> TensorDict:
        """Draw actions, at the beginning of training uniformly ones; see :meth:`Agent.act`."""
        self._progress = timestep / max(1, timesteps)
        if self.is_training:
            if self.memory is None:
                self.prepare_training()
            if timestep < self.cfg.random_timesteps:
                return self.random_actions(len(next(iter(states.values()))))
        with torch.no_grad():
            wanted = self.acting_model.input_names(states)
            seen = {name: states[name] for name in wanted if name in states}
            return self.name_actions(self.choose_actions(self.normalize(seen), timestep, timesteps))

    @property
    def acting_model(self) -> Model:
        """The model that chooses actions."""
        return self.models[self.acting_role]

    @abc.abstractmethod
    def choose_actions(self, states: TensorDict, timestep: int, timesteps: int) -> Any:
        """Return actions; with exploration if :attr:`explores`.

        Args:
            states: What :attr:`acting_model` reads, normalised.
            timestep: Index of the vector step.
            timesteps: Vector steps of the whole run.
        """

    @property
    def explores(self) -> bool:
        """Whether actions are to be tried that are not thought the best."""
        return self.is_training and not self.is_deterministic

    def random_actions(self, rows: int) -> TensorDict:
        """Return actions drawn uniformly from what the policy can choose, ``(rows, *shape)``; unbounded ones normally.

        Args:
            rows: Number of environments.
        """
        return {name: _random_action(spec, rows, self.device) for name, spec in self._policy_specs.items()}

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
        """Write one vector step into the memory; see :meth:`Agent.record_transition`."""
        if self.memory is None:
            self.prepare_training()
        assert self.memory is not None
        if not self._env_info["gives_final_observation"]:
            next_states = {
                name: torch.where(like_rows(truncated, next_states[name]), states[name], next_states[name])
                for name in self._names
            }
        row = {STATE + name: states[name] for name in self._names}
        row.update({NEXT + name: next_states[name] for name in self._names})
        row.update({ACTION + name: value for name, value in actions.items()})
        row.update({REWARDS: rewards, TERMINATED: terminated, ENDED: terminated | truncated})
        if self._env_info["has_invalid_rows"]:
            row = self._without_fillers(row, infos.get("valid"))
        self.memory.write(row)

    def _without_fillers(self, row: TensorDict, valid: Optional[torch.Tensor]) -> TensorDict:
        """Blank the rows that are only a reset: whatever they hold, nothing is learned from them."""
        if valid is None:
            valid = torch.ones_like(row[TERMINATED])
        kept = {
            name: torch.where(like_rows(valid, value), value, torch.zeros_like(value)) for name, value in row.items()
        }
        return dict(kept, **{VALID: valid})

    def on_interruption(self) -> None:
        """End the running episodes in the memory: what follows is not their continuation."""
        if self.memory is not None:
            self.memory.change_newest(ENDED, torch.ones((self.memory.num_envs, 1), device=self.device))

    # ------------------------------------------------------------------ learning

    @property
    def log_interval(self) -> int:
        """Vector steps between rows of figures where the trainer's configuration names none: 1,000 transitions."""
        return max(10, 1000 // max(1, self.num_envs or 1))

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        """Look at what is new, and learn when it is time."""
        memory, cfg = self.memory, self.cfg
        if memory is None:
            return
        enough = max(1, min(cfg.learning_starts, memory.rows))
        due = memory.size >= enough and memory.written % cfg.update_interval == 0
        if due or self.device.type == "cpu":
            self._take_fresh(memory)
        if due:
            self.update()

    def _take_fresh(self, memory: ReplayMemory) -> None:
        """Check the newest rows and merge them into the statistics.

        Raises:
            NonFiniteError: They hold NaN or infinity, and are forgotten.
        """
        places = memory.fresh_rows()
        try:
            self._require_finite_rows(memory, places)
        except NonFiniteError:
            memory.drop_fresh()
            raise
        valid = memory.read(VALID, places) > 0.0 if VALID in memory.names else None
        for name, normalizer in self.normalizers.items():
            normalizer.update(memory.read(STATE + name, places), valid)
        if memory.priorities is not None and valid is not None:
            memory.priorities.remove(memory.fresh_places()[~valid[:, 0]])
        self.follow_fresh(memory, places, valid)
        memory.settle()

    def follow_fresh(self, memory: ReplayMemory, places: Places, valid: Optional[torch.Tensor]) -> None:
        """Take notice of new rows, which have been checked; does nothing by default.

        Args:
            memory: Where they lie.
            places: Their places, oldest first, ``steps * num_envs`` of them, for ``memory.read``.
            valid: Which of them are transitions, ``(steps * num_envs, 1)`` bool; None: all.
        """

    def _require_finite_rows(self, memory: ReplayMemory, places: Places) -> None:
        rows = memory.packed_rows(places)
        flat = None if rows is None else rows.reshape(-1)
        if flat is None or math.isfinite(float(torch.dot(flat, flat))):
            return
        steps = memory.fresh

        def read(name: str) -> torch.Tensor:
            values = memory.read(name, places)
            return values.reshape((steps, memory.num_envs) + tuple(values.shape[1:]))

        ended = read(ENDED) > 0.0
        numbers = []
        for name in self._names:
            # What the first action saw came up in the step before it.
            numbers.append(Numbers("observation", name, read(STATE + name), first=-1))
            numbers.append(Numbers("final observation", name, read(NEXT + name), ended))
            numbers.append(Numbers("observation", name, read(NEXT + name), ~ended))
        numbers += [
            Numbers("action", name[len(ACTION) :], read(name)) for name in memory.names if name.startswith(ACTION)
        ]
        numbers.append(Numbers("reward", "rewards", read(REWARDS)))
        require_finite([item for item in numbers if item.values.is_floating_point()], steps)

    def update(self) -> None:
        """Take gradient steps, each on a batch of its own."""
        for _ in range(self.cfg.gradient_steps):
            self.count.gradient_steps += 1
            self.learn(self.sample())
        self._unchecked_updates += 1
        if self.device.type == "cpu" or self._unchecked_updates >= self.CHECK_INTERVAL:
            self.check_learning()
        for optimizer in self.optimizers:
            self.track("learning_rate/" + optimizer.name, optimizer.adam.param_groups[0]["lr"])
        for schedule in self.schedulers:
            schedule.step(None, self.last_loss)
        self.finite_guard.finished_update()

    last_loss: Any = 0.0
    """What :meth:`learn` leaves for schedulers that go by a loss, shape ``()``."""

    def sample(self) -> Transitions:
        """Draw a batch; observations are normalised by the present statistics."""
        memory, cfg = self.memory, self.cfg
        assert memory is not None
        weights = None
        if memory.priorities is None:
            places = memory.draw(cfg.batch_size)
        else:
            places, weights = memory.priorities.draw(cfg.batch_size, memory.transitions, self._progress)
        batch = gather_transitions(memory, places, cfg.n_steps, cfg.discount_factor)
        if weights is not None:
            batch.weights = weights if batch.weights is None else weights * batch.weights
        batch.states, batch.next_states = self.normalize(batch.states), self.normalize(batch.next_states)
        batch.rewards = self.batch_rewards(batch.rewards)
        return self.augment(batch)

    def batch_rewards(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return the rewards of a batch to learn from; override it to add rewards of your own.

        Args:
            rewards: Sums over ``n_steps``, ``(B, 1)``; not to be changed in place.
        """
        return rewards if self.cfg.reward_scale == 1.0 else rewards * self.cfg.reward_scale

    def augment(self, batch: Transitions) -> Transitions:
        """Return the rows to learn from, for example with mirrored copies; unchanged by default."""
        return batch

    @abc.abstractmethod
    def learn(self, batch: Transitions) -> None:
        """Take one gradient step of each network."""

    def take_notice(self, batch: Transitions, errors: torch.Tensor) -> None:
        """Let temporal-difference errors decide how often the rows are drawn, where sampling is prioritised.

        Args:
            batch: The rows.
            errors: Errors of either sign, ``(B, critics)``; the mean of their sizes counts.
        """
        if self.memory is not None and self.memory.priorities is not None:
            sizes = errors.detach()[: len(batch.places)].abs().mean(dim=1)
            self.memory.priorities.update(batch.places, sizes)

    def move_targets(self) -> None:
        """Let the target networks follow, if it is time."""
        if self.count.gradient_steps % self.cfg.target_interval == 0:
            for update in self._target_updates:
                update.move()

    def check_learning(self) -> None:
        """Name the first loss or gradient that was not finite since the last look; one read per network.

        Raises:
            NonFiniteError: There was one, and none is to be skipped or no step was left.
        """
        for optimizer in self.optimizers:
            steps, faults = optimizer.take_faults()
            if not faults:
                continue
            fault = optimizer.first_fault(self._parameter_names()) or {}
            skips = self.cfg.non_finite == SKIP
            left_out = faults if skips else steps - fault["step"]
            error = NonFiniteError(
                "The {} '{}' is {} in gradient step {}. {} of {} steps were left out; parameters and moments hold "
                "nothing of them. Lower the learning rate, clip gradients (grad_norm_clip), or look for a division, "
                "logarithm or root in models and losses.".format(
                    fault["site"], fault["key"], fault["value"], self.count.gradient_steps, left_out, steps
                ),
                fault["site"],
                fault["key"],
            )
            if not skips or left_out == steps:
                self._begin_steps()
                raise error
            self.finite_guard.count(error, left_out)
        self._begin_steps()

    def _begin_steps(self) -> None:
        self._unchecked_updates = 0
        for optimizer in self.optimizers:
            optimizer.begin()

    def _parameter_names(self) -> Dict[int, str]:
        return {
            id(item): role + "." + name
            for role, model in self.models.items()
            for name, item in model.named_parameters()
        }


def _names_read(model: Any, specs: Mapping[str, TensorSpec]) -> List[str]:
    return [name for name in model.input_names(specs) if name in specs] if isinstance(model, Model) else list(specs)


def _two_rows(spec: TensorSpec, device: torch.device) -> torch.Tensor:
    return torch.zeros((2,) + spec.shape, dtype=getattr(torch, spec.dtype), device=device)


def _random_action(spec: TensorSpec, rows: int, device: torch.device) -> torch.Tensor:
    shape, dtype = (rows,) + spec.shape, getattr(torch, spec.dtype)
    if spec.kind != BOX:
        sizes = torch.tensor(spec.sizes, device=device).reshape(spec.shape)
        # Rounding can lift a share just below 1 to the size itself.
        return torch.minimum((torch.rand(shape, device=device) * sizes).long(), sizes - 1).to(dtype)
    low = torch.tensor(spec.low.tolist(), device=device)
    high = torch.tensor(spec.high.tolist(), device=device)
    bounded = torch.isfinite(low) & torch.isfinite(high)
    drawn = low + (high - low) * torch.rand(shape, device=device)
    return torch.where(bounded, drawn, torch.randn(shape, device=device)).to(dtype)
