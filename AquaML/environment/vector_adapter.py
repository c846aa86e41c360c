"""Gymnasium vector environments of every version and autoreset mode behind the batch step of AquaML."""

from typing import Any, Dict, Mapping, Optional

import gymnasium
import numpy as np
from loguru import logger

from AquaML.environment.spaces import ActionTransform, SpaceLayout, store_leaf
from AquaML.environment.step_buffers import StepBuffer, add_scalars
from AquaML.errors import EnvironmentContractError

SAME_STEP, NEXT_STEP, DISABLED = "same_step", "next_step", "disabled"
_NOT_SCALARS = ("final_obs", "final_observation", "final_info")


class VectorAdapter:
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
        self.num_envs = int(environment.num_envs)
        self.mode = detect_autoreset(environment) if mode == "auto" else mode
        self.autoreset = NEXT_STEP if self.mode == NEXT_STEP else SAME_STEP
        self.has_invalid_rows = self.mode == NEXT_STEP
        self.gives_final_observation = gives_final_observation or self.mode != SAME_STEP
        self._layout = layout
        self._transform = transform
        self._resets_next = np.zeros(self.num_envs, bool)

    def reset(self, seed: Optional[int], out: StepBuffer) -> None:
        """Start every environment anew and write the first observations."""
        self._resets_next[:] = False
        self._store(out.observations, self.environment.reset(seed=seed)[0])

    def step(self, native: Dict[str, np.ndarray], out: StepBuffer) -> bool:
        """Advance every environment and write the results.

        Returns:
            Whether ``out.final`` holds the last observation of at least one episode.
        """
        actions = self._transform.layout.unflatten(native)
        observation, rewards, terminated, truncated, info = self.environment.step(actions)
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

    def _store_flags(self, out: StepBuffer, rewards: Any, terminated: Any, truncated: Any) -> None:
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
        for name, value in self._layout.flatten(_as_batch(observation)).items():
            store_leaf(self._layout.specs[name], value, target[name])

    def _reset_by_mask(self, observation: Any, done: np.ndarray, out: StepBuffer) -> bool:
        if not done.any():
            self._store(out.observations, observation)
            return False
        self._store(out.final, observation)
        first, _ = self.environment.reset(options={"reset_mask": np.array(done)})
        self._store(out.observations, first)
        return True

    def _store_final(self, info: Mapping[str, Any], done: np.ndarray, out: StepBuffer) -> bool:
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
            for name, value in self._layout.flatten(row).items():
                store_leaf(self._layout.specs[name], value, out.final[name][index])
        return True

    def _scalars(self, info: Mapping[str, Any], done: np.ndarray) -> Dict[str, np.ndarray]:
        log: Dict[str, np.ndarray] = {}
        _add_batch_scalars(log, info, self.num_envs, "")
        if self.mode == SAME_STEP and done.any() and "final_info" in info:
            for values in log.values():
                values[done] = np.nan
            final = info["final_info"]
            if isinstance(final, Mapping):
                ended: Dict[str, np.ndarray] = {}
                _add_batch_scalars(ended, final, self.num_envs, "")
                for name, values in ended.items():
                    whole = log.setdefault(name, np.full(self.num_envs, np.nan, np.float32))
                    whole[done] = values[done]
            else:
                for index in np.flatnonzero(done):
                    add_scalars(log, final[index] or {}, int(index), self.num_envs)
        return log

    def get_state(self) -> None:
        """Return None: the state of a foreign vector environment is out of reach."""
        return

    def set_state(self, state: Dict[str, Any], out: StepBuffer) -> bool:
        """Return False: there is nothing to restore."""
        return False

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


def _as_batch(observation: Any) -> Any:
    return np.asarray(observation) if isinstance(observation, list) else observation


def _add_batch_scalars(log: Dict[str, np.ndarray], info: Mapping[str, Any], rows: int, prefix: str) -> None:
    for key, value in info.items():
        if key in _NOT_SCALARS or key.startswith("_"):
            continue
        if isinstance(value, Mapping):
            _add_batch_scalars(log, value, rows, "{}{}/".format(prefix, key))
        elif isinstance(value, np.ndarray) and value.shape == (rows,) and value.dtype.kind in "biuf":
            numbers = value.astype(np.float32)
            mask = info.get("_" + key)
            if mask is not None:
                numbers[~np.asarray(mask, bool)] = np.nan
            log[prefix + key] = numbers
