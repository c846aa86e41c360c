"""Pictures and windows of a robot."""

import atexit
import os
import platform
import weakref
from typing import Any, Optional, Tuple

import numpy as np
from loguru import logger

from AquaML.environment.mujoco.simulation import import_mujoco

_MOST_GEOMS = 10_000


class Camera:
    """Draws pictures off the screen.

    Where ``MUJOCO_GL`` does not say how and there is no display, EGL is used, which needs none.

    Args:
        model: The ``MjModel``.
        size: Height and width in pixels.
        camera: Index of the model's camera; None: a free camera that looks at the whole model.

    Raises:
        Exception: Whatever the graphics library raises where it cannot draw.
    """

    def __init__(self, model: Any, size: Tuple[int, int], camera: Optional[int]) -> None:
        self._mujoco = mujoco = import_mujoco()
        self._model = model
        height, width = size
        buffer = model.vis.global_
        # The size of the buffer off the screen is fixed when the context is made from the model.
        buffer.offheight, buffer.offwidth = max(buffer.offheight, height), max(buffer.offwidth, width)
        self._gl: Any = _context_class()(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, _MOST_GEOMS)
        self._options = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        if camera is None:
            mujoco.mjv_defaultFreeCamera(model, self._view)
        else:
            self._view.type, self._view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.zeros((height, width, 3), np.uint8)
        # Graphics libraries complain of what is released after their own end.
        atexit.register(_close_if_alive, weakref.ref(self))

    def picture(self, data: Any) -> np.ndarray:
        """Return a picture ``(height, width, 3)`` uint8 of one environment."""
        mujoco = self._mujoco
        self._gl.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._options, None, self._view, everything, self._scene)
        mujoco.mjr_render(self._rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rectangle, self._context)
        return self._pixels[::-1].copy()

    def close(self) -> None:
        """Release the graphics memory; calling it twice is no error."""
        if self._gl is None:
            return
        self._gl.make_current()
        self._context.free()
        self._gl.free()
        self._gl = None


class Window:
    """MuJoCo's own viewer, which runs in a thread of its own.

    Raises:
        Exception: Whatever the viewer raises where there is no display.
    """

    def __init__(self, model: Any, data: Any, camera: Optional[int]) -> None:
        if platform.system() == "Linux" and not _has_display():
            # GLFW would end the process instead of raising.
            raise RuntimeError("neither DISPLAY nor WAYLAND_DISPLAY is set")
        import mujoco.viewer

        self._viewer = mujoco.viewer.launch_passive(model, data)
        if camera is not None:
            self._viewer.cam.type, self._viewer.cam.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera

    def show(self) -> None:
        """Show the present state, unless the window was closed."""
        if self._viewer.is_running():
            self._viewer.sync()

    def close(self) -> None:
        """Close the window."""
        self._viewer.close()


def _close_if_alive(camera: "weakref.ReferenceType[Camera]") -> None:
    alive = camera()
    if alive is not None:
        alive.close()


def warn_not_drawn(error: Exception, render_mode: str) -> None:
    """Say that a robot is simulated without being shown, and what to do."""
    if render_mode == "human":
        advice = "use a machine with a display, or render_mode='rgb_array'"
    else:
        advice = (
            "on Linux install libegl1 (and set MUJOCO_GL=egl) or libosmesa6 (and set MUJOCO_GL=osmesa), before Python "
            "starts"
        )
    logger.warning(
        "The robot cannot be shown ({}: {}); it runs on without pictures. To see it, {}.",
        type(error).__name__,
        error,
        advice,
    )


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _context_class() -> Any:
    if platform.system() == "Linux" and not os.environ.get("MUJOCO_GL") and not _has_display():
        from mujoco.egl import GLContext

        return GLContext
    return import_mujoco().GLContext
