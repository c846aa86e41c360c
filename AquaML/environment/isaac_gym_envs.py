"""Isaac Gym: tasks of isaacgymenvs (``VecTask``), built by the user or by name."""

from typing import Any, Dict, Mapping, Optional, Union

import torch
from loguru import logger

from AquaML.environment.isaac_gym_import import import_isaac_gym
from AquaML.environment.leaf_names import rename_leaves
from AquaML.environment.simulator_buffers import SimulatorBuffer
from AquaML.environment.simulator_wrapper import SimulatorWrapper, require_attributes, seed_torch
from AquaML.environment.spaces import (
    ACTION_NAME,
    OBSERVATION_NAME,
    PRIVILEGED_NAME,
    SpaceLayout,
    TensorSpec,
    layout_of,
)
from AquaML.errors import EnvironmentContractError

NEXT_STEP, SAME_STEP, MANUAL = "next_step", "same_step", "manual"
_READ = (
    "num_envs",
    "observation_space",
    "action_space",
    "rl_device",
    "reset_buf",
    "progress_buf",
    "step",
    "zero_actions",
)
_FLAGS = ("time_outs", "terminate")


class IsaacGymWrapper(SimulatorWrapper):
    """A task of isaacgymenvs behind AquaML's step contract.

    Tasks reset themselves in three ways that nothing declares, so by default they are tried at once: a step to the time
    limit shows whether the task resets in the same step (AnymalTerrain; its last observations are lost), in the next
    one (Ant, Humanoid and most others; the row of that reset is no data), or not at all (the AMP tasks, for which
    ``reset_done()`` is called here).

    The observation is called ``"state"``, the critic's ``"states"`` are called ``"privileged"``.

    Random numbers come from torch's global generators: ``reset(seed=...)`` seeds them.

    Args:
        env: A task, or its name for ``isaacgymenvs.make``, for example ``"Ant"``. Isaac Gym must be imported before
            torch; see :func:`~AquaML.environment.isaac_gym_import.import_isaac_gym`.
        autoreset: ``"next_step"``, ``"same_step"`` or ``"manual"``; ``"auto"`` finds out.
        names: The task's name of an observation to yours.
        action_bounds: See :class:`~AquaML.environment.simulator_wrapper.SimulatorWrapper`.
        finite_horizon: True if the time limit is part of the task: reaching it then counts as termination.
        random_initial_length: Whether the first episodes after :meth:`reset` begin at a random age, so that time limits
            do not all fall into one step.
        **kwargs: Arguments of ``isaacgymenvs.make``, for a name only: ``num_envs``, ``seed``, ``sim_device``,
            ``rl_device``, ``headless`` and so on.

    Raises:
        EnvironmentContractError: The task lacks what is read here, or its way of resetting cannot be found out.
        MissingDependencyError: A name was given and Isaac Gym is not installed.
    """

    def __init__(
        self,
        env: Union[str, Any],
        autoreset: str = "auto",
        names: Optional[Mapping[str, str]] = None,
        action_bounds: str = "clip",
        finite_horizon: bool = False,
        random_initial_length: bool = False,
        **kwargs: Any,
    ) -> None:
        task = _made(env, kwargs)
        require_attributes(task, _READ, "IsaacGymWrapper")
        if autoreset not in ("auto", NEXT_STEP, SAME_STEP, MANUAL):
            raise EnvironmentContractError(
                "autoreset is {!r}; expected 'auto', 'next_step', 'same_step' or 'manual'.".format(autoreset)
            )
        if getattr(task, "num_agents", 1) != 1:
            raise EnvironmentContractError(
                "{} has {} agents in each environment; IsaacGymWrapper takes tasks with one.".format(
                    type(task).__name__, task.num_agents
                )
            )
        super().__init__(
            task,
            type(task).__name__,
            int(task.num_envs),
            rename_leaves(_observations(task), {"obs": OBSERVATION_NAME, "states": PRIVILEGED_NAME}, names),
            layout_of(task.action_space, ACTION_NAME),
            task.rl_device,
            action_bounds,
            finite_horizon,
        )
        limit = getattr(task, "max_episode_length", None)
        self.max_episode_length = None if limit is None else int(limit)
        if random_initial_length and self.max_episode_length is None:
            raise EnvironmentContractError("random_initial_length needs a time limit; {} has none.".format(self.name))
        self._random_initial_length = random_initial_length
        self.environment_steps = 0
        self.resets = self._find_out() if autoreset == "auto" else autoreset
        if self.resets == SAME_STEP:
            require_attributes(task, ("reset_idx",), "IsaacGymWrapper(autoreset='same_step')")
        self.autoreset = NEXT_STEP if self.resets == NEXT_STEP else SAME_STEP
        self.has_invalid_rows = self.resets == NEXT_STEP
        self.gives_final_observation = self.resets != SAME_STEP

    # ------------------------------------------------------------------ the three ways to reset

    def _find_out(self) -> str:
        """Step to the time limit and see what the task does."""
        task = self.environment
        if self.max_episode_length is not None:
            task.step(task.zero_actions())
            task.progress_buf.fill_(self.max_episode_length - 2)
            task.step(task.zero_actions())
            done = task.reset_buf.bool()
            if bool(done.any()):
                way = self._way_of(done.clone())
                logger.info("{}: resets are '{}', found out by a step to the time limit.", self.name, way)
                return way
        raise EnvironmentContractError(
            "{} did not end an episode at its time limit, so how it resets cannot be found out; say "
            "IsaacGymWrapper(..., autoreset='next_step'), 'same_step' or 'manual'.".format(self.name)
        )

    def _way_of(self, done: torch.Tensor) -> str:
        task = self.environment
        assert self.max_episode_length is not None
        if bool((task.progress_buf[done] == 0).all()):
            return SAME_STEP
        task.step(task.zero_actions())
        return MANUAL if bool((task.progress_buf[done] >= self.max_episode_length).all()) else NEXT_STEP

    def restart(self, seed: Optional[int], out: SimulatorBuffer) -> None:
        """Start a new episode everywhere; ``VecTask.reset`` does not, so the task's own means are used."""
        task = self.environment
        seed_torch(seed)
        if self.resets == SAME_STEP:
            task.reset_idx(torch.arange(self.num_envs, device=task.progress_buf.device))
        else:
            task.reset_buf.fill_(1)
        if self.resets == MANUAL:
            observations = task.reset_done()[0]
        else:
            # Observations are computed by a step alone; after a reset in the next step this is that step.
            observations = task.step(task.zero_actions())[0]
        if self._random_initial_length:
            self._spread_ages(task.progress_buf)
        out.store_observations(observations)

    def advance(self, actions: Any, out: SimulatorBuffer) -> None:
        """Step the task."""
        task = self.environment
        self._tell_progress()
        ages = task.progress_buf.clone() if self.resets == SAME_STEP else None
        observations, rewards, done, extras = task.step(actions)
        out.store_rewards(rewards)
        out.store_done(done, self._time_outs(done, ages, extras))
        if self.resets == MANUAL:
            out.store_final(observations)
            observations = task.reset_done()[0]
        out.store_observations(observations)
        out.log = self._scalars(extras, leave_out=_FLAGS)

    def _tell_progress(self) -> None:
        if not self.evaluating:
            self.environment_steps += self.num_envs
            tell = getattr(self.environment, "set_train_info", None)
            if tell is not None:
                tell(self.environment_steps)

    def _time_outs(
        self, done: torch.Tensor, ages: Optional[torch.Tensor], extras: Mapping[str, Any]
    ) -> Optional[torch.Tensor]:
        """Return where the time limit may have ended an episode."""
        if "terminate" in extras:
            return torch.eq(extras["terminate"], 0)
        time_outs: Optional[torch.Tensor] = extras.get("time_outs")
        if self.max_episode_length is None:
            return time_outs
        last = self.max_episode_length - 1
        if ages is not None:
            # The task has set its counter back before it looks for time limits, and so never reports one.
            reached = ages >= last - 1
            return reached if time_outs is None else torch.logical_or(time_outs, reached.to(time_outs.device))
        return time_outs if time_outs is not None else (self.environment.progress_buf >= last).to(done.device)

    # ------------------------------------------------------------------ saved state

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return what the task wants to keep (a curriculum, for example), and how many steps it has been told of."""
        own = getattr(self.environment, "get_env_state", None)
        return {"task": None if own is None else own(), "environment_steps": self.environment_steps}

    def set_state(self, state: Dict[str, Any]) -> bool:
        """Hand the task what it wanted to keep; the physics cannot be restored, so episodes begin anew."""
        self.environment_steps = state["environment_steps"]
        own = getattr(self.environment, "set_env_state", None)
        if own is not None and state["task"] is not None:
            own(state["task"])
        return False


def _made(env: Any, kwargs: Dict[str, Any]) -> Any:
    if not isinstance(env, str):
        if kwargs:
            raise EnvironmentContractError(
                "The task {} is made already, so {} cannot be applied; give them where it is made.".format(
                    type(env).__name__, ", ".join(kwargs)
                )
            )
        return env
    package = import_isaac_gym("isaacgymenvs")
    arguments = {"seed": 0, "num_envs": 256, "sim_device": "cuda:0", "rl_device": "cuda:0", "headless": True}
    arguments.update(kwargs)
    return package.make(task=env, **arguments)


def _observations(task: Any) -> SpaceLayout:
    """Return the spaces as the dictionary that a task's ``step`` returns."""
    seen = layout_of(task.observation_space, "obs")
    specs: Dict[str, TensorSpec] = dict(seen.specs)
    items = {"obs": "obs"} if isinstance(seen.structure, str) else dict(seen.structure["items"])
    if getattr(task, "num_states", 0):
        states = layout_of(task.state_space, "states")
        specs.update(states.specs)
        items["states"] = states.structure
    return SpaceLayout(specs, {"kind": "Dict", "items": items})
