"""ManiSkill on a machine without Vulkan.

With ``render_backend="none"`` nothing is drawn, but tasks and loaders of robots still make materials, and SAPIEN's
constructors ask for a rendering device: nearly no task can be built where there is no graphics driver, as on the
machines that run tests. Here these classes do nothing. Only looks are affected, not physics.

Call :func:`do_without_vulkan` before the first task is made.
"""

import sys
from typing import Any

_CLASSES = ("RenderMaterial", "RenderTexture2D")


class _Inert:
    """Takes any argument and attribute and does nothing with them."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        vars(self).update({"base_color": [1.0, 1.0, 1.0, 1.0], **attributes})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return (lambda *args, **options: None) if name.startswith("set_") else None


def do_without_vulkan() -> None:
    """Put classes that do nothing in the place of SAPIEN's, wherever they have been imported to."""
    import sapien.render
    import sapien.wrapper.actor_builder
    import sapien.wrapper.urdf_loader

    for name in _CLASSES:
        real = getattr(sapien.render, name)
        if issubclass(real, _Inert):
            continue
        inert = type(name, (_Inert,), {})
        for module in [module for key, module in sys.modules.items() if key.split(".")[0] in ("sapien", "mani_skill")]:
            for attribute, value in list(vars(module).items()):
                if value is real:
                    setattr(module, attribute, inert)
