"""What a robot's author reads from the physics, by name and for all environments at once."""

from typing import Any, Dict, Tuple

import numpy as np

from AquaML.environment.mujoco.robot_model import index_of
from AquaML.environment.mujoco.simulation import Simulation

_JOINT_WIDTHS = {0: (7, 6), 1: (4, 3), 2: (1, 1), 3: (1, 1)}
"""MuJoCo's joint type to the number of positions and velocities: free, ball, slide, hinge."""


class Readings:
    """Arrays with one row per environment, in MuJoCo's units (metres, radians, seconds, newtons) and world axes.

    What is called *live* is a view that every step and reset overwrites: copy what must last. All of it belongs to
    the state after the step; accelerations and forces are those of the step's last physics step.

    Attributes:
        simulation: The physics of all environments.
        model: The robot's ``MjModel`` as it was written, without any randomisation.
    """

    simulation: Simulation
    model: Any
    _indices: Dict[Tuple[str, str], int]

    @property
    def time_step(self) -> float:
        """Seconds from one step to the next."""
        return self.simulation.time_step

    @property
    def qpos(self) -> np.ndarray:
        """Generalised positions ``(num_envs, nq)``, live."""
        return self.simulation.watch("qpos")

    @property
    def qvel(self) -> np.ndarray:
        """Generalised velocities ``(num_envs, nv)``, live."""
        return self.simulation.watch("qvel")

    def watch(self, field: str) -> np.ndarray:
        """Return any array of ``MjData``, ``(num_envs, *shape)``, live; for example ``"actuator_force"``."""
        return self.simulation.watch(field)

    def sensor(self, name: str) -> np.ndarray:
        """Return what a sensor measures, ``(num_envs, dimension)``, live."""
        index = self._index("sensor", name)
        first = int(self.model.sensor_adr[index])
        return self.simulation.watch("sensordata")[:, first : first + int(self.model.sensor_dim[index])]

    def joint_position(self, name: str) -> np.ndarray:
        """Return a joint's positions, ``(num_envs, 1)`` for a hinge (radians) or slide (metres), live."""
        index = self._index("joint", name)
        first = int(self.model.jnt_qposadr[index])
        return self.qpos[:, first : first + _JOINT_WIDTHS[int(self.model.jnt_type[index])][0]]

    def joint_velocity(self, name: str) -> np.ndarray:
        """Return a joint's velocities, ``(num_envs, 1)`` for a hinge (rad/s) or slide (m/s), live."""
        index = self._index("joint", name)
        first = int(self.model.jnt_dofadr[index])
        return self.qvel[:, first : first + _JOINT_WIDTHS[int(self.model.jnt_type[index])][1]]

    def body_position(self, name: str) -> np.ndarray:
        """Return where a body's frame is, ``(num_envs, 3)`` metres, live."""
        return self.simulation.watch("xpos")[:, self._index("body", name)]

    def body_quaternion(self, name: str) -> np.ndarray:
        """Return a body's orientation as ``(num_envs, 4)``, w first, live."""
        return self.simulation.watch("xquat")[:, self._index("body", name)]

    def body_rotation(self, name: str) -> np.ndarray:
        """Return a body's orientation as matrices ``(num_envs, 3, 3)``, whose columns are the body's axes, live."""
        return self.simulation.watch("xmat")[:, self._index("body", name)].reshape(-1, 3, 3)

    def body_velocity(self, name: str) -> np.ndarray:
        """Return the velocity of a body's frame, ``(num_envs, 3)`` metres per second."""
        index = self._index("body", name)
        # MuJoCo keeps velocities of the point of a body that coincides with its whole tree's centre of mass.
        velocity = self.simulation.watch("cvel")[:, index]
        centre = self.simulation.watch("subtree_com")[:, int(self.model.body_rootid[index])]
        return velocity[:, 3:] + np.cross(velocity[:, :3], self.body_position(name) - centre)

    def body_angular_velocity(self, name: str) -> np.ndarray:
        """Return a body's angular velocity, ``(num_envs, 3)`` radians per second, live."""
        return self.simulation.watch("cvel")[:, self._index("body", name), :3]

    def site_position(self, name: str) -> np.ndarray:
        """Return where a site is, ``(num_envs, 3)`` metres, live."""
        return self.simulation.watch("site_xpos")[:, self._index("site", name)]

    def geom_position(self, name: str) -> np.ndarray:
        """Return where a geom is, ``(num_envs, 3)`` metres, live."""
        return self.simulation.watch("geom_xpos")[:, self._index("geom", name)]

    def contact_force(self, name: str) -> np.ndarray:
        """Return the sum of all contact forces on a body, ``(num_envs, 3)`` newtons, live; zero at a reset."""
        return self.simulation.watch("cfrc_ext")[:, self._index("body", name), 3:]

    def _index(self, kind: str, name: str) -> int:
        key = (kind, name)
        if key not in self._indices:
            self._indices[key] = index_of(self.model, kind, name)
        return self._indices[key]
