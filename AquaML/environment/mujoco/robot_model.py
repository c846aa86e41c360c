"""A robot's model: read from MJCF, its parts found by name."""

import copy
import os
from pathlib import Path
from typing import Any, Optional, Tuple, Union

import numpy as np

from AquaML.environment.mujoco.simulation import import_mujoco
from AquaML.errors import EnvironmentContractError, did_you_mean


def load_model(source: Union[str, "os.PathLike[str]", Any]) -> Any:
    """Return a model of its own, made from MJCF or copied.

    Args:
        source: The path of an MJCF or URDF file, MJCF as a string, or an ``MjModel``, which is never changed.

    Raises:
        EnvironmentContractError: There is no such file, or MuJoCo cannot compile it.
        MissingDependencyError: MuJoCo is not installed.
    """
    mujoco = import_mujoco()
    return copy.copy(source) if isinstance(source, mujoco.MjModel) else _compile(mujoco, source)


def _compile(mujoco: Any, source: Any) -> Any:
    if not isinstance(source, (str, os.PathLike)):
        raise EnvironmentContractError(
            "The model is {!r}; expected the path of an MJCF file, MJCF as a string, or an MjModel.".format(source)
        )
    try:
        if isinstance(source, str) and source.lstrip().startswith("<"):
            return mujoco.MjModel.from_xml_string(source)
        path = Path(source)
        if not path.is_file():
            raise EnvironmentContractError(
                "There is no MJCF file '{}' (looked for it from '{}').".format(path, Path.cwd())
            )
        return mujoco.MjModel.from_xml_path(str(path))
    except (ValueError, mujoco.FatalError) as error:
        if isinstance(error, EnvironmentContractError):
            raise
        raise EnvironmentContractError("MuJoCo cannot compile the model: {}".format(error)) from error


def names_of(model: Any, kind: str) -> Tuple[str, ...]:
    """Return the names of all parts of a kind in their order; parts without one have the name ``""``.

    Args:
        model: The ``MjModel``.
        kind: As MuJoCo names it: ``"body"``, ``"joint"``, ``"geom"``, ``"site"``, ``"sensor"``, ``"actuator"`` …
    """
    mujoco = import_mujoco()
    code = getattr(mujoco.mjtObj, "mjOBJ_" + kind.upper())
    count = getattr(model, _COUNTS[kind])
    return tuple(mujoco.mj_id2name(model, code, index) or "" for index in range(count))


_COUNTS = {
    "body": "nbody",
    "joint": "njnt",
    "geom": "ngeom",
    "site": "nsite",
    "camera": "ncam",
    "tendon": "ntendon",
    "sensor": "nsensor",
    "actuator": "nu",
    "key": "nkey",
}


def index_of(model: Any, kind: str, name: str) -> int:
    """Return the index of a part.

    Raises:
        EnvironmentContractError: The model has no such part; the message names near ones.
    """
    names = names_of(model, kind)
    if not isinstance(name, str) or not name or name not in names:
        known = [other for other in names if other]
        raise EnvironmentContractError(
            "The model has no {} '{}'.{}".format(
                kind, name, did_you_mean(name, known) if known else " None of its {}s has a name.".format(kind)
            )
        )
    return names.index(name)


def resting_state(model: Any, keyframe: Optional[str]) -> Tuple[np.ndarray, np.ndarray]:
    """Return the positions ``(nq,)`` and velocities ``(nv,)`` of a keyframe, or of the model as it is written.

    Raises:
        EnvironmentContractError: The model has no such keyframe.
    """
    if keyframe is None:
        return np.array(model.qpos0), np.zeros(model.nv)
    index = index_of(model, "key", keyframe)
    return np.array(model.key_qpos[index]), np.array(model.key_qvel[index])


def single_axis_positions(model: Any) -> np.ndarray:
    """Return the indices in ``qpos`` of all hinges and slides, which unlike quaternions may be added to."""
    joint = import_mujoco().mjtJoint
    single = (model.jnt_type == int(joint.mjJNT_HINGE)) | (model.jnt_type == int(joint.mjJNT_SLIDE))
    return np.asarray(model.jnt_qposadr[single], np.int64)
