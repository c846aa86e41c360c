"""Gymnasium vector environments of every version and autoreset mode behind the batch step of AquaML."""

from typing import Any, Dict, Mapping, Optional

import gymnasium
import numpy as np
from loguru import logger

from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.spaces import SpaceLayout, store_leaf
from AquaML.environment.step_arrays import StepArrays, add_scalars
from AquaML.environment.vectorization.backend import VectorBackend
from AquaML.errors import EnvironmentContractError

SAME_STEP, NEXT_STEP, DISABLED = "same_step", "next_step", "disabled"
_NOT_SCALARS = ("final_obs", "final_observation", "final_info")
_EPISODE = "episode/"
"""What Gymnasium's ``RecordEpisodeStatistics`` adds around a vector environment; never part of a reset's info."""


class VectorAdapter(VectorBackend):
    """A ``gymnasium.vector.VectorEnv`` made elsewhere.

    Same-step reset hands over the last observation in ``info["final_obs"]`` (``"final_observation"`` before
    Gymnasium 1.0). After next-step reset the following row only resets and is marked invalid. Where autoreset is
    disabled, finished environments are reset here through ``reset_mask``, which looks like same-step reset outside.

    Args:
        environment: The vector environment.
        layout: Its observation space.
        transform: Converts the agent's actions.
        mode: ``"auto"`` reads the mode from the environment; otherwise one of the three names.
        gives_final_observation: False if a same-step environment does not hand over the last observation.

    Raises:
        EnvironmentContractError: The mode is unknown.
    """

    def __init__(
        self,
        environment: Any,
        layout: SpaceLayout,
        transform: ActionTransform,
        mode: str = "auto",
        gives_final_observation: bool = True,
    ) -> None:
        if mode not in ("auto", SAME_STEP, NEXT_STEP, DISABLED):
            raise EnvironmentContractError(
                "autoreset is {!r}; expected 'auto', 'same_step', 'next_step' or 'disabled'.".format(mode)
            )
        self.environment = environment
        self._pending_reset_survives = _forgets_explicit_reset(environment)
        self._warned_overwritten = False
        self.num_envs = int(environment.num_envs)
        self.mode = detect_autoreset(environment) if mode == "auto" else mode
        self.autoreset = NEXT_STEP if self.mode == NEXT_STEP else SAME_STEP
        self.has_invalid_rows = self.mode == NEXT_STEP
        self.gives_final_observation = gives_final_observation or self.mode != SAME_STEP
        self._layout = layout
        self._transform = transform
        self._resets_next = np.zeros(self.num_envs, bool)

    def reset(self, seed: Optional[int], out: StepArrays) -> None:
        """Start every environment anew and write the first observations."""
        if not self._pending_reset_survives:
            self._resets_next[:] = False
        result = self.environment.reset(seed=seed)
        if not isinstance(result, tuple) or len(result) != 2:
            raise EnvironmentContractError(
                "{}.reset() returned {}; expected (observations, infos).".format(
                    type(self.environment).__name__, type(result).__name__
                )
            )
        self._store(out.observations, result[0])

    def step(self, native: Dict[str, np.ndarray], out: StepArrays) -> bool:
        """Advance every environment and write the results.

        Returns:
            Whether ``out.final`` holds the last observation of at least one episode.
        """
        actions = self._transform.layout.unflatten(native)
        result = self.environment.step(actions)
        if not isinstance(result, tuple) or len(result) != 5:
            raise EnvironmentContractError(
                "{}.step() returned {}; expected (observations, rewards, terminated, truncated, infos).".format(
                    type(self.environment).__name__,
                    "{} values".format(len(result)) if isinstance(result, tuple) else type(result).__name__,
                )
            )
        observation, rewards, terminated, truncated, info = result
        self._store_flags(out, rewards, terminated, truncated)
        done = out.terminated[:, 0] | out.truncated[:, 0]
        out.valid[:, 0] = ~self._resets_next
        out.log = self._scalars(info, done)
        if self.mode == NEXT_STEP:
            self._store(out.observations, observation)
            self._resets_next = np.array(done)
            return False
        if self.mode == DISABLED:
            return self._reset_by_mask(observation, done, out)
        self._store(out.observations, observation)
        return bool(done.any()) and self.gives_final_observation and self._store_final(info, done, out)

    def _store_flags(self, out: StepArrays, rewards: Any, terminated: Any, truncated: Any) -> None:
        for name, values in (("rewards", rewards), ("terminated", terminated), ("truncated", truncated)):
            if np.shape(values) != (self.num_envs,):
                raise EnvironmentContractError(
                    "The vector environment returned {} of shape {}; expected ({},).".format(
                        name, np.shape(values), self.num_envs
                    )
                )
        out.rewards[:, 0] = rewards
        out.terminated[:, 0] = terminated
        np.logical_and(truncated, np.logical_not(terminated), out=out.truncated[:, 0])

    def _store(self, target: Dict[str, np.ndarray], observation: Any) -> None:
        try:
            for name, value in self._layout.flatten(observation).items():
                store_leaf(self._layout.specs[name], value, target[name])
        except EnvironmentContractError as error:
            raise EnvironmentContractError(
                "{} of {} environments broke its observation space: {}".format(
                    type(self.environment).__name__, self.num_envs, error
                )
            ) from error

    def _reset_by_mask(self, observation: Any, done: np.ndarray, out: StepArrays) -> bool:
        if not done.any():
            self._store(out.observations, observation)
            return False
        self._store(out.final, observation)
        first, _ = self.environment.reset(options={"reset_mask": np.array(done)})
        self._store(out.observations, first)
        return True

    def _store_final(self, info: Mapping[str, Any], done: np.ndarray, out: StepArrays) -> bool:
        final = info.get("final_obs", info.get("final_observation"))
        for index in np.flatnonzero(done):
            row = None if final is None else final[index]
            if row is None:
                raise EnvironmentContractError(
                    "Environment {} ended and was reset in the same step, but info['final_obs'] does not hold its last "
                    "observation. If the simulator cannot give it, say GymnasiumWrapper(..., "
                    "gives_final_observation=False); if it resets on the next step, autoreset='next_step'.".format(
                        index
                    )
                )
            try:
                for name, value in self._layout.flatten(row).items():
                    store_leaf(self._layout.specs[name], value, out.final[name][index])
            except EnvironmentContractError as error:
                raise EnvironmentContractError(
                    "Environment {}: info['final_obs'] broke the observation space: {}".format(index, error)
                ) from error
            self._watch_overwritten(int(index), out)
        return True

    def _watch_overwritten(self, index: int, out: StepArrays) -> None:
        """Warn of an environment whose ``reset`` writes into the array that its last ``step`` returned.

        Gymnasium keeps that array as ``final_obs`` without a copy, so the last observation is lost.
        """
        if self._warned_overwritten or not any(spec.is_floating for spec in self._layout.specs.values()):
            return
        if all(np.array_equal(out.final[name][index], out.observations[name][index]) for name in self._layout.specs):
            self._warned_overwritten = True
            logger.warning(
                "The last observation of an episode of environment {} equals the first one of the next in every bit. "
                "If its reset() overwrites the array that step() returned, return a copy in step(); otherwise "
                "bootstrapping at time limits uses the wrong observation.",
                index,
            )

    def _scalars(self, info: Mapping[str, Any], done: np.ndarray) -> Dict[str, np.ndarray]:
        log: Dict[str, np.ndarray] = {}
        _add_batch_scalars(log, info, self.num_envs, "")
        # Rows that hold the info of a reset say nothing about a step.
        if self.mode == NEXT_STEP:
            _hide_rows(log, self._resets_next)
        elif self.mode == SAME_STEP and done.any() and "final_info" in info:
            _hide_rows({name: values for name, values in log.items() if not name.startswith(_EPISODE)}, done)
            self._add_final_scalars(log, info["final_info"], done)
        return {name: values for name, values in log.items() if not np.isnan(values).all()}

    def _add_final_scalars(self, log: Dict[str, np.ndarray], final: Any, done: np.ndarray) -> None:
        if isinstance(final, Mapping):
            ended: Dict[str, np.ndarray] = {}
            _add_batch_scalars(ended, final, self.num_envs, "")
            for name, values in ended.items():
                whole = log.setdefault(name, np.full(self.num_envs, np.nan, np.float32))
                whole[done] = values[done]
            return
        for index in np.flatnonzero(done):
            add_scalars(log, final[index] or {}, int(index), self.num_envs)

    def render(self) -> Any:
        """Render through the vector environment."""
        return self.environment.render()

    @property
    def render_mode(self) -> Optional[str]:
        """The vector environment's render mode."""
        return getattr(self.environment, "render_mode", None)

    def close(self) -> None:
        """Close the vector environment."""
        self.environment.close()


def detect_autoreset(environment: Any) -> str:
    """Find out when a vector environment resets itself.

    Gymnasium before 1.0 always resets in the same step, 1.0 always in the next; from 1.1 on the environment's
    metadata tells.
    """
    if issubclass(gymnasium.vector.VectorEnv, gymnasium.Env):
        return SAME_STEP
    declared = (environment.metadata or {}).get("autoreset_mode")
    if declared is None:
        if hasattr(gymnasium.vector, "AutoresetMode"):
            logger.warning(
                "{} does not declare metadata['autoreset_mode']; next-step reset is assumed. Pass autoreset=... to "
                "GymnasiumWrapper if that is wrong.",
                type(environment).__name__,
            )
        return NEXT_STEP
    value = str(getattr(declared, "value", declared))
    known = {"NextStep": NEXT_STEP, "SameStep": SAME_STEP, "Disabled": DISABLED}
    if value not in known:
        raise EnvironmentContractError(
            "metadata['autoreset_mode'] is {!r}; expected one of {}.".format(declared, list(known))
        )
    return known[value]


def _forgets_explicit_reset(environment: Any) -> bool:
    """Whether an explicit ``reset`` after the end of an episode is followed by one more.

    The workers of ``AsyncVectorEnv(shared_memory=False)`` forget a pending next-step reset only where memory is shared;
    the first row after an explicit reset then only resets, too.
    """
    bare = getattr(environment, "unwrapped", environment)
    return isinstance(bare, gymnasium.vector.AsyncVectorEnv) and not getattr(bare, "shared_memory", True)


def _hide_rows(log: Dict[str, np.ndarray], rows: np.ndarray) -> None:
    for values in log.values():
        values[rows] = np.nan


def _add_batch_scalars(log: Dict[str, np.ndarray], info: Mapping[str, Any], rows: int, prefix: str) -> None:
    for key, value in info.items():
        if key in _NOT_SCALARS or str(key).startswith("_"):
            continue
        name = "{}{}".format(prefix, key)
        if isinstance(value, Mapping):
            inner: Dict[str, np.ndarray] = {}
            _add_batch_scalars(inner, value, rows, name + "/")
            _hide_unmasked(inner, info, key)
            log.update(inner)
        elif not isinstance(value, np.ndarray) or value.shape[:1] != (rows,):
            continue
        elif value.dtype.kind == "O":
            # Gymnasium before 1.0 keeps nested dictionaries in an array of objects.
            for row, item in enumerate(value):
                if isinstance(item, Mapping):
                    add_scalars(log, item, row, rows, name + "/")
        elif value.size == rows and value.dtype.kind in "biuf":
            log[name] = value.reshape(rows).astype(np.float32)
            _hide_unmasked({name: log[name]}, info, key)


def _hide_unmasked(log: Dict[str, np.ndarray], info: Mapping[str, Any], key: Any) -> None:
    """Make NaN of the rows in which the mask beside ``key`` says that nothing was given."""
    mask = info.get("_{}".format(key))
    if mask is not None:
        _hide_rows(log, ~np.asarray(mask, bool))
