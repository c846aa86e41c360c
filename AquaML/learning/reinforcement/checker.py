"""A checker for authors of agents: everything that breaks the contract, in one error."""

import contextlib
import copy
import math
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np
import torch

from AquaML.coordinator.random_state import preserved_random_state
from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.base import EnvironmentWrapper
from AquaML.environment.rows import begun_rows, true_successors
from AquaML.environment.spaces import TensorSpec, join_names
from AquaML.errors import AgentError, AquaMLError
from AquaML.learning.reinforcement.base import Agent, TensorDict
from AquaML.stateful import collect_states, restore_states, unregistered_states

_MADE_UP_ENVS = 3
_DEFAULT_STEPS = 32


def check_agent(agent: Agent, env: Optional[EnvironmentWrapper] = None, timesteps: Optional[int] = None) -> None:
    """Check that an agent keeps the contract of :class:`~AquaML.learning.reinforcement.base.Agent`.

    The agent acts, learns, is saved and loaded; afterwards it and the global random streams are as they were. Where
    it can be copied, a copy is checked.

    Args:
        agent: The agent.
        env: Where to act; it is reset and stepped. None: observations are drawn from the spaces that the agent was
            set up with.
        timesteps: Vector steps to train for; None: enough for two updates of an agent whose configuration has
            ``rollouts``, else 32.

    Raises:
        AgentError: Lists every problem, or says that there is neither an environment nor a set-up agent.
    """
    if not isinstance(agent, Agent):
        raise AgentError("check_agent expects an Agent, got {!r}.".format(type(agent).__name__))
    if timesteps is not None and (isinstance(timesteps, bool) or not isinstance(timesteps, int) or timesteps < 1):
        raise AgentError("check_agent(timesteps={!r}): expected an integer of at least 1.".format(timesteps))
    if env is None and (agent.observation_layout is None or agent.action_layout is None):
        raise AgentError(
            "check_agent: {} was set up for no environment yet, so there are no spaces to draw observations from; "
            "call check_agent(agent, env).".format(type(agent).__name__)
        )
    steps = timesteps if timesteps is not None else 2 * getattr(agent.cfg, "rollouts", _DEFAULT_STEPS // 2)
    with preserved_random_state(), _untouched(agent) as subject:
        device = None if env is None else env.device
        try:
            problems = _Inspection(subject, env, steps).run()
        finally:
            if env is not None and device is not None:
                env.to(device)
    if problems:
        raise AgentError(
            "{} breaks the contract of an agent in {} point(s):\n{}".format(
                type(agent).__name__, len(problems), "\n".join("- " + problem for problem in problems)
            )
        )


@contextlib.contextmanager
def _untouched(agent: Agent) -> Iterator[Agent]:
    """Give a copy of the agent, or itself where it cannot be copied; restore its state in any case."""
    attributes = {name: copy.copy(v) if isinstance(v, (dict, list)) else v for name, v in vars(agent).items()}
    parts = agent.parts
    before = copy.deepcopy(collect_states(parts))
    training = [(module, module.training) for model in agent.models.values() for module in model.modules()]
    try:
        subject = copy.deepcopy(agent)
    except Exception:
        # Whatever a custom agent holds that cannot be copied, it can be restored through its parts.
        subject = agent
    try:
        yield subject
    finally:
        vars(agent).clear()
        vars(agent).update(attributes)
        if _differences(before, collect_states(parts)):
            restore_states(parts, before)
        for module, mode in training:
            module.training = mode


class _World:
    """Transitions of an environment, or made-up ones that fit the agent's spaces."""

    def __init__(self, agent: Agent, env: Optional[EnvironmentWrapper]) -> None:
        self.env = env
        self.device = agent.device
        if env is not None:
            env.to(agent.device)
            self.info = env.getEnvInfo()
            return
        observations, actions = agent.observation_layout, agent.action_layout
        assert observations is not None and actions is not None
        self.generator = np.random.RandomState(0)
        self.info = {
            "name": "made-up",
            "num_envs": agent.num_envs or _MADE_UP_ENVS,
            "observation_cfg": observations.specs,
            "action_cfg": actions.specs,
            "observation_layout": observations,
            "action_layout": actions,
            "device": str(agent.device),
            "autoreset": "same_step",
            "max_episode_length": None,
            "gives_final_observation": True,
            "has_invalid_rows": False,
            "action_bounds": agent.action_bounds,
        }

    @property
    def num_envs(self) -> int:
        return int(self.info["num_envs"])

    def reset(self) -> TensorDict:
        return self._made_up() if self.env is None else self.env.reset(seed=0)[0]

    def step(self, actions: TensorDict) -> Tuple[TensorDict, TensorDict, Dict[str, Any]]:
        """Return the next observations, the true successors, and the other arguments of ``record_transition``."""
        if self.env is None:
            following = self._made_up()
            shape = (self.num_envs, 1)
            terminated = torch.from_numpy(self.generator.rand(*shape) < 0.1).to(self.device)
            truncated = torch.from_numpy(self.generator.rand(*shape) < 0.1).to(self.device) & ~terminated
            rewards = torch.from_numpy(self.generator.randn(*shape).astype(np.float32)).to(self.device)
            final = self._made_up() if bool((terminated | truncated).any()) else None
            infos: Dict[str, Any] = {"final_obs": final, "valid": None, "log": {}}
        else:
            following, rewards, terminated, truncated, infos = self.env.step(actions)
        successors = true_successors(following, terminated | truncated, infos["final_obs"])
        outcome = {"rewards": rewards, "terminated": terminated, "truncated": truncated, "infos": infos}
        return following, successors, outcome

    def _made_up(self) -> TensorDict:
        return {name: self._draw(spec) for name, spec in self.info["observation_cfg"].items()}

    def _draw(self, spec: TensorSpec) -> torch.Tensor:
        low = np.clip(spec.low, -10.0, 10.0)
        high = np.maximum(np.clip(spec.high, -10.0, 10.0), low)
        drawn = low + (high - low) * self.generator.rand(self.num_envs, *spec.shape)
        if not spec.is_floating:
            drawn = np.rint(drawn)
        return torch.from_numpy(drawn.astype(spec.dtype)).to(self.device)


class _Inspection:
    """One pass over the contract; problems are collected, not raised."""

    def __init__(self, agent: Agent, env: Optional[EnvironmentWrapper], steps: int) -> None:
        self.agent = agent
        self.world = _World(agent, env)
        self.steps = steps
        self.problems: List[str] = []

    def run(self) -> List[str]:
        """Return every problem found."""
        if not self._attempt("setup", self._check_setup):
            return self.problems
        self._attempt("the search for unregistered state", self._check_registered)
        if self._attempt("training", lambda: self._train(self.steps)):
            self._attempt("collect_metrics", self._check_metrics)
        # Copies: what an environment returned is overwritten by its later steps.
        states = {name: value.clone() for name, value in self.world.reset().items()}
        if self._attempt("evaluation", lambda: self._check_evaluation(states)):
            self._attempt("predict", lambda: self._check_predict(states))
            self._attempt("save and load", lambda: self._check_checkpoint(states))
        return self.problems

    def _attempt(self, what: str, check: Callable[[], None]) -> bool:
        try:
            check()
        except AquaMLError as error:
            self._report("{}: {}".format(what, error))
        except Exception as error:
            self._report("{} raised {}: {}".format(what, type(error).__name__, error))
        else:
            return True
        return False

    def _report(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    # ------------------------------------------------------------------ single checks

    def _check_setup(self) -> None:
        agent = self.agent
        agent.setup(self.world.info)
        first, names = copy.deepcopy(collect_states(agent.parts)), [part.name for part in agent.parts]
        agent.setup(self.world.info)
        self._compare(first, "setup called again with equal spaces changes")
        if [part.name for part in agent.parts] != names:
            self._report("setup called again with equal spaces registers parts again; do it once.")
        agent.prepare_training()
        agent.prepare_training()

    def _check_registered(self) -> None:
        for name in unregistered_states(self.agent, self.agent.parts):
            self._report(
                "attribute '{0}' has a state but is in no checkpoint; call self.register_part('{0}', self.{0}) in "
                "__init__ after super().__init__().".format(name)
            )

    def _train(self, steps: int) -> None:
        agent, world = self.agent, self.world
        agent.set_mode(training=True)
        states = {name: value.clone() for name, value in world.reset().items()}
        agent.on_reset(torch.ones((world.num_envs, 1), dtype=torch.bool, device=agent.device))
        for step in range(steps):
            actions = self._act(states, step, steps)
            following, successors, outcome = world.step(actions)
            given = dict(outcome, states=states, actions=actions, next_states=successors)
            before = copy.deepcopy(given)
            agent.record_transition(timestep=step, timesteps=steps, **given)
            if not self._unchanged("record_transition", before, given):
                before = copy.deepcopy(given)
            done = outcome["terminated"] | outcome["truncated"]
            valid = outcome["infos"]["valid"]
            agent.on_reset(begun_rows(done, valid, "next_step"))
            agent.post_interaction(step, steps)
            self._unchanged("post_interaction", before, given)
            states = following

    def _check_metrics(self) -> None:
        for name, value in self.agent.collect_metrics().items():
            if not math.isfinite(value):
                self._report("the tracked metric '{}' is {}; expected a finite number.".format(name, value))

    def _check_evaluation(self, states: TensorDict) -> None:
        agent = self.agent
        before = copy.deepcopy(collect_states(agent.parts))
        more = {name: torch.cat([value, value[:1]]) for name, value in states.items()}
        agent.set_mode(training=False, deterministic=False)
        self._start(more)
        self._act(more, 0, 1)
        first, second = self._deterministic(more), self._deterministic(more)
        if _differences(first, second):
            self._report(
                "act gives other actions for the same observations in deterministic mode; leave out chance where "
                "self.is_deterministic is True, and clear what lives across steps in on_reset."
            )
        self._compare(before, "act in evaluation changes")

    def _check_predict(self, states: TensorDict) -> None:
        agent, info = self.agent, self.world.info
        together = self._deterministic(states)
        alone = self._deterministic({name: value[:1] for name, value in states.items()})
        # Compared before bounds are applied, which could hide a difference.
        if any(not _near(alone[name].cpu().numpy(), together[name][:1].cpu().numpy()) for name in together):
            self._report("act gives other actions for a row alone than for the same row in a batch.")
        batched = {name: value.cpu().numpy() for name, value in together.items()}
        transform = ActionTransform(info["action_layout"], info["action_bounds"])
        expected = _leaves(transform.row(transform(batched), 0))
        self._start({name: value[:1] for name, value in states.items()})
        actual = _leaves(agent.predict(_native_row(info["observation_layout"], states)))
        if any(not _near(a, b) for a, b in zip(actual, expected)):
            self._report(
                "predict on one observation gives {}; act gives {} for the same one in a batch.".format(
                    actual, expected
                )
            )

    def _check_checkpoint(self, states: TensorDict) -> None:
        agent = self.agent
        saved = self._deterministic(states)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "agent.pt"
            agent.save(path)
            # What was learned in between must be gone after loading, or something is in no checkpoint.
            self._train(self.steps)
            agent.load(path)
        if _differences(saved, self._deterministic(states)):
            self._report(
                "after save, more training, and load, deterministic actions differ from those at the time of saving; "
                "register everything that acting needs with register_part."
            )

    # ------------------------------------------------------------------ tools

    def _start(self, states: TensorDict) -> None:
        rows = len(next(iter(states.values())))
        self.agent.on_reset(torch.ones((rows, 1), dtype=torch.bool, device=self.agent.device))

    def _deterministic(self, states: TensorDict) -> TensorDict:
        self.agent.set_mode(training=False, deterministic=True)
        self._start(states)
        return {name: value.detach().clone() for name, value in self._act(states, 0, 1).items()}

    def _act(self, states: TensorDict, step: int, steps: int) -> TensorDict:
        agent = self.agent
        before = copy.deepcopy(states)
        actions = agent.name_actions(agent.act(states, step, steps))
        self._unchanged("act", {"states": before}, {"states": states})
        rows = len(next(iter(states.values())))
        for name, value in actions.items():
            spec = self.world.info["action_cfg"][name]
            if not isinstance(value, torch.Tensor):
                raise AgentError("act gave action '{}' as {}; expected a tensor.".format(name, type(value).__name__))
            if len(value) != rows:
                raise AgentError(
                    "act gave {} rows of action '{}' for {} rows of observations.".format(len(value), name, rows)
                )
            if value.dtype != getattr(torch, spec.dtype):
                self._report("act gives action '{}' as {}; expected torch.{}.".format(name, value.dtype, spec.dtype))
            if value.device != agent.device:
                self._report("act gives action '{}' on '{}'; expected '{}'.".format(name, value.device, agent.device))
        return actions

    def _compare(self, before: Dict[str, Any], what: str) -> None:
        places = _differences(before, collect_states(self.agent.parts))
        if places:
            names = sorted({place.split("\n")[0] for place in places})
            self._report("{} the state of {}.".format(what, join_names(names)))

    def _unchanged(self, method: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        changed = [name for name, value in before.items() if _differences(value, now[name])]
        for name in changed:
            self._report("{} changes the {} that it was given; work on a copy.".format(method, name))
        return not changed


def _differences(first: Any, second: Any, place: str = "") -> List[str]:
    """Return where two states differ, as keys joined by line breaks (names may contain anything else)."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        keys = list(first) + [key for key in second if key not in first]
        missing = object()
        return [
            line
            for key in keys
            for line in _differences(
                first.get(key, missing), second.get(key, missing), "{}\n{}".format(place, key) if place else str(key)
            )
        ]
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        return [line for a, b in zip(first, second) for line in _differences(a, b, place)]
    return [] if _same(first, second) else [place or "value"]


def _same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        first, second = first.detach().cpu().numpy(), second.detach().cpu().numpy()
    if isinstance(first, np.ndarray):
        floating = first.dtype.kind in "fc" and second.dtype.kind in "fc"
        return first.dtype == second.dtype and bool(np.array_equal(first, second, equal_nan=floating))
    return first is second or bool(first == second) or bool(first != first and second != second)


def _near(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=1e-4, atol=1e-5))


def _native_row(layout: Any, states: TensorDict) -> Any:
    """Return the first row of a batch in the environment's own form."""
    leaves = {}
    for name, spec in layout.specs.items():
        row = states[name][0].detach().cpu().numpy()
        if any(spec.start):
            row = row + np.asarray(spec.start, row.dtype).reshape(spec.shape)
        leaves[name] = row.astype(spec.native_dtype).reshape(spec.native_shape)
    return layout.unflatten(leaves)


def _leaves(value: Any) -> List[np.ndarray]:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [np.asarray(value)]
