"""What is measured against what, with the bounds that must hold; see ``Doc/benchmarks.md`` for the reasons."""

import dataclasses
from typing import Any, Callable, Dict, List, Optional, Tuple

from benchmarks.specification import Comparison, Specification

AQUAML = "AquaML"
COMPILED = "AquaML, compiled"
FLOOR = "bare matrix products"
PEERS = (
    ("skrl", "skrl_ppo"),
    ("rsl_rl", "rsl_rl_ppo"),
    ("stable-baselines3", "stable_baselines3_ppo"),
    ("rl_games", "rl_games_ppo"),
)
CALIBRATION = Specification("calibration", "calibration", rollout=20)


@dataclasses.dataclass
class GroupPlan:
    """Contenders that are measured in turn, and what is asked of them."""

    title: str
    contenders: List[Specification]
    comparisons: List[Comparison] = dataclasses.field(default_factory=list)
    note: str = ""
    point: Optional[Dict[str, Any]] = None
    """Where on a line of the scaling chart the group stands: ``"line"`` and ``"x"``."""


@dataclasses.dataclass
class Suite:
    """Groups that share a page of results."""

    name: str
    title: str
    about: str
    groups: List[GroupPlan]


@dataclasses.dataclass
class Scale:
    """How large the suites are: as published, or as small as can be."""

    num_envs: int = 256
    rollout: int = 64
    physics_rollout: int = 32
    environment_steps: Tuple[Tuple[str, int], ...] = (("Ant-v5", 12), ("Humanoid-v5", 8), ("Pendulum-v1", 200))
    physics_tasks: Tuple[str, ...] = ("Ant-v5", "Humanoid-v5")
    hidden_sizes: Tuple[int, ...] = (256, 256)
    small_rollout: int = 2048
    small_minibatch: int = 64
    scaling_envs: Tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096)
    scaling_widths: Tuple[int, ...] = (64, 128, 256, 512, 1024)
    scaling_rollouts: Tuple[int, ...] = (8, 16, 32, 64, 128)
    scaling_rollout: int = 16
    least_unit_steps: int = 2048
    """Environment steps that a unit of the scaling suite has at least."""
    off_policy_steps: int = 250
    off_policy_batch: int = 256
    learning_units: int = 80
    compile: bool = True
    """Whether compiled contenders take part; compiling alone takes half a minute."""


def smoke_scale(physics: bool) -> Scale:
    """Return sizes that only show that everything runs.

    Args:
        physics: Whether MuJoCo is installed.
    """
    return Scale(
        num_envs=4,
        rollout=4,
        physics_rollout=4,
        environment_steps=(("Ant-v5", 2),) if physics else (("Pendulum-v1", 4),),
        physics_tasks=("Ant-v5",) if physics else (),
        hidden_sizes=(8, 8),
        small_rollout=32,
        small_minibatch=16,
        scaling_envs=(1, 4),
        scaling_widths=(),
        scaling_rollouts=(),
        scaling_rollout=4,
        least_unit_steps=8,
        off_policy_steps=8,
        off_policy_batch=4,
        learning_units=2,
        compile=False,
    )


def environment(scale: Scale) -> Suite:
    """Environments alone, under random actions."""
    bounds: Dict[str, List[Tuple[str, str, float, Optional[float]]]] = {
        "Ant-v5": [
            ("AquaML, batched", "gymnasium SyncVectorEnv", 2.0, 2.3),
            ("AquaML, batched", "EnvPool", 0.9, 1.0),
        ],
        "Humanoid-v5": [("AquaML, batched", "gymnasium SyncVectorEnv", 2.0, 2.6), ("AquaML, batched", "EnvPool", 0, 0)],
        "Pendulum-v1": [("AquaML, auto", "gymnasium SyncVectorEnv", 6.0, None)],
    }
    backends = {
        "gymnasium SyncVectorEnv": "gymnasium",
        "EnvPool": "envpool_bare",
        "AquaML, sync": "sync",
        "AquaML, sharded": "sharded",
        "AquaML, batched": "batched",
        "AquaML, auto": "auto",
    }
    groups = []
    for task, steps in scale.environment_steps:
        contenders = [
            Specification(name, "environment", task, backend, scale.num_envs, rollout=steps)
            for name, backend in backends.items()
            if (name == "AquaML, auto") == (task == "Pendulum-v1") or name not in ("AquaML, auto", "AquaML, batched")
        ]
        comparisons = [
            Comparison("{} over {}".format(ours, theirs), ours, (theirs,), must or None, stretch or None)
            for ours, theirs, must, stretch in bounds[task]
        ]
        note = "{} environments; a unit is {} vector steps.".format(scale.num_envs, steps)
        groups.append(GroupPlan(task, contenders, comparisons, note))
    about = "Environments alone, random actions within their bounds, resets in the same step (EnvPool: in the next)."
    return Suite("environment", "Environment only", about, groups)


def library(scale: Scale) -> Suite:
    """Libraries on an environment that costs nothing."""
    about = (
        "A free environment (observations of 60, actions of 8), so that only the library costs time. ELU, the habit of "
        "robotics, costs an exponential for each unit and sample, ReLU next to nothing: the second group shows what "
        "the library adds to the matrix products, the first one what its users get."
    )
    groups = [_library_group(scale, "ELU", "elu"), _library_group(scale, "ReLU", "relu")]
    return Suite("library", "Library only", about, groups)


def _library_group(scale: Scale, title: str, activation: str) -> GroupPlan:
    sizes: Dict[str, Any] = {
        "num_envs": scale.num_envs,
        "rollout": scale.rollout,
        "hidden_sizes": scale.hidden_sizes,
        "activation": activation,
    }
    contenders = [Specification(AQUAML, "aquaml", **sizes), Specification(FLOOR, "floor", **sizes)]
    contenders += [Specification(name, kind, **sizes) for name, kind in PEERS]
    if scale.compile:
        contenders.insert(1, Specification(COMPILED, "aquaml", compile=True, **sizes))
        contenders.append(Specification("rl_games, compiled", "rl_games_ppo", compile=True, **sizes))
    peers = tuple(name for name, _ in PEERS)
    comparisons = [
        Comparison("AquaML, seconds over the floor's", AQUAML, (FLOOR,), 1.12, 1.05, "time"),
        Comparison("AquaML, seconds over the best eager peer's", AQUAML, peers, 1.05, 1.0, "time"),
        Comparison("AquaML compiled, seconds over the floor's", COMPILED, (FLOOR,), 1.0, 0.9, "time"),
        Comparison("rl_games compiled, seconds over the floor's", "rl_games, compiled", (FLOOR,), measure="time"),
    ]
    comparisons += [Comparison("{}, seconds over the floor's".format(p), p, (FLOOR,), measure="time") for p in peers]
    note = "A unit is one iteration: {} x {} steps, {} epochs of {} minibatches of {}, {} with {}.".format(
        scale.num_envs,
        scale.rollout,
        contenders[0].epochs,
        contenders[0].mini_batches,
        contenders[0].minibatch_size,
        _layers(scale.hidden_sizes),
        activation,
    )
    return GroupPlan("Free environment, " + title, contenders, comparisons, note)


def end_to_end(scale: Scale) -> Suite:
    """Training on real physics: default against default, and all on one backend."""
    bounds = {"Ant-v5": (1.8, 2.1), "Humanoid-v5": (1.7, 2.0)}
    groups = []
    for task in scale.physics_tasks:
        sizes: Dict[str, Any] = {
            "num_envs": scale.num_envs,
            "rollout": scale.physics_rollout,
            "hidden_sizes": scale.hidden_sizes,
        }
        contenders = [Specification(AQUAML, "aquaml", task, "auto", **sizes)]
        comparisons = []
        on_ours = []
        for name, kind in PEERS:
            default, adapted = name + ", default", name + ", batched"
            # rl_games compiles unless told not to.
            compiled = scale.compile and name == "rl_games"
            contenders.append(Specification(default, kind, task, "default", compile=compiled, **sizes))
            contenders.append(Specification(adapted, kind, task, "batched", compile=compiled, **sizes))
            must, stretch = bounds[task] if name != "rl_games" else (None, None)
            comparisons.append(Comparison("AquaML over " + default, AQUAML, (default,), must, stretch))
            on_ours.append(adapted)
        comparisons.append(
            Comparison("AquaML over the best peer on the same backend", AQUAML, tuple(on_ours), 0.97, 1.0)
        )
        comparisons += [Comparison("AquaML over " + name, AQUAML, (name,)) for name in on_ours]
        note = (
            "{} environments; a unit is one iteration of {} vector steps with minibatches of {}, 4 epochs, {} with "
            "elu. Against 64 vector steps and minibatches of 8,192, time per environment step is the same but for the "
            "update, whose products are smaller. Defaults: skrl gymnasium's sync vector environment; "
            "stable-baselines3 make_vec_env; rsl_rl has none for a CPU and gets gymnasium's sync vector environment; "
            "rl_games EnvPool, for which it ships its Ant configuration (its other one starts a Ray process per "
            "environment).".format(
                scale.num_envs, scale.physics_rollout, contenders[0].minibatch_size, _layers(scale.hidden_sizes)
            )
        )
        groups.append(GroupPlan(task, contenders, comparisons, note))
    groups.append(_pendulum_end_to_end(scale))
    about = "PPO as each library's users run it, with its logging and checkpoints at their defaults."
    return Suite("end_to_end", "End to end", about, groups)


def _pendulum_end_to_end(scale: Scale) -> GroupPlan:
    hidden = tuple(min(size, 64) for size in scale.hidden_sizes)
    sizes: Dict[str, Any] = {"num_envs": scale.num_envs, "rollout": scale.rollout, "hidden_sizes": hidden}
    contenders = [
        Specification("AquaML, auto", "aquaml", "Pendulum-v1", "auto", **sizes),
        Specification("AquaML, sync", "aquaml", "Pendulum-v1", "sync", **sizes),
    ]
    comparison = Comparison("AquaML, auto over sync", "AquaML, auto", ("AquaML, sync",), 3.0)
    note = "{} environments, {} vector steps, 4 epochs, {} with elu.".format(
        scale.num_envs, scale.rollout, _layers(hidden)
    )
    return GroupPlan("Pendulum-v1", contenders, [comparison], note)


def share(scale: Scale) -> Suite:
    """What part of the environment's own speed remains in training."""
    bounds = {"sync": 0.91, "envpool": 0.82, "batched": 0.82}
    groups = []
    for task in scale.physics_tasks[:1]:
        contenders = [
            Specification(
                "AquaML, " + backend,
                "share",
                task,
                backend,
                scale.num_envs,
                scale.physics_rollout,
                hidden_sizes=scale.hidden_sizes,
            )
            for backend in bounds
        ]
        comparisons = [
            Comparison("training over environment alone, " + backend, "AquaML, " + backend, (), must, None, "share")
            for backend, must in bounds.items()
        ]
        note = (
            "{} environments, a unit is one iteration of {} vector steps with minibatches of {}; then a twin that "
            "started from the same seed replays the same actions alone.".format(
                scale.num_envs, scale.physics_rollout, contenders[0].minibatch_size
            )
        )
        groups.append(GroupPlan(task, contenders, comparisons, note))
    about = "Speed of training over speed of the environment alone, for the very same steps."
    return Suite("share", "Training over environment only", about, groups)


def small(scale: Scale) -> Suite:
    """One environment and small networks, where every microsecond of Python shows."""
    sizes: Dict[str, Any] = {
        "num_envs": 1,
        "rollout": scale.small_rollout,
        "mini_batches": scale.small_rollout // scale.small_minibatch,
        "epochs": 10,
        "hidden_sizes": tuple(min(size, 64) for size in scale.hidden_sizes),
        "activation": "tanh",
        "plain": True,
    }
    task = "Pendulum-v1"
    contenders = [
        Specification(AQUAML, "aquaml", task, "auto", **sizes),
        Specification(COMPILED, "aquaml", task, "auto", compile=True, **sizes),
    ][: 2 if scale.compile else 1]
    contenders += [Specification(name, kind, task, "default", **sizes) for name, kind in PEERS[:3]]
    comparisons = [
        Comparison("AquaML over " + name, AQUAML, (name,), *((None, None) if name == "rsl_rl" else (1.3, 1.5)))
        for name, _ in PEERS[:3]
    ]
    comparisons.append(Comparison("AquaML compiled over stable-baselines3", COMPILED, ("stable-baselines3",)))
    layers = _layers(sizes["hidden_sizes"])
    note = "1 environment, {} steps, minibatches of {}, 10 epochs, {} with tanh; no normalisers, no clipping of values."
    note = note.format(scale.small_rollout, scale.small_minibatch, layers)
    about = "stable-baselines3's default setting: one environment, small networks, small minibatches."
    return Suite("small", "Small regime", about, [GroupPlan(task, contenders, comparisons, note)])


def off_policy(scale: Scale) -> Suite:
    """SAC and TD3 with one environment and one update per step."""
    task = "HalfCheetah-v5" if scale.physics_tasks else "Pendulum-v1"
    groups = []
    for algorithm in ("SAC", "TD3"):
        sizes: Dict[str, Any] = {
            "num_envs": 1,
            "rollout": scale.off_policy_steps,
            "mini_batches": 1,
            "batch": scale.off_policy_batch,
            "hidden_sizes": scale.hidden_sizes,
            "activation": "relu",
            "algorithm": algorithm,
            "warm_up": scale.off_policy_steps // 2,
        }
        contenders = [
            Specification(AQUAML, "aquaml_off_policy", task, "auto", **sizes),
            Specification("stable-baselines3", "stable_baselines3_off_policy", task, "default", **sizes),
            Specification("skrl", "skrl_off_policy", task, "default", **sizes),
        ]
        comparisons = [
            Comparison("AquaML over " + name, AQUAML, (name,), 1.2, 1.5) for name in ("stable-baselines3", "skrl")
        ]
        note = "1 environment, one update per step on a batch of {}, {} with relu; a unit is {} steps.".format(
            scale.off_policy_batch, _layers(scale.hidden_sizes), scale.off_policy_steps
        )
        groups.append(GroupPlan("{} on {}".format(algorithm, task), contenders, comparisons, note))
    about = (
        "Off-policy learning as each library's users run it, with its logging and checkpoints at their defaults. "
        "AquaML normalises observations, the others do not."
    )
    return Suite("off_policy", "Off policy", about, groups)


def scaling(scale: Scale) -> Suite:
    """Cost of a step against number of environments, width and length of a rollout."""
    lines: List[Tuple[str, Tuple[int, ...], Callable[[int], Dict[str, Any]]]] = [
        ("environments", scale.scaling_envs, lambda x: {"num_envs": x, "rollout": scale.scaling_rollout}),
        (
            "width",
            scale.scaling_widths,
            lambda x: {"num_envs": scale.num_envs, "rollout": scale.scaling_rollout, "hidden_sizes": (x, x)},
        ),
        ("rollout", scale.scaling_rollouts, lambda x: {"num_envs": scale.num_envs, "rollout": x}),
    ]
    groups = []
    for line, points, sizes_at in lines:
        for x in points:
            sizes = dict({"hidden_sizes": scale.hidden_sizes}, **sizes_at(x))
            rows = sizes["num_envs"] * sizes["rollout"]
            sizes["iterations_per_unit"] = max(1, -(-scale.least_unit_steps // rows))
            if sizes["iterations_per_unit"] > 1:
                # The run has to last for all rounds, the warm-up included.
                sizes["planned_iterations"] = 100 * sizes["iterations_per_unit"]
            contenders = [
                Specification(name, kind, **sizes)
                for name, kind in ((AQUAML, "aquaml"), (FLOOR, "floor"), ("stable-baselines3", "stable_baselines3_ppo"))
            ]
            comparisons = [Comparison("AquaML over stable-baselines3", AQUAML, ("stable-baselines3",))]
            note = "{} x {} steps, 2 minibatches, 4 epochs, {} with elu; {} iterations in a unit.".format(
                sizes["num_envs"], sizes["rollout"], _layers(sizes["hidden_sizes"]), sizes["iterations_per_unit"]
            )
            groups.append(GroupPlan("{}: {}".format(line, x), contenders, comparisons, note, {"line": line, "x": x}))
    about = "On the free environment: microseconds of the library per environment step."
    return Suite("scaling", "Scaling", about, groups)


def learning(scale: Scale) -> Suite:
    """Whether every contender learns, with its adapters and settings; not a measurement of speed."""
    sizes: Dict[str, Any] = {
        "num_envs": 4 * (scale.num_envs // 16 or 1),
        "rollout": scale.rollout // 2 or 1,
        "mini_batches": 4,
        "epochs": 10,
        "hidden_sizes": tuple(min(size, 64) for size in scale.hidden_sizes),
        "activation": "tanh",
        "learning_rate": 1e-3,
        "discount": 0.9,
        "measure_rewards": True,
    }
    task = "Pendulum-v1"
    contenders = [Specification(AQUAML, "aquaml", task, "auto", **sizes)]
    for name, kind in PEERS:
        contenders.append(Specification(name + ", default", kind, task, "default", **sizes))
        contenders.append(Specification(name + ", AquaML's backend", kind, task, "auto", **sizes))
    about = "A check of the benchmark itself: on Pendulum-v1, the mean reward of a step has to rise from about -6."
    note = "{} environments, {} vector steps, 10 epochs of 4 minibatches.".format(sizes["num_envs"], sizes["rollout"])
    return Suite("learning", "Everybody learns", about, [GroupPlan(task, contenders, [], note)])


SUITES: Dict[str, Callable[[Scale], Suite]] = {
    "environment": environment,
    "library": library,
    "end_to_end": end_to_end,
    "share": share,
    "small": small,
    "off_policy": off_policy,
    "scaling": scaling,
    "learning": learning,
}


def _layers(sizes: Tuple[int, ...]) -> str:
    return "two networks of " + " x ".join(str(size) for size in sizes)
