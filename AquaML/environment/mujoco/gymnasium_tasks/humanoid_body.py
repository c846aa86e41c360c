"""What Humanoid-v5 and HumanoidStandup-v5 share: what the robot observes and what it spends."""

from typing import Any

import numpy as np

from AquaML.environment.mujoco.gymnasium_tasks.task import GymnasiumTask, flat

_FREE_JOINT = 6
"""Degrees of freedom of the root, which no actuator drives."""


class HumanoidBody(GymnasiumTask[Any]):
    """A humanoid with inertias, velocities, actuator forces and contact forces of its bodies."""

    def prepare(self) -> None:
        """Watch controls, contact forces and what is observed beside positions and velocities."""
        options, watch = self.options, self.simulation.watch
        self._controls = watch("ctrl")
        self._forces = watch("cfrc_ext")
        # Gymnasium observes these only where the keyword is True itself, not merely true.
        self._parts = []
        if options.include_cinert_in_observation is True:
            self._parts.append(watch("cinert")[:, 1:])
        if options.include_cvel_in_observation is True:
            self._parts.append(watch("cvel")[:, 1:])
        if options.include_qfrc_actuator_in_observation is True:
            self._parts.append(watch("qfrc_actuator")[:, _FREE_JOINT:])
        if options.include_cfrc_ext_in_observation is True:
            self._parts.append(self._forces[:, 1:])

    def observe(self) -> np.ndarray:
        """Return positions, velocities and the chosen parts."""
        skipped = 2 if self.options.exclude_current_positions_from_observation else 0
        parts = [self.positions[:, skipped:], self.velocities] + [flat(part) for part in self._parts]
        return np.concatenate(parts, axis=1)

    def control_cost(self) -> np.ndarray:
        """Return the weighted sum of squared controls ``(num_envs,)``."""
        return self.options.ctrl_cost_weight * np.square(self._controls).sum(axis=1)

    def squared_forces(self) -> np.ndarray:
        """Return the sum of squared contact forces ``(num_envs,)``."""
        return np.square(flat(self._forces)).sum(axis=1)
