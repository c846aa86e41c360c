"""Measures contenders in turn, round by round, so that all meet the same good and bad minutes of the machine."""

import importlib.util
import time
from typing import Any, Callable, Dict, List

from benchmarks.process import Contender, ContenderError, machine_processor_seconds
from benchmarks.specification import Specification

BUILD_SECONDS = 900.0
"""How long building, beside all others, and the first unit, which may compile, can take."""
UNIT_SECONDS = 300.0
WARM_UP_UNITS = 2

PACKAGES = {
    "skrl_ppo": ("skrl",),
    "rsl_rl_ppo": ("rsl_rl", "tensordict"),
    "stable_baselines3_ppo": ("stable_baselines3",),
    "rl_games_ppo": ("rl_games",),
}
"""Kind of a contender to the packages that it needs beside AquaML's."""

Measurement = Dict[str, float]
Round = Dict[str, Measurement]


class Group:
    """Contenders that are alive together and measured in turn.

    Args:
        specifications: The contenders.
        calibration: What times the product before each unit.
        say: Where progress goes.

    Attributes:
        introductions: Contender to what it says of itself, or ``{"error": …}``.
    """

    def __init__(self, specifications: List[Specification], calibration: Contender, say: Callable[[str], None]) -> None:
        self.introductions: Dict[str, Dict[str, Any]] = {}
        self._say = say
        self._calibration = calibration
        self._contenders: List[Contender] = []
        try:
            for specification in specifications:
                missing = missing_packages(specification)
                if missing:
                    self._give_up(specification.name, "{} is not installed".format(", ".join(missing)))
                else:
                    self._contenders.append(Contender(specification))
            for contender in list(self._contenders):
                self._prepare(contender)
        except BaseException:
            self.close()
            raise

    def _prepare(self, contender: Contender) -> None:
        """Wait for a contender and warm it up; one that cannot be built is left out with the reason."""
        name = contender.specification.name
        try:
            contender.wait_until_ready(BUILD_SECONDS)
            for _ in range(WARM_UP_UNITS):
                contender.unit(BUILD_SECONDS)
        except ContenderError as error:
            self._remove(contender, error)
            return
        self.introductions[name] = contender.introduction
        self._say("  {} is ready".format(name))

    def _remove(self, contender: Contender, error: ContenderError) -> None:
        self._contenders.remove(contender)
        contender.close()
        self._give_up(contender.specification.name, str(error))

    def _give_up(self, name: str, reason: str) -> None:
        self.introductions[name] = {"error": reason}
        self._say("  {} is left out: {}".format(name, reason))

    def measure_round(self, number: int) -> Round:
        """Let every contender do one unit; the order rotates from round to round."""
        results: Round = {}
        shift = number % max(len(self._contenders), 1)
        for contender in self._contenders[shift:] + self._contenders[:shift]:
            try:
                results[contender.specification.name] = self._measure(contender)
            except ContenderError as error:
                self._remove(contender, error)
        return results

    def _measure(self, contender: Contender) -> Measurement:
        calibration = self._calibration.unit(UNIT_SECONDS)["seconds"]
        others = [other for other in [*self._contenders, self._calibration] if other is not contender]
        before = _processor_seconds(contender, others)
        begun = time.perf_counter()
        measurement = contender.unit(UNIT_SECONDS)
        wall = time.perf_counter() - begun
        own, idle, machine = (now - then for now, then in zip(_processor_seconds(contender, others), before))
        measurement["calibration"] = calibration
        # NaN where the system hides processor times.
        measurement["processors_used"] = own / wall
        measurement["idle_load"] = idle / wall
        measurement["foreign_load"] = max(machine - own - idle, 0.0) / wall
        return measurement

    def close(self) -> None:
        """End all contenders."""
        for contender in self._contenders:
            contender.close()
        self._contenders = []


def missing_packages(specification: Specification) -> List[str]:
    """Return the packages that a contender needs and the machine lacks."""
    needed = list(PACKAGES.get(specification.kind, ()))
    if specification.task in ("Ant-v5", "Humanoid-v5"):
        needed.append("mujoco")
    if specification.backend.startswith("envpool") or (
        specification.kind == "rl_games_ppo" and specification.backend == "default"
    ):
        needed.append("envpool")
    return [name for name in needed if importlib.util.find_spec(name) is None]


def _processor_seconds(contender: Contender, others: List[Contender]) -> List[float]:
    figures = [contender.processor_seconds(), None, machine_processor_seconds()]
    each = [other.processor_seconds() for other in others]
    figures[1] = None if None in each else sum(value for value in each if value is not None)
    return [float("nan") if value is None else value for value in figures]
