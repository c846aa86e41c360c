"""An agent's part of a checkpoint: read from its own file or from a run's, and compared with an agent."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import torch

from AquaML.coordinator.checkpoint_format import read_checkpoint
from AquaML.coordinator.checkpoint_match import Differences
from AquaML.environment.saved_spaces import read_spaces
from AquaML.environment.spaces import SpaceLayout, join_names
from AquaML.errors import AquaMLError, CheckpointCorruptError, CheckpointMismatchError, SpaceError, StateError
from AquaML.learning.model.base import Model
from AquaML.stateful import TRAINING, WEIGHTS, apply_states, find_misfits

if TYPE_CHECKING:
    from AquaML.learning.reinforcement.base import Agent

AGENT_KIND, RUN_KIND = "agent", "run"
AGENT_PREFIX = "agent/"
"""What an agent's parts are called in the checkpoint of a run, before their own names."""
_ROLES = (WEIGHTS, TRAINING)


@dataclasses.dataclass
class SavedAgent:
    """What a file holds of an agent.

    Attributes:
        where: The file, for messages.
        algorithm: Name of the algorithm.
        inputs: Role of each model to the observations that it reads, in their order; None if they were not known.
        spaces: Observations, actions and the treatment of action bounds; None if they were not known.
        parts: Part name to ``{"role", "class", "state"}``.
    """

    where: str
    algorithm: str
    inputs: Optional[Dict[str, List[str]]]
    spaces: Optional[Tuple[SpaceLayout, SpaceLayout, str]]
    parts: Dict[str, Dict[str, Any]]


def read_agent(path: Union[str, Path]) -> SavedAgent:
    """Read an agent from a file of :meth:`Agent.save` or of a run.

    Raises:
        CheckpointError: The file is missing, damaged, or holds no agent.
    """
    checkpoint = read_checkpoint(path)
    where = "'{}'".format(path)
    kind = checkpoint.metadata.get("kind")
    if kind not in (AGENT_KIND, RUN_KIND):
        raise CheckpointMismatchError("{} holds {!r}, no agent.".format(where, str(kind)[:100]))
    if kind == AGENT_KIND:
        return saved_agent(checkpoint.metadata, checkpoint.parts, where)
    own = [name for name in checkpoint.parts if name.startswith(AGENT_PREFIX)]
    parts = {name[len(AGENT_PREFIX) :]: checkpoint.parts[name] for name in own}
    return saved_agent(checkpoint.metadata.get("agent"), parts, where)


def saved_agent(metadata: Any, parts: Dict[str, Dict[str, Any]], where: str) -> SavedAgent:
    """Check the metadata of an agent.

    Raises:
        CheckpointCorruptError: They are none.
    """
    try:
        spaces = None if metadata["spaces"] is None else read_spaces(metadata["spaces"], _stored_bytes(parts))
        algorithm, inputs = metadata["algorithm"], metadata.get("inputs")
        if not isinstance(algorithm, str) or not _is_inputs(inputs):
            raise TypeError("algorithm or inputs are of another kind")
    except (AttributeError, KeyError, SpaceError, TypeError) as error:
        raise CheckpointCorruptError(
            "{} does not describe an agent as AquaML does ({}: {}).".format(
                where, type(error).__name__, str(error)[:200]
            )
        ) from error
    return SavedAgent(where, algorithm, inputs, spaces, parts)


def _is_inputs(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, dict) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in value.values()
    )


def _stored_bytes(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_stored_bytes(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_stored_bytes(item) for item in value)
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else getattr(value, "nbytes", 0)


def model_inputs(agent: "Agent") -> Dict[str, List[str]]:
    """Return the observations that each model reads, in their order, as far as that is known."""
    specs = {} if agent.observation_layout is None else agent.observation_layout.specs
    named = {role: model.input_names(specs) for role, model in agent.models.items() if isinstance(model, Model)}
    return {role: names for role, names in named.items() if names}


def differences_from(agent: "Agent", saved: SavedAgent, only: Optional[Sequence[str]] = None) -> Differences:
    """Compare an agent with a file in algorithm, inputs and spaces, as far as the agent knows its own.

    Args:
        agent: The agent.
        saved: The file.
        only: The parts that are to be taken; their spaces may be others, the order of their inputs may not.
    """
    found = Differences()
    if saved.algorithm != agent.algorithm():
        found.algorithm = ["it was saved by {}, this agent is {}".format(saved.algorithm, agent.algorithm())]
    if saved.spaces is not None and only is None:
        observations, actions, _ = saved.spaces
        pairs = (("observations", agent.observation_layout, observations), ("actions", agent.action_layout, actions))
        for name, layout, other in pairs:
            lines = [] if layout is None else layout.differences(other)
            found.spaces += ["{}: {}".format(name, line) for line in lines]
    found.spaces += _input_differences(model_inputs(agent), saved.inputs or {}, only)
    return found


def _input_differences(
    ours: Mapping[str, List[str]], saved: Mapping[str, List[str]], only: Optional[Sequence[str]]
) -> List[str]:
    lines = []
    for role, names in ours.items():
        former = saved.get(role, names)
        relevant = only is None or (role in only and sorted(former) == sorted(names))
        if relevant and former != names:
            text = "'{}' was trained on the inputs {} and reads {}"
            lines.append(text.format(role, join_names(former), join_names(names)))
    return lines


def take_over(agent: "Agent", saved: SavedAgent, only: Optional[Sequence[str]]) -> None:
    """Restore an agent; what it knows of the spaces may have changed when this fails, its parts have not.

    Raises:
        CheckpointMismatchError: Tells everything in which the file differs.
    """
    opening = "{} does not fit this {}; nothing was loaded".format(saved.where, type(agent).__name__)
    advice = "Make agent, models and spaces as they were when saved."
    if only is None:
        advice += " To take over single parts, name them: load(path, only=['policy'])."
    found = differences_from(agent, saved, only)
    compared = only
    try:
        if not _takes_spaces(agent, saved, only, found):
            # The parts that the file's spaces would shape are not there, and are no difference of their own.
            compared = [part.name for part in agent.parts if part.role in _ROLES] if only is None else only
        found.misfits = find_misfits(agent.parts, saved.parts, _ROLES, compared)
        found.require_none(opening, advice)
        apply_states(agent.parts, saved.parts, _ROLES, only)
    except StateError as error:
        raise CheckpointMismatchError("{}: {}. {}".format(opening, str(error).rstrip("."), advice)) from error


def _takes_spaces(agent: "Agent", saved: SavedAgent, only: Optional[Sequence[str]], found: Differences) -> bool:
    """Let the agent know the file's spaces where it needs them; return whether it knows spaces that are the file's."""
    is_bound = agent.observation_layout is not None
    # A warm start may come from another environment: its spaces are taken only with parts that they shape.
    known = {part.name for part in agent.parts}
    needs_spaces = only is None or (not is_bound and not known.issuperset(only))
    if saved.spaces is None or not needs_spaces:
        return is_bound
    if found.spaces:
        return is_bound
    try:
        agent.bind_spaces(*saved.spaces)
    except AquaMLError as error:
        found.spaces.append(str(error))
        return False
    found.spaces += _input_differences(model_inputs(agent), saved.inputs or {}, only)
    return True
