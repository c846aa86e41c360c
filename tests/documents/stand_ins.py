"""Stand-ins under the names by which the page of simulators imports them, so that its code runs without any of them."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Dict

import gymnasium

SIMULATORS = Path(__file__).resolve().parents[1] / "environment" / "simulators"


def install(monkeypatch: Any) -> Dict[str, Any]:
    """Install modules, and return what the page takes for made already."""
    monkeypatch.syspath_prepend(str(SIMULATORS))
    import pytest

    pytest.importorskip("jax")
    import brax_stand_in
    import isaac_gym_stand_in
    import isaac_lab_stand_in
    import maniskill_stand_in
    import pettingzoo_stand_in
    import rsl_rl_stand_in
    from worlds import PointMass

    def maniskill(task: str, **kwargs: Any) -> Any:
        return maniskill_stand_in.ManiSkillStandIn(kwargs["num_envs"], PointMass, 40)

    def make(task: str, **kwargs: Any) -> Any:
        if "cfg" in kwargs:
            return isaac_lab_stand_in.IsaacLabStandIn(
                8, PointMass, 40, compute_final_obs=kwargs["cfg"].compute_final_obs
            )
        return maniskill(task, **kwargs) if task.startswith("PushCube") else made(task, **kwargs)

    made = gymnasium.make
    monkeypatch.setattr(gymnasium, "make", make)
    modules: Dict[str, Dict[str, Any]] = {
        "isaacgym": {},
        "isaacgymenvs": {
            "make": lambda task, num_envs, **kwargs: isaac_gym_stand_in.VecTaskStandIn(
                num_envs, max_episode_length=40, world=PointMass
            )
        },
        "mjlab": {},
        "mjlab.envs": {
            "ManagerBasedRlEnv": lambda cfg, device: isaac_lab_stand_in.MjlabStandIn(
                cfg.scene.num_envs, PointMass, 40, auto_reset=cfg.auto_reset
            )
        },
        "mjlab.tasks": {},
        "mjlab.tasks.registry": {
            "load_env_cfg": lambda task: SimpleNamespace(scene=SimpleNamespace(num_envs=1), auto_reset=True)
        },
        "brax": {"envs": SimpleNamespace(get_environment=lambda name, **kwargs: brax_stand_in.PointMassEnvironment())},
        "mujoco_playground": {
            "registry": SimpleNamespace(
                load=lambda name, **kwargs: brax_stand_in.PointMassEnvironment(), ALL_ENVS=("CartpoleBalance",)
            )
        },
        "mani_skill": {},
        "mani_skill.envs": {},
        "mani_skill.vector": {},
        "mani_skill.vector.wrappers": {},
        "mani_skill.vector.wrappers.gymnasium": {"ManiSkillVectorEnv": lambda env, **kwargs: env},
        "mpe2": {
            "simple_spread_v3": SimpleNamespace(
                parallel_env=lambda max_cycles: pettingzoo_stand_in.ParallelStandIn(3, PointMass, max_cycles)
            )
        },
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return {
        "robots": rsl_rl_stand_in.LeggedGymStandIn(8, PointMass, 40),
        "drone": rsl_rl_stand_in.GenesisStandIn(8, PointMass, 40),
        "env_cfg": SimpleNamespace(compute_final_obs=False),
    }
