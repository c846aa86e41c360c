"""What all on-policy agents share: acting, the rollout memory, normalisers, values and advantages."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

import torch
from loguru import logger

from AquaML.compat import autocast, mixed_precision_dtype
from AquaML.environment.spaces import TensorSpec
from AquaML.errors import AgentError, ConfigError, NonFiniteError
from AquaML.learning.finite_guard import Numbers, of_step, require_finite
from AquaML.learning.memory.block_states import BlockStates, StatesByRole
from AquaML.learning.memory.final_observations import FinalObservations
from AquaML.learning.memory.rollout import RolloutMemory
from AquaML.learning.model.base import ModelInput, ModelOutput, rows_of
from AquaML.learning.model.normalizer import RunningNormalizer
from AquaML.learning.model.sequences import RESETS, cleared
from AquaML.learning.model.stochastic import StochasticModel
from AquaML.learning.reinforcement.base import TensorDict
from AquaML.learning.reinforcement.learning_agent import LearningAgent
from AquaML.learning.reinforcement.observation_normalizers import chosen_normalizer_cfg
from AquaML.learning.reinforcement.on_policy.batch import Batch
from AquaML.learning.reinforcement.on_policy.on_policy_cfg import OnPolicyCfg
from AquaML.learning.reinforcement.on_policy.recurrent_states import (
    EVALUATION,
    PREDICTION,
    TRAINING,
    RecurrentStates,
)
from AquaML.learning.reinforcement.returns import generalized_advantage
from AquaML.stateful import RUN, WEIGHTS

_STATE, _ACTION, _PARAMETER = "state:", "action:", "parameter:"


class OnPolicyAgent(LearningAgent):
    """Collects rollouts and turns them into batches with returns and advantages.

    Subclasses write :meth:`learn`.

    Observation statistics stay as they are from the first ``act`` of a rollout to the end of :meth:`learn` and are
    then merged once from that rollout, so that the policy that is evaluated is the one that acted.
    """

    config_class = OnPolicyCfg
    required_models = ("policy", "value")
    cfg: OnPolicyCfg

    CHUNK_ROWS = 16384
    """Rows valued at once; bounds the memory of :meth:`values_of`."""

    def __init__(self, models: Optional[Mapping[str, Any]] = None, cfg: Optional[OnPolicyCfg] = None) -> None:
        super().__init__(models, cfg)
        self.policy: StochasticModel = self.models["policy"]
        self.value = self.models["value"]
        if not isinstance(self.policy, StochasticModel):
            raise AgentError(
                "{}: the policy is a {}, which has no log-probability; expected a distribution such as GaussianModel, "
                "CategoricalModel or CompositeModel.".format(type(self).__name__, type(self.policy).__name__)
            )
        self.shares_model = self.policy is self.value
        self._value_role = "policy" if self.shares_model else "value"
        self._recurrent = self._make_recurrent_states()
        self._block_states: Optional[BlockStates] = None
        # One pass over the rollout cannot know the states of a recurrent value function, so it is asked while acting.
        self._stores_values = self.shares_model or bool(self.value.recurrent_state)
        self._precision = mixed_precision_dtype(self.cfg.mixed_precision, self.device)
        self.value_normalizer = self._make_value_normalizer()
        self.memory: Optional[RolloutMemory] = None
        self.final_observations: Optional[FinalObservations] = None
        self._acted: Optional[ModelOutput] = None

    # ------------------------------------------------------------------ set-up

    @property
    def is_recurrent(self) -> bool:
        """Whether a model has a recurrent state."""
        return self._recurrent is not None

    @property
    def sequence_length(self) -> int:
        """Steps through which gradients of a recurrent model flow."""
        return self.cfg.sequence_length or self.cfg.rollouts

    def _make_recurrent_states(self) -> Optional[RecurrentStates]:
        models = {role: self.models[role] for role in ("policy", self._value_role)}
        recurrent = {role: model for role, model in models.items() if model.recurrent_state}
        if not recurrent:
            if self.cfg.sequence_length is not None:
                raise ConfigError(
                    "{}.sequence_length is {}, but no model has a recurrent state; leave it None, or use a recurrent "
                    "model.".format(type(self.cfg).__name__, self.cfg.sequence_length)
                )
            return None
        states = RecurrentStates(recurrent, self.device)
        self.register_part("recurrent_states", states, RUN)
        return states

    def _make_value_normalizer(self) -> Optional[RunningNormalizer]:
        cfg = chosen_normalizer_cfg(self.cfg.value_normalizer)
        if cfg is None:
            return None
        normalizer = RunningNormalizer((1,), cfg, self.device)
        self.register_part("value_normalizer", normalizer, WEIGHTS)
        return normalizer

    def _input_names(self, specs: Mapping[str, TensorSpec]) -> List[str]:
        wanted = set(self.policy.input_names(specs)) | set(self.value.input_names(specs))
        return [name for name in specs if name in wanted]

    def setup(self, env_info: Mapping[str, Any]) -> None:
        """Learn the spaces; in training the first :meth:`act` then allocates the memory for this many environments."""
        super().setup(env_info)
        self._check_setup(self.cfg.rollouts * int(env_info["num_envs"]))

    def _check_setup(self, rows: int) -> None:
        """Check the configuration against the number of rows of a rollout."""

    def prepare_training(self) -> None:
        """Allocate the memory for the environments that :meth:`setup` named; again is no error."""
        if self.has_memory(self.memory):
            return
        info, cfg = self._env_info, self.cfg
        self._check_value_model()
        specs: Dict[str, TensorSpec] = info["observation_cfg"]
        self._names = self._input_names(specs)
        shapes = {name: (specs[name].shape, getattr(torch, specs[name].dtype)) for name in self._names}
        memory = RolloutMemory(cfg.memory_size or cfg.rollouts, cfg.rollouts, info["num_envs"], self.device)
        for name, (shape, dtype) in shapes.items():
            memory.create_tensor(_STATE + name, shape, dtype)
        for name, spec in info["action_cfg"].items():
            memory.create_tensor(_ACTION + name, spec.shape, getattr(torch, spec.dtype))
        for name, parameter in self._probe_parameters(specs).items():
            memory.create_tensor(_PARAMETER + name, tuple(parameter.shape[1:]), torch.float32)
        for name in ("rewards", "log_prob") + (("values",) if self._stores_values else ()):
            memory.create_tensor(name, (1,), torch.float32)
        flags = ("terminated", "truncated") + (("valid",) if info["has_invalid_rows"] else ())
        flags += (RESETS,) if self.is_recurrent else ()
        for name in flags:
            memory.create_tensor(name, (1,), torch.bool)
        # Assigned only now, so that a model's error above leaves nothing half made.
        self.memory = memory
        self._stores_valid = info["has_invalid_rows"]
        self._stored = {
            prefix: [(key, key[len(prefix) :]) for key in memory.names if key.startswith(prefix)]
            for prefix in (_STATE, _ACTION, _PARAMETER)
        }
        # A recurrent value function judges an observation from its state before it.
        valued = dict(shapes, **{name: (shape, torch.float32) for name, shape in self.value.recurrent_state.items()})
        if info["gives_final_observation"]:
            self.final_observations = FinalObservations(
                valued, cfg.rollouts, info["num_envs"], info["max_episode_length"], self.device
            )
            self.register_part("final_observations", self.final_observations, RUN)
        else:
            logger.warning(
                "'{}' hides the last observation of an episode: at time limits the value of the one before it is used.",
                info["name"],
            )
        self.register_part("memory", self.memory, RUN)
        if self._recurrent is not None:
            self._block_states = BlockStates(
                self._recurrent.shapes, cfg.rollouts, self.sequence_length, info["num_envs"], self.device
            )
            self.register_part("block_states", self._block_states, RUN)
        rows = (cfg.rollouts, info["num_envs"])
        self._last_states = {
            name: torch.zeros((rows[1],) + s, dtype=d, device=self.device) for name, (s, d) in valued.items()
        }
        self._normalized = {
            name: torch.zeros(rows + specs[name].shape, device=self.device) for name in self.normalizers
        }
        self._rows = torch.arange(rows[0] * rows[1], device=self.device)

    def _probe_parameters(self, specs: Mapping[str, TensorSpec]) -> TensorDict:
        """Ask the policy once for the shapes of its parameters, without moving the random streams."""
        states = {
            name: torch.zeros((2,) + specs[name].shape, dtype=getattr(torch, specs[name].dtype), device=self.device)
            for name in self._names
        }
        states.update(self.policy.initial_state(2))
        with self.trying_models():
            outputs = self.policy.outputs(states)
            return self.policy.parameters_of(outputs, 2)

    def _check_value_model(self) -> None:
        specs = self._env_info["observation_cfg"]
        states = {
            name: torch.zeros((2,) + specs[name].shape, dtype=getattr(torch, specs[name].dtype), device=self.device)
            for name in self.value.input_names(specs)
        }
        states.update(self.value.initial_state(2))
        with self.trying_models():
            self.value.require_output(self.value.outputs(states), "values", (2, 1))

    # ------------------------------------------------------------------ acting

    def act(self, states: TensorDict, timestep: int, timesteps: int) -> TensorDict:
        """Draw actions, or take the likeliest ones in deterministic mode; see :meth:`Agent.act`."""
        entering = {} if self._recurrent is None else self._enter_step(states)
        with torch.no_grad(), autocast(self.device, self._precision):
            inputs = self._inputs_of("policy", states, entering)
            outputs = self.policy.act_deterministic(inputs) if self.is_deterministic else self.policy.act(inputs)
            if entering:
                outputs = self._leave_step(states, entering, outputs)
        if self.is_training:
            if self.memory is None:
                self.prepare_training()
            self._acted = outputs
        return self.name_actions(outputs["actions"])

    def _inputs_of(self, role: str, states: TensorDict, entering: StatesByRole) -> ModelInput:
        """Return what a model sees of observations, normalised, beside its recurrent state."""
        model = self.models[role]
        seen = {name: states[name] for name in model.input_names(states) if name in states}
        return model.select_inputs(dict(self.normalize(seen), **entering.get(role, {})))

    @property
    def _caller(self) -> str:
        return TRAINING if self.is_training else PREDICTION if self.is_predicting else EVALUATION

    def _enter_step(self, states: TensorDict) -> StatesByRole:
        """Return the recurrent states that go into this step, and store them if a block begins with it."""
        assert self._recurrent is not None
        if self.is_training and self.memory is None:
            self.prepare_training()
        entering = self._recurrent.enter(self._caller, rows_of(states))
        if self.is_training and self.memory is not None and not self.memory.is_full:
            assert self._block_states is not None
            self._block_states.write(self.memory.cursor, entering)
        return entering

    def _leave_step(self, states: TensorDict, entering: StatesByRole, acted: ModelOutput) -> ModelOutput:
        """Keep the recurrent states after this step; return what was acted, with what the memory needs beside it."""
        assert self._recurrent is not None
        left = {role: outputs for role, outputs in (("policy", acted),) if role in entering}
        extra: Dict[str, Any] = {RESETS: next(iter(entering.values()))[RESETS]}
        if "value" in entering and self.is_training:
            left["value"] = self.value.act(self._inputs_of("value", states, entering))
            extra["values"] = left["value"].get("values")
        self._recurrent.leave(self._caller, left)
        return dict(acted, **extra)

    def on_reset(self, mask: torch.Tensor) -> None:
        """Clear recurrent states where episodes begin."""
        if self._recurrent is not None:
            self._recurrent.begin(self._caller, mask)

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
        """Write one row of the rollout; see :meth:`Agent.record_transition`."""
        memory, acted = self.memory, self._acted
        if memory is None or acted is None:
            raise AgentError(
                "{}.record_transition needs an act() in training mode before it.".format(type(self).__name__)
            )
        self._acted = None
        if self.finite_guard.checks_everything:
            require_finite(of_step("log-probability", {"log_prob": acted["log_prob"]}, infos.get("valid")))
        row = {"rewards": rewards, "terminated": terminated, "truncated": truncated, "log_prob": acted["log_prob"]}
        for prefix, source in ((_STATE, states), (_ACTION, actions), (_PARAMETER, acted)):
            for key, name in self._stored[prefix]:
                row[key] = source[name]
        if self._stores_values:
            row["values"] = self.value.require_output(acted, "values", (memory.num_envs, 1))
        if self.is_recurrent:
            row[RESETS] = acted[RESETS]
        if self._stores_valid:
            valid = infos.get("valid")
            row["valid"] = valid if valid is not None else torch.ones_like(terminated)
        step = memory.cursor
        memory.write(row)
        if self.final_observations is not None:
            self.final_observations.write(step, truncated, self._to_value(next_states))
        if memory.is_full:
            successors = self._to_value(next_states)
            for name, stored in self._last_states.items():
                stored.copy_(successors[name])

    def _to_value(self, next_states: TensorDict) -> TensorDict:
        """Return what the value of successors depends on: observations, and the recurrent state before they are read.

        That state is the one after the step's observation, whether or not an episode ended then.
        """
        found = {name: next_states[name] for name in self._names}
        if self._recurrent is not None and self.value.recurrent_state:
            found.update(self._recurrent.of(TRAINING, self._value_role))
        return found

    def load(self, path: Union[str, Path], only: Optional[Sequence[str]] = None) -> None:
        """Read a checkpoint, see :meth:`Agent.load`; rows that the former policy left in the rollout are dropped."""
        super().load(path, only)
        if self._recurrent is not None:
            self._recurrent.forget()
        self.on_interruption()

    def on_interruption(self) -> None:
        """Drop the rollout under way: its last row has lost its successor."""
        self._acted = None
        if self._recurrent is not None:
            self._recurrent.forget(TRAINING)
        if self.memory is not None:
            self.memory.drop()
            if self.final_observations is not None:
                self.final_observations.clear()

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        """Learn when the rollout is complete."""
        if self.memory is not None and self.memory.is_full:
            self.update()

    # ------------------------------------------------------------------ learning

    def update(self) -> None:
        """Learn from the complete rollout, then merge its observations into the statistics and begin another."""
        assert self.memory is not None
        rollout = self.memory.rollout()
        valid = rollout.get("valid")
        before = self._before_update()
        batch = self.prepare_batch(rollout)
        rows = self._rows if valid is None else self._rows[valid.reshape(-1)]
        if len(rows):
            try:
                self.learn(batch, rows)
                self.check_learning()
            except NonFiniteError:
                self._undo_update(before)
                raise
        flat_valid = None if valid is None else valid.reshape(-1, 1)
        for name, normalizer in self.normalizers.items():
            normalizer.update(rollout[_STATE + name].flatten(0, 1), flat_valid)
        self.memory.start_next()
        if self.final_observations is not None:
            self.final_observations.clear()
        self.finite_guard.finished_update()

    def _before_update(self) -> Any:
        value_normalizer = None if self.value_normalizer is None else self.value_normalizer.state_dict()
        return value_normalizer, dict(self._metrics)

    def _undo_update(self, before: Any) -> None:
        """Take back what an update changed before its first step turned out not to be finite."""
        value_normalizer, self._metrics = before
        if self.value_normalizer is not None:
            self.value_normalizer.load_state_dict(value_normalizer)

    def check_learning(self) -> None:
        """Check what :meth:`learn` left on the device; subclasses whose steps are guarded write this.

        Raises:
            NonFiniteError: A loss or gradient was not finite; no step was taken from then on.
        """

    def learn(self, batch: Batch, rows: torch.Tensor) -> None:
        """Change the networks; subclasses write this.

        Args:
            batch: All rows of the rollout.
            rows: Indices of the rows that are transitions.
        """
        raise NotImplementedError("{} must define learn(self, batch, rows).".format(type(self).__name__))

    def rollout_rewards(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return the rewards to learn from; override it to add intrinsic or imitation rewards.

        Args:
            rewards: What the environment gave, ``(rollouts, num_envs, 1)``; not to be changed in place.
        """
        scaled = rewards * self.cfg.reward_scale
        if self.cfg.reward_shaper is None:
            return scaled
        shaped = self.cfg.reward_shaper(scaled)
        if not isinstance(shaped, torch.Tensor) or shaped.shape != rewards.shape:
            raise AgentError(
                "reward_shaper returned {}; expected a tensor of shape {}.".format(
                    tuple(shaped.shape) if isinstance(shaped, torch.Tensor) else type(shaped).__name__,
                    tuple(rewards.shape),
                )
            )
        return shaped.to(rewards.dtype)

    def values_of(self, states: TensorDict) -> torch.Tensor:
        """Return the value function's raw outputs, in normalised units.

        Args:
            states: Normalised observations, ``(B, *shape)``, and recurrent states before them.

        Returns:
            ``(B, 1)`` float32.
        """
        total = len(next(iter(states.values())))
        if self.value.recurrent_state:
            resets = torch.zeros((total, 1), dtype=torch.bool, device=self.device)
            states = dict(states, **{RESETS: resets})
        chunks = []
        with torch.no_grad(), autocast(self.device, self._precision):
            for start in range(0, total, self.CHUNK_ROWS):
                inputs = self.value.select_inputs(
                    {name: value[start : start + self.CHUNK_ROWS] for name, value in states.items()}
                )
                outputs = self.value.outputs(inputs) if self.shares_model else self.value.act(inputs)
                if isinstance(outputs, torch.Tensor):
                    outputs = {"values": outputs}
                rows = min(self.CHUNK_ROWS, total - start)
                chunks.append(self.value.require_output(outputs, "values", (rows, 1)).float())
        return torch.cat(chunks) if len(chunks) > 1 else chunks[0]

    def _in_units(self, values: torch.Tensor) -> torch.Tensor:
        return values if self.value_normalizer is None else self.value_normalizer.denormalize(values)

    def _out_of_units(self, values: torch.Tensor) -> torch.Tensor:
        return values if self.value_normalizer is None else self.value_normalizer.normalize(values)

    @torch.no_grad()
    def prepare_batch(self, rollout: TensorDict) -> Batch:
        """Value the rollout, estimate advantages and returns, and flatten time and environments into one axis.

        Args:
            rollout: ``(rollouts, num_envs, *shape)`` views of the memory.
        """
        valid = rollout.get("valid")
        states = self._normalized_states(rollout)
        flat = {name: value.flatten(0, 1) for name, value in states.items()}
        shape = rollout["rewards"].shape
        predicted = rollout["values"] if self._stores_values else self.values_of(flat).reshape(shape)
        values = self._in_units(predicted)
        next_values = self._next_values(values, rollout["truncated"])
        rewards = rollout["rewards"]
        if valid is not None:
            # A shaper may mix rows; what a reset-only row holds must not reach the others.
            rewards = torch.where(valid, rewards, torch.zeros_like(rewards))
        advantages = generalized_advantage(
            self.rollout_rewards(rewards),
            values,
            next_values,
            rollout["terminated"],
            rollout["truncated"],
            self.cfg.discount_factor,
            self.cfg.gae_lambda,
            valid,
        )
        returns = advantages + values
        require_finite(self._collected(rollout, values, returns), self.cfg.rollouts)
        if self.value_normalizer is not None:
            self.value_normalizer.update(returns.flatten(0, 1), None if valid is None else valid.flatten(0, 1))
        self._track_values(values, returns, valid)
        batch = Batch(
            states=flat,
            actions=_below(_ACTION, rollout),
            parameters=_below(_PARAMETER, rollout),
            log_prob=rollout["log_prob"].flatten(0, 1),
            values=self._out_of_units(values).flatten(0, 1),
            returns=self._out_of_units(returns).flatten(0, 1),
            advantages=advantages.flatten(0, 1),
        )
        if self._block_states is not None:
            self._add_blocks(batch, rollout, self._block_states)
        return batch

    def _add_blocks(self, batch: Batch, rollout: TensorDict, blocks: BlockStates) -> None:
        """Add what recurrent models need to go over the rollout again."""
        batch.resets, batch.recurrent, batch.block_rows = rollout[RESETS].flatten(0, 1), blocks.flat(), blocks.rows
        if "valid" in rollout:
            batch.valid = rollout["valid"].flatten(0, 1)
            # A reset-only row goes through the network with its block. What it holds, NaN too, must do no harm there.
            batch.states = {name: cleared(value, ~batch.valid) for name, value in batch.states.items()}
            batch.actions = {name: cleared(value, ~batch.valid) for name, value in batch.actions.items()}

    def _collected(self, rollout: TensorDict, values: torch.Tensor, returns: torch.Tensor) -> List[Numbers]:
        """Return everything that a rollout would change something by.

        The distribution's parameters are left out: a category without a chance has the logarithm -inf, and what else
        is wrong in them shows in the actions and their log-probability.
        """
        valid, end = rollout.get("valid"), self.cfg.rollouts - 1
        last = None if valid is None else valid[end:]
        numbers = []
        final = self.final_observations
        if final is not None:
            for name, values_ in final.observations.items():
                stored = (final.steps >= 0).unsqueeze(2)
                site = "final observation" if name in self._names else "recurrent state"
                numbers.append(Numbers(site, name, values_, stored, final.steps))
        for name in self._names:
            # What the first action of the rollout saw came up in the step before it.
            numbers.append(Numbers("observation", name, rollout[_STATE + name], valid, first=-1))
            numbers.append(Numbers("observation", name, self._last_states[name].unsqueeze(0), last, first=end))
        for key, name in self._stored[_ACTION]:
            numbers.append(Numbers("action", name, rollout[key], valid))
        numbers += [
            Numbers("log-probability", "log_prob", rollout["log_prob"], valid),
            Numbers("value", "values", values, valid),
            Numbers("reward", "rewards", rollout["rewards"], valid),
            Numbers("value target", "returns", returns, valid),
        ]
        return [item for item in numbers if item.values.is_floating_point()]

    def _normalized_states(self, rollout: TensorDict) -> TensorDict:
        states = {}
        for name in self._names:
            states[name] = rollout[_STATE + name]
            if name in self.normalizers:
                states[name] = self.normalizers[name].normalize(states[name], out=self._normalized[name])
        return states

    def _next_values(self, values: torch.Tensor, truncated: torch.Tensor) -> torch.Tensor:
        """Return V of the true successors, in units of reward.

        Where a time limit cut an episode and its last observation is unknown, V(s_t) stands in for it.
        """
        final = self.final_observations
        last = self._in_units(self.values_of(self.normalize(self._last_states)))
        next_values = torch.cat([values[1:], last.unsqueeze(0)])
        next_values = torch.where(truncated, values, next_values)
        if final is not None and (self.device.type != "cpu" or bool((final.steps >= 0).any())):
            stored = {name: value.flatten(0, 1) for name, value in final.observations.items()}
            final_values = self._in_units(self.values_of(self.normalize(stored)))
            final.fill(next_values, final_values.reshape(final.slots, final.num_envs, 1))
        return next_values

    def _track_values(self, values: torch.Tensor, returns: torch.Tensor, valid: Optional[torch.Tensor]) -> None:
        chosen = slice(None) if valid is None else valid
        if not values[chosen].numel():
            return
        targets, errors = returns[chosen], (returns - values)[chosen]
        spread = targets.var(unbiased=False)
        self.track("value/explained_variance", 1.0 - errors.var(unbiased=False) / spread.clamp(min=1e-12))
        self.track("value/mean", values[chosen].mean())
        self.track("value/return_mean", targets.mean())


def _below(prefix: str, rollout: TensorDict) -> TensorDict:
    return {name[len(prefix) :]: value.flatten(0, 1) for name, value in rollout.items() if name.startswith(prefix)}
