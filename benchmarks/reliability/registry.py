"""The campaigns by name; a campaign is a module with ``run(count, seed, **options)`` that returns its figures."""

from typing import Any, Dict, NamedTuple


class Campaign(NamedTuple):
    """Where a campaign is and how much of it is run.

    Attributes:
        module: The module with ``run(count, seed, **options)``, which returns a dataclass or dict of figures.
        reduced: The count in continuous integration.
        full: The count whose figures are published.
        options: Further keyword arguments of ``run``.
    """

    module: str
    reduced: int
    full: int
    options: Dict[str, Any] = {}


_HERE = "benchmarks.reliability."

CAMPAIGNS: Dict[str, Campaign] = {
    "mutations": Campaign(_HERE + "mutations", 1_000, 10_000),
    "hostile": Campaign(_HERE + "hostile", 130, 390),
    "kills": Campaign(_HERE + "kills", 30, 1000),
    "crash_points": Campaign(_HERE + "crash_points", 200, 2000),
    "disk_faults": Campaign(_HERE + "disk_faults", 28, 174),
    "directories": Campaign(_HERE + "directories", 10, 50),
    "resume": Campaign(_HERE + "resume", 13, 169),
    "determinism": Campaign(_HERE + "determinism", 2, 12),
    "signals": Campaign(_HERE + "signals", 8, 100),
    "injections": Campaign(_HERE + "injections", 72, 144),
    "guard_cost": Campaign(_HERE + "guard_cost", 3, 30),
    "soak_64": Campaign(_HERE + "soak", 100_000, 20_000_000, {"num_envs": 64}),
    "soak_1": Campaign(_HERE + "soak", 4_000, 20_000_000, {"num_envs": 1}),
    "restarts": Campaign(_HERE + "restarts", 30, 200),
    "peers": Campaign(_HERE + "peers", 8, 400),
}
"""One line for each campaign, in the order in which they are run and reported."""
