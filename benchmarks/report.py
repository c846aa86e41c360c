"""Markdown tables and charts of a suite's results."""

from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple

from benchmarks.charts import draw_charts
from benchmarks.explanations import EXPLANATIONS
from benchmarks.figures import Spread, Verdict, judge, spread, values_of
from benchmarks.specification import Specification
from benchmarks.suites import GroupPlan, Suite

_BUSY_SHARE = 0.05
"""Foreign or idle load, in processors, above which a page warns."""


def write_report(suite: Suite, content: Dict[str, Any], folder: Path) -> List[Path]:
    """Write ``<suite>.md`` and the suite's charts.

    Args:
        suite: What was planned.
        content: What the store holds.
        folder: Where to write.

    Returns:
        The files.
    """
    charts = draw_charts(suite, content, folder)
    lines = ["# {}".format(suite.title), "", suite.about, ""]
    lines += ["![{}]({})".format(suite.title, chart.name) for chart in charts]
    for plan in suite.groups:
        stored = content["groups"].get(plan.title)
        if stored is not None and stored["rounds"]:
            lines += _group(suite, plan, stored)
    lines += _settings(suite, content)
    path = folder / (suite.name + ".md")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [path, *charts]


def _group(suite: Suite, plan: GroupPlan, stored: Dict[str, Any]) -> List[str]:
    rounds = stored["rounds"]
    lines = ["", "## {}".format(plan.title), "", plan.note, ""]
    if suite.name == "learning":
        lines += _learning_table(plan, rounds)
    else:
        lines += _contender_table(plan, rounds)
    verdicts = [judge(comparison, rounds) for comparison in plan.comparisons]
    if verdicts:
        lines += ["", *comparison_table(verdicts)]
        lines += _remarks(suite, plan, verdicts)
    for name, introduction in sorted(stored["introductions"].items()):
        if "error" in introduction:
            lines += ["", "{} is left out: {}".format(name, introduction["error"].replace("\n", " "))]
    return lines + ["", _conditions(rounds, stored["machine"])]


def _contender_table(plan: GroupPlan, rounds: List[Any]) -> List[str]:
    head = (
        "contender", "seconds per unit", "quartiles", "steps/s", "in calibrations", "environment s", "update s",
        "processors",
    )  # fmt: skip
    rows = []
    for contender in plan.contenders:
        seconds = values_of(rounds, contender.name, "seconds")
        if not seconds:
            continue
        units = [
            one[contender.name]["seconds"] / one[contender.name]["calibration"]
            for one in _having(rounds, contender.name)
        ]
        time = spread(seconds)
        rows.append(
            (
                contender.name,
                "{:.4g}".format(time.median),
                "{:.4g} – {:.4g}".format(time.low, time.high),
                "{:,.0f}".format(contender.environment_steps / time.median),
                "{:.3g}".format(spread(units).median),
                *_phases(contender, rounds),
                _median(rounds, contender.name, "processors_used"),
            )
        )
    return _table(head, rows)


def _phases(contender: Specification, rounds: List[Any]) -> Tuple[str, str]:
    if contender.kind == "environment":
        return ("–", "–")
    update = "products" if contender.kind == "floor" else "update"
    return _median(rounds, contender.name, "environment"), _median(rounds, contender.name, update)


def _learning_table(plan: GroupPlan, rounds: List[Any]) -> List[str]:
    rows = []
    for contender in plan.contenders:
        rewards = values_of(rounds, contender.name, "reward")
        if rewards:
            edge = max(1, len(rewards) // 10)
            first, last = spread(rewards[:edge]).median, spread(rewards[-edge:]).median
            rows.append((contender.name, "{:.2f}".format(first), "{:.2f}".format(last)))
    return _table(("contender", "mean reward of a step, first tenth", "last tenth"), rows)


def comparison_table(verdicts: List[Verdict]) -> List[str]:
    """Return the table of some ratios, a line each."""
    rows = []
    for verdict in verdicts:
        comparison = verdict.comparison
        title = comparison.title
        if len(comparison.rivals) > 1 and verdict.rival is not None:
            title += " ({})".format(verdict.rival)
        sign = "≤" if comparison.measure == "time" else "≥"
        rows.append(
            (
                title,
                "–" if verdict.ratio is None else "{:.3f}".format(verdict.ratio.median),
                "–" if verdict.ratio is None else _quartiles(verdict.ratio),
                _bound(sign, comparison.must),
                _bound(sign, comparison.stretch),
                verdict.word,
            )
        )
    return _table(("ratio", "median", "quartiles", "must", "stretch", "outcome"), rows)


def _remarks(suite: Suite, plan: GroupPlan, verdicts: List[Verdict]) -> List[str]:
    """Say where a bound is missed, and explain what has an explanation."""
    lines: List[str] = []
    for verdict in verdicts:
        title = verdict.comparison.title
        if verdict.word == "missed" and verdict.ratio is not None:
            lines += ["", "**Missed:** {} is {:.3f}.".format(title, verdict.ratio.median)]
        explanation = EXPLANATIONS.get((suite.name, plan.title, title)) or EXPLANATIONS.get((suite.name, "", title))
        if explanation is not None and verdict.ratio is not None:
            lines += ["", "{}: {}".format(title, explanation)]
    return lines


def _conditions(rounds: List[Any], machine: Dict[str, Any]) -> str:
    foreign = [
        value for name in _names(rounds) for value in values_of(rounds, name, "foreign_load") if value is not None
    ]
    idle = [value for name in _names(rounds) for value in values_of(rounds, name, "idle_load") if value is not None]
    calibrations = [value for name in _names(rounds) for value in values_of(rounds, name, "calibration")]
    product = spread(calibrations)
    text = "{} round(s), {}; calibration {:.3f} s (quartiles {}).".format(
        len(rounds), machine["date"], product.median, _quartiles(product)
    )
    if foreign and idle:
        load, waiting = spread(foreign), spread(idle)
        text += " Other processes used {:.2f} processors (median), waiting contenders {:.3f}.".format(
            load.median, waiting.median
        )
        if load.median > _BUSY_SHARE or waiting.median > _BUSY_SHARE:
            text += " **The machine was not quiet: these figures are no evidence.**"
    return text


def _settings(suite: Suite, content: Dict[str, Any]) -> List[str]:
    """Print machine, versions and settings, once for each that differs."""
    lines = ["", "## Machine and settings", ""]
    machines: List[Dict[str, Any]] = []
    for stored in content["groups"].values():
        machine = {name: value for name, value in stored["machine"].items() if name != "date"}
        if machine not in machines:
            machines.append(machine)
    for machine in machines:
        versions = ", ".join("{} {}".format(name, value) for name, value in machine["versions"].items())
        threads = ", ".join("{} {}".format(name, value) for name, value in machine["thread_settings"].items())
        lines += [
            "- {}, {} logical processors, {}".format(
                machine["processor"], machine["logical_processors"], machine["system"]
            ),
            "- {}".format(versions),
            "- {}".format(threads),
        ]
    for plan in suite.groups:
        stored = content["groups"].get(plan.title)
        if stored is not None and plan.point is None:
            lines += _introductions(plan.title, stored["introductions"])
    if any(plan.point is not None for plan in suite.groups):
        first = content["groups"].get(suite.groups[0].title)
        lines += [] if first is None else _introductions("every point, but for the sizes", first["introductions"])
    return lines


def _introductions(title: str, introductions: Dict[str, Any]) -> List[str]:
    lines = ["", "### Settings: {}".format(title), ""]
    for name, introduction in sorted(introductions.items()):
        if "error" in introduction:
            continue
        settings = introduction.get("settings", {})
        facts = ["{} = {}".format(key, introduction[key]) for key in sorted(introduction) if key != "settings"]
        lines.append("- **{}**: {}".format(name, "; ".join(facts + _flat(settings))))
    return lines


def _flat(settings: Dict[str, Any], prefix: str = "") -> List[str]:
    flat: List[str] = []
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat += _flat(value, prefix + name + ".")
        else:
            flat.append("`{}{} = {}`".format(prefix, name, str(value).replace("`", "'")))
    return flat


def _having(rounds: List[Any], name: str) -> List[Any]:
    return [one for one in rounds if name in one]


def _names(rounds: List[Any]) -> List[str]:
    return sorted({name for one in rounds for name in one})


def _median(rounds: List[Any], name: str, field: str) -> str:
    values = [value for value in values_of(rounds, name, field) if value is not None]
    return "{:.3g}".format(spread(values).median) if values else "–"


def _quartiles(value: Spread) -> str:
    return "{:.3f} – {:.3f}".format(value.low, value.high)


def _bound(sign: str, value: Optional[float]) -> str:
    return "–" if value is None else "{} {:.2f}".format(sign, value)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> List[str]:
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
