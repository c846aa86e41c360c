"""The figures of the campaigns as a table."""

from typing import Any, Dict, List


def markdown(results: Dict[str, Any]) -> str:
    """Return a page with one row for every figure.

    Args:
        results: Campaign to its record, as the runner stores it.
    """
    lines = [
        "# Reliability",
        "",
        "Written by `python -m benchmarks.reliability --full`; "
        "`reliability.json` has the same figures with all versions.",
        "",
        *figure_table(results),
    ]
    lines += ["", "| campaign | date | seed | seconds | Python | torch | system |", "| --- | " + "--- | " * 6]
    for name, record in results.items():
        machine = record["machine"]
        cells = [name, machine["date"], record["seed"], record["seconds"], machine["versions"]["python"]]
        cells += [machine["versions"]["torch"], "{}, {}".format(machine["system"], machine["processor"])]
        lines.append("| {} |".format(" | ".join(str(cell) for cell in cells)))
    return "\n".join(lines).replace("| \n", "|\n") + "\n"


def figure_table(results: Dict[str, Any]) -> List[str]:
    """Return one row for every figure, without line ends.

    Args:
        results: Campaign to its record, as the runner stores it.
    """
    lines = ["| campaign | count | figure | value |", "| --- | ---: | --- | ---: |"]
    for name, record in results.items():
        count = "{:,}".format(record["count"])
        if record["count"] < record["full_count"]:
            count += " of {:,}".format(record["full_count"])
        for figure, value in _flat("", record["figures"]):
            lines.append("| {} | {} | {} | {} |".format(name, count, figure, _text(value)).replace("|  |", "| |"))
            name = count = ""
    return lines


def _flat(prefix: str, value: Any) -> List[Any]:
    if isinstance(value, dict):
        return [pair for name, item in value.items() for pair in _flat(prefix + ": " * bool(prefix) + str(name), item)]
    return [(prefix.replace("_", " "), value)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return "{:,}".format(value)
    if isinstance(value, float):
        return "{:.4g}".format(value)
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "none"
    return str(value) or "no complaint"
