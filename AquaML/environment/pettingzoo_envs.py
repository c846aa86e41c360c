"""PettingZoo: parallel environments whose agents are alike, each agent a row of the batch."""

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.backend_wrapper import BackendWrapper
from AquaML.environment.spaces import (
    ACTION_NAME,
    DISCRETE,
    OBSERVATION_NAME,
    PRIVILEGED_NAME,
    SpaceLayout,
    TensorSpec,
    join_names,
    layout_of,
    store_leaf,
    unbounded_leaf,
)
from AquaML.environment.step_arrays import StepArrays, add_scalars
from AquaML.environment.vectorization.backend import VectorBackend
from AquaML.errors import EnvironmentContractError, SpaceError

AGENT_NAME = "agent_id"
"""The observation that tells agents apart."""
_READ = ("possible_agents", "observation_space", "action_space", "reset", "step")


class PettingZooWrapper(BackendWrapper):
    """Parallel environments of PettingZoo behind AquaML's step contract, one policy for all agents.

    Each agent is a row: environment *e* and agent *a* are row ``e * len(possible_agents) + a``. An agent that has ended
    while others go on gives rows that are no data (``infos["valid"]`` is False), until all have ended and the
    environment is reset, in the same step. The observation is called ``"state"`` (a Dict keeps its keys), and
    ``"agent_id"`` is the agent's number.

    What the environment calls a termination is one: SISL's multiwalker ends so at its time limit.

    Not supported: agents with different spaces (each would need a policy of its own), agents beyond
    ``possible_agents``, and the turn-based AEC interface (``pettingzoo.utils.aec_to_parallel`` converts many).

    Args:
        env: A parallel environment, or a function that makes one.
        copies: How many environments to make of a function.
        seed: Seed of the first reset when the caller of :meth:`reset` gives none; environment *e* gets ``seed + e``.
        agent_ids: Whether there is the observation ``"agent_id"``, with which one policy can play several parts.
        global_state: Whether ``env.state()`` is shown to the critic, as ``"privileged"``.
        max_episode_length: The environment's time limit, where it has one.
        action_bounds: ``"clip"`` cuts Box actions to their bounds, ``"rescale"`` maps -1 … 1 to them, ``"none"`` passes
            them on.
        finite_horizon: True if the time limit is part of the task: reaching it then counts as termination.

    Attributes:
        agents: The agents' names, in the order of rows.

    Raises:
        EnvironmentContractError: The arguments do not fit together, or it is no parallel environment.
        SpaceError: Agents have different spaces, or an observation is called as one that is added here.
    """

    def __init__(
        self,
        env: Union[Any, Callable[[], Any]],
        copies: int = 1,
        seed: Optional[int] = None,
        agent_ids: bool = True,
        global_state: bool = False,
        max_episode_length: Optional[int] = None,
        action_bounds: str = "clip",
        finite_horizon: bool = False,
    ) -> None:
        super().__init__(seed, action_bounds, finite_horizon)
        self._source = None if hasattr(env, "possible_agents") else env
        self._options = {
            "agent_ids": agent_ids,
            "global_state": global_state,
            "max_episode_length": max_episode_length,
            "action_bounds": action_bounds,
            "finite_horizon": finite_horizon,
        }
        environments = _made(env, copies)
        first = environments[0]
        self.agents: List[str] = list(first.possible_agents)
        self.max_episode_length = max_episode_length
        self.name = str((getattr(first, "metadata", None) or {}).get("name", type(first).__name__))
        seen, actions = _common_layout(first, self.agents)
        added = [_agent_leaf(len(self.agents))] if agent_ids else []
        if global_state:
            added.append(_state_leaf(first))
        transform = self.describe_spaces(_with(seen, added), actions)
        self.attach(PettingZooVector(environments, self.agents, seen, transform, agent_ids, global_state))

    def spawn(self, num_envs: int) -> "PettingZooWrapper":
        """Make independent environments with at least that many agents; see :meth:`EnvironmentWrapper.spawn`."""
        if self._source is None:
            return super().spawn(num_envs)  # type: ignore[return-value]
        return PettingZooWrapper(self._source, copies=-(-num_envs // len(self.agents)), **self._options)  # type: ignore[arg-type]


class PettingZooVector(VectorBackend):
    """Several parallel environments, stepped one after the other.

    Args:
        environments: Made environments with the same agents.
        agents: Their names, in the order of rows.
        layout: An agent's own observation space.
        transform: Converts the agents' actions.
        agent_ids: Whether to write the agents' numbers.
        global_state: Whether to write ``env.state()``.
    """

    has_invalid_rows = True

    def __init__(
        self,
        environments: Sequence[Any],
        agents: Sequence[str],
        layout: SpaceLayout,
        transform: ActionTransform,
        agent_ids: bool,
        global_state: bool,
    ) -> None:
        self.environments = list(environments)
        self._agents = list(agents)
        self._layout = layout
        self._transform = transform
        self._agent_ids, self._global_state = agent_ids, global_state
        self.num_envs = len(self.environments) * len(self._agents)
        self._row = {agent: row for row, agent in enumerate(self._agents)}
        # Agents that have ended in the running episode, or are not in it.
        self._absent = np.zeros(self.num_envs, np.bool_)
        self._latest: Dict[str, np.ndarray] = {}

    def reset(self, seed: Optional[int], out: StepArrays) -> None:
        """Start every environment anew and write the first observations."""
        self._write_numbers(out)
        for index in range(len(self.environments)):
            self._begin(index, None if seed is None else seed + index, out)
        self._latest = out.observations

    def _write_numbers(self, out: StepArrays) -> None:
        if self._agent_ids:
            numbers = np.tile(np.arange(len(self._agents)), len(self.environments))
            out.observations[AGENT_NAME][:, 0] = out.final[AGENT_NAME][:, 0] = numbers

    def _begin(self, index: int, seed: Optional[int], out: StepArrays) -> None:
        environment, first = self.environments[index], index * len(self._agents)
        result = environment.reset(seed=seed)
        observations = result[0] if isinstance(result, tuple) else result
        self._absent[first : first + len(self._agents)] = True
        for agent in environment.agents:
            row = first + self._number(agent)
            self._absent[row] = False
            self._store(out.observations, row, agent, observations)
        self._store_state(index, out.observations)

    def step(self, native: Dict[str, np.ndarray], out: StepArrays) -> bool:
        """Advance every environment and write the results.

        Returns:
            Whether an agent has ended.
        """
        out.log = {}
        out.rewards[:] = 0.0
        out.terminated[:] = out.truncated[:] = False
        out.valid[:, 0] = ~self._absent
        self._write_numbers(out)
        for name, values in self._latest.items():
            # What an absent agent saw last stands in for what it does not see.
            out.observations[name][...] = values
        ended = [self._step_one(index, native, out) for index in range(len(self.environments))]
        self._latest = out.observations
        return any(ended)

    def _step_one(self, index: int, native: Dict[str, np.ndarray], out: StepArrays) -> bool:
        environment, first = self.environments[index], index * len(self._agents)
        acting = list(environment.agents)
        actions = {agent: self._transform.row(native, first + self._number(agent)) for agent in acting}
        observations, rewards, terminations, truncations, infos = environment.step(actions)
        ended = False
        for agent in acting:
            row = first + self._number(agent)
            if self._absent[row]:
                continue
            out.rewards[row, 0] = rewards[agent]
            out.terminated[row, 0] = bool(terminations[agent])
            out.truncated[row, 0] = bool(truncations[agent]) and not terminations[agent]
            add_scalars(out.log, infos.get(agent) or {}, row, self.num_envs)
            if terminations[agent] or truncations[agent]:
                ended = self._absent[row] = True
                self._store(out.final, row, agent, observations)
            elif agent not in environment.agents:
                raise EnvironmentContractError(
                    "Environment {}: agent '{}' is gone without having terminated or been truncated.".format(
                        index, agent
                    )
                )
        if ended:
            self._store_state(index, out.final)
        if not environment.agents:
            self._begin(index, None, out)
            return ended
        self._observe_present(index, first, observations, out)
        return ended

    def _observe_present(self, index: int, first: int, observations: Mapping[str, Any], out: StepArrays) -> None:
        environment = self.environments[index]
        for agent in environment.agents:
            row = first + self._number(agent)
            if agent not in observations:
                continue
            if not out.terminated[row, 0] and not out.truncated[row, 0]:
                # An agent that joins in late acts from the next step on.
                self._absent[row] = False
            self._store(out.observations, row, agent, observations)
        self._store_state(index, out.observations)

    def _number(self, agent: str) -> int:
        try:
            return self._row[agent]
        except KeyError:
            raise EnvironmentContractError(
                "The agent '{}' is none of possible_agents ({}), which is not supported.".format(
                    agent, join_names(self._agents)
                )
            ) from None

    def _store(self, target: Dict[str, np.ndarray], row: int, agent: str, observations: Mapping[str, Any]) -> None:
        try:
            for name, value in self._layout.flatten(observations[agent]).items():
                store_leaf(self._layout.specs[name], value, target[name][row])
        except KeyError as error:
            raise EnvironmentContractError("There is no observation of agent '{}'.".format(agent)) from error
        except EnvironmentContractError as error:
            raise EnvironmentContractError(
                "Environment {}, agent '{}' broke its observation space: {}".format(
                    row // len(self._agents), agent, error
                )
            ) from error

    def _store_state(self, index: int, target: Dict[str, np.ndarray]) -> None:
        if self._global_state:
            first = index * len(self._agents)
            target[PRIVILEGED_NAME][first : first + len(self._agents)] = _state_of(self.environments[index])

    def render(self) -> Any:
        """Show the first environment."""
        return self.environments[0].render()

    @property
    def render_mode(self) -> Optional[str]:
        """How the first environment shows itself."""
        mode: Optional[str] = getattr(self.environments[0], "render_mode", None)
        return mode

    def close(self) -> None:
        """Close all environments."""
        for environment in self.environments:
            environment.close()


def _made(env: Any, copies: int) -> List[Any]:
    if isinstance(copies, bool) or not isinstance(copies, int) or copies < 1:
        raise EnvironmentContractError("copies is {!r}; expected an integer of at least 1.".format(copies))
    if hasattr(env, "possible_agents"):
        if copies != 1:
            raise EnvironmentContractError("One made environment cannot be copied; give a function that makes one.")
        return [_parallel(env)]
    if not callable(env):
        raise EnvironmentContractError(
            "{!r} is no parallel environment of PettingZoo and no function that makes one; give, for example, "
            "simple_spread_v3.parallel_env.".format(env)
        )
    environments = [_parallel(env()) for _ in range(copies)]
    agents = [list(environment.possible_agents) for environment in environments]
    if any(names != agents[0] for names in agents):
        raise EnvironmentContractError("The function made environments with different agents: {}.".format(agents))
    return environments


def _parallel(environment: Any) -> Any:
    if hasattr(environment, "agent_iter"):
        raise EnvironmentContractError(
            "{} is turn-based (AEC), which is not supported; convert it by pettingzoo.utils.aec_to_parallel.".format(
                type(environment).__name__
            )
        )
    missing = [name for name in _READ if not hasattr(environment, name)]
    if missing:
        raise EnvironmentContractError(
            "{} has no {}; PettingZooWrapper reads {}.".format(
                type(environment).__name__, ", ".join(missing), ", ".join(_READ)
            )
        )
    return environment


def _common_layout(environment: Any, agents: Sequence[str]) -> Tuple[SpaceLayout, SpaceLayout]:
    """Return the spaces of observation and action that all agents have."""
    layouts = [
        (
            layout_of(environment.observation_space(agent), OBSERVATION_NAME),
            layout_of(environment.action_space(agent), ACTION_NAME),
        )
        for agent in agents
    ]
    for agent, layout in zip(agents, layouts):
        for ours, theirs, what in zip(layouts[0], layout, ("observation", "action")):
            differences = ours.differences(theirs)
            if differences:
                raise SpaceError(
                    "Agents '{}' and '{}' have different {} spaces: {}. One policy plays all agents here; make the "
                    "spaces equal, for example with the wrappers of the package supersuit.".format(
                        agents[0], agent, what, "; ".join(differences)
                    )
                )
    return layouts[0]


def _agent_leaf(number: int) -> TensorSpec:
    low, high = np.zeros(1), np.full(1, float(number - 1))
    return TensorSpec(AGENT_NAME, DISCRETE, (1,), "int64", low, high, (number,), (0,), (), "int64")


def _state_leaf(environment: Any) -> TensorSpec:
    environment.reset()
    state = _state_of(environment)
    return unbounded_leaf(PRIVILEGED_NAME, state.shape, state.dtype.name)


def _state_of(environment: Any) -> np.ndarray:
    try:
        return np.asarray(environment.state())
    except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        # Environments without one raise NotImplementedError; some have none once an agent is gone.
        raise EnvironmentContractError(
            "global_state=True needs env.state(), which failed while the agents {} were there ({}: {}); turn "
            "global_state off.".format(join_names(environment.agents), type(error).__name__, error)
        ) from error


def _with(layout: SpaceLayout, added: Sequence[TensorSpec]) -> SpaceLayout:
    """Return an agent's observations with further ones beside them."""
    items = {layout.structure: layout.structure} if isinstance(layout.structure, str) else layout.structure["items"]
    for spec in added:
        if spec.name in layout.specs:
            raise SpaceError("An observation is called '{}' already; rename it.".format(spec.name))
    specs = dict(layout.specs, **{spec.name: spec for spec in added})
    if not added:
        return layout
    return SpaceLayout(specs, {"kind": "Dict", "items": dict(items, **{spec.name: spec.name for spec in added})})
