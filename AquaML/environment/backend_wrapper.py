"""A wrapper over a vector backend: conversion of actions, buffers, checks and saved state, written once."""

from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
import torch

from AquaML.compat import require_numpy_bridge
from AquaML.environment.action_transform import ActionTransform
from AquaML.environment.base import EnvironmentWrapper, StepResult, TensorDict
from AquaML.environment.spaces import SpaceLayout
from AquaML.environment.step_buffers import StepBuffer, StepBuffers
from AquaML.environment.vectorization.backend import VectorBackend
from AquaML.errors import EnvironmentContractError, non_finite_numbers


class BackendWrapper(EnvironmentWrapper):
    """Shows what a :class:`~AquaML.environment.vectorization.backend.VectorBackend` computes as tensors.

    A subclass calls :meth:`describe_spaces`, makes its backend, and hands it to :meth:`attach`.

    Args:
        seed: Seed of the first reset when the caller of :meth:`reset` gives none; environment *i* gets ``seed + i``.
        action_bounds: ``"clip"`` cuts Box actions to their bounds, ``"rescale"`` maps -1 … 1 to them, ``"none"``
            passes them on. The agent's tensors are never changed.
        finite_horizon: True if the time limit is part of the task: reaching it then counts as termination.

    Raises:
        EnvironmentContractError: The seed is no seed.
    """

    def __init__(self, seed: Optional[int] = None, action_bounds: str = "clip", finite_horizon: bool = False) -> None:
        super().__init__()
        require_numpy_bridge()
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
            raise EnvironmentContractError("seed is {!r}; expected None or an integer of at least 0.".format(seed))
        self._seed = None if seed is None else int(seed)
        self._started = False
        self._closed = False
        self._finite_horizon = finite_horizon
        self.action_bounds = action_bounds

    def describe_spaces(self, observations: SpaceLayout, actions: SpaceLayout) -> ActionTransform:
        """Take the spaces and return what converts the agent's actions."""
        self.observation_layout = observations
        self.action_layout = actions
        self._transform = ActionTransform(actions, self.action_bounds)
        return self._transform

    def attach(self, backend: VectorBackend) -> None:
        """Take the backend and allocate the buffers."""
        self._backend = backend
        self.num_envs = backend.num_envs
        self.autoreset = backend.autoreset
        self.gives_final_observation = backend.gives_final_observation
        self.has_invalid_rows = backend.has_invalid_rows
        self._buffers = StepBuffers(self.observation_layout.specs, self.num_envs, self.device)

    def to(self, device: torch.device) -> None:
        """Move what is returned from now on to a device."""
        if device != self.device:
            super().to(device)
            self._buffers = StepBuffers(self.observation_layout.specs, self.num_envs, device)

    def reset(self, seed: Optional[int] = None) -> Tuple[TensorDict, Dict[str, Any]]:
        """Start a new episode everywhere; see :meth:`EnvironmentWrapper.reset`."""
        self._require_open()
        if seed is None:
            seed, self._seed = self._seed, None
        out = self._buffers.next()
        self._backend.reset(seed, out)
        self._started = True
        self._require_finite_leaves(out.observations, "observation", None)
        return out.publish("observation/"), {"final_obs": None, "valid": None, "log": {}}

    def step(self, actions: Any) -> StepResult:
        """Advance every environment; see :meth:`EnvironmentWrapper.step`."""
        self._require_open()
        if not self._started:
            raise EnvironmentContractError("'{}' was stepped before its first reset; call reset().".format(self.name))
        named = self._named_actions(actions)
        native = self._transform({name: _to_numpy(value) for name, value in named.items()})
        out = self._buffers.next()
        gives_final = self._backend.step(native, out)
        self._require_finite_results(out, gives_final)
        if self._finite_horizon:
            np.logical_or(out.terminated, out.truncated, out=out.terminated)
            out.truncated[...] = False
        infos = {
            "final_obs": out.publish("final/") if gives_final else None,
            "valid": out.tensor("valid") if self.has_invalid_rows else None,
            "log": out.log_tensors(),
        }
        return (
            out.publish("observation/"),
            out.tensor("rewards"),
            out.tensor("terminated"),
            out.tensor("truncated"),
            infos,
        )

    def render(self) -> Any:
        """Show the environment, or return its picture in ``render_mode="rgb_array"``.

        Raises:
            EnvironmentContractError: The environment was made without a render mode.
        """
        if self._backend.display_failed:
            return None
        if self._backend.render_mode is None:
            raise EnvironmentContractError(
                "'{0}' was made without a render mode, so there is nothing to show; use {1}('{0}', "
                "render_mode='human').".format(self.name, type(self).__name__)
            )
        return self._backend.render()

    def close(self) -> None:
        """Close the environments."""
        if not self._closed:
            self._closed = True
            self._backend.close()

    def _require_finite_results(self, out: StepBuffer, gives_final: bool) -> None:
        self._require_finite("rewards", out.rewards, "reward", None)
        self._require_finite_leaves(out.observations, "observation", None)
        if gives_final:
            done = (out.terminated | out.truncated)[:, 0]
            self._require_finite_leaves(out.final, "final observation", done)

    def _require_finite_leaves(self, leaves: Mapping[str, np.ndarray], site: str, rows: Optional[np.ndarray]) -> None:
        for name, values in leaves.items():
            if values.dtype.kind == "f":
                self._require_finite(name, values, site, rows)

    def _require_finite(self, name: str, values: np.ndarray, site: str, rows: Optional[np.ndarray]) -> None:
        total = float(np.add.reduce(values if rows is None else values[rows], axis=None))
        # A sum of finite numbers is finite unless it overflows, so a suspicion is looked into.
        if total - total == 0.0:
            return
        wrong = ~np.isfinite(values)
        if rows is not None:
            wrong[~rows] = False
        if not wrong.any():
            return
        environments = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1)).tolist()
        value = float(values[environments[0]][wrong[environments[0]]][0])
        raise non_finite_numbers(site, name, environments, value)

    def _require_open(self) -> None:
        if self._closed:
            raise EnvironmentContractError("'{}' is closed; make a new wrapper.".format(self.name))

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return how to replay the running episodes; None for a foreign vector environment."""
        return self._backend.get_state()

    def set_state(self, state: Dict[str, Any]) -> bool:
        """Replay the saved episodes; return whether the environments stand exactly where they stood."""
        self._require_open()
        exact = self._backend.set_state(state, self._buffers.next())
        self._started = self._started or exact
        return exact


def _to_numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
