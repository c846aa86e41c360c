"""Results on disk: what is there is not measured again."""

import json
from pathlib import Path
from typing import Any, Dict

from benchmarks.figures import without_gaps


class Store:
    """The JSON file of a suite.

    Args:
        folder: Where results lie.
        name: The suite's name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / (name + ".json")
        self.content: Dict[str, Any] = {"suite": name, "groups": {}}
        if self.path.is_file():
            self.content = json.loads(self.path.read_text(encoding="utf-8"))

    def group(self, title: str, plan: Dict[str, Any], machine: Dict[str, Any], fresh: bool = False) -> Dict[str, Any]:
        """Return what is stored of a group; nothing if it was measured with another plan or on another machine.

        Args:
            title: The group's title.
            plan: What is to be measured.
            machine: What it is measured on and with.
            fresh: True: drop what is stored.
        """
        stored = self.content["groups"].get(title)
        if not fresh and stored is not None and stored["plan"] == plan and _same_machine(stored["machine"], machine):
            return stored
        new: Dict[str, Any] = {"plan": plan, "machine": machine, "introductions": {}, "rounds": []}
        self.content["groups"][title] = new
        return new

    def save(self) -> None:
        """Write the file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps(self.content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(self.path)


def storable(round_results: Dict[str, Dict[str, float]]) -> Dict[str, Dict[str, Any]]:
    """Return a round's measurements as JSON takes them."""
    return {
        name: without_gaps({field: _rounded(value) for field, value in measurement.items()})
        for name, measurement in round_results.items()
    }


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _same_machine(stored: Dict[str, Any], machine: Dict[str, Any]) -> bool:
    return {**stored, "date": ""} == {**machine, "date": ""}
