"""Charts of a suite's results."""

from pathlib import Path
from typing import Any, Dict, List

from benchmarks.figures import spread, values_of
from benchmarks.suites import GroupPlan, Suite


def draw_charts(suite: Suite, content: Dict[str, Any], folder: Path) -> List[Path]:
    """Draw ``<suite>.png``, one part per group, or one per line of the scaling suite; nothing if nothing is there."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [plan for plan in suite.groups if content["groups"].get(plan.title, {}).get("rounds")]
    if not measured:
        return []
    if suite.name == "learning":
        parts: List[List[GroupPlan]] = [measured]
    else:
        names = [plan.point["line"] if plan.point else plan.title for plan in measured]
        parts = [[p for p, n in zip(measured, names) if n == name] for name in dict.fromkeys(names)]
    figure, axes = pyplot.subplots(1, len(parts), figsize=(1.0 + 5.5 * len(parts), 4.5), squeeze=False)
    for axis, plans in zip(axes[0], parts):
        if suite.name == "learning":
            _rewards(axis, plans[0], content)
        elif plans[0].point is not None:
            _line(axis, plans, content)
        else:
            _bars(axis, plans[0], content)
    figure.tight_layout()
    path = folder / (suite.name + ".png")
    figure.savefig(str(path), dpi=110)
    pyplot.close(figure)
    return [path]


def _bars(axis: Any, plan: GroupPlan, content: Dict[str, Any]) -> None:
    rounds = content["groups"][plan.title]["rounds"]
    present = [contender for contender in plan.contenders if values_of(rounds, contender.name, "seconds")]
    speeds = [
        spread([contender.environment_steps / seconds for seconds in values_of(rounds, contender.name, "seconds")])
        for contender in present
    ]
    errors = [[s.median - s.low for s in speeds], [s.high - s.median for s in speeds]]
    colours = ["tab:blue" if contender.name.startswith("AquaML") else "tab:gray" for contender in present]
    axis.barh([contender.name for contender in present], [s.median for s in speeds], xerr=errors, color=colours)
    axis.invert_yaxis()
    axis.set_xlabel("environment steps per second")
    axis.set_title(plan.title)


def _line(axis: Any, plans: List[GroupPlan], content: Dict[str, Any]) -> None:
    for name in [contender.name for contender in plans[0].contenders]:
        xs, ys = [], []
        for plan in plans:
            seconds = values_of(content["groups"][plan.title]["rounds"], name, "seconds")
            if seconds and plan.point is not None:
                xs.append(plan.point["x"])
                ys.append(1e6 * spread(seconds).median / plan.contenders[0].environment_steps)
        axis.plot(xs, ys, marker="o", label=name)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel(plans[0].point["line"] if plans[0].point else "")
    axis.set_ylabel("microseconds per environment step")
    axis.legend()


def _rewards(axis: Any, plan: GroupPlan, content: Dict[str, Any]) -> None:
    rounds = content["groups"][plan.title]["rounds"]
    for contender in plan.contenders:
        axis.plot(values_of(rounds, contender.name, "reward"), label=contender.name)
    axis.set_xlabel("iteration")
    axis.set_ylabel("mean reward of a step")
    axis.set_title(plan.title)
    axis.legend(fontsize="small")
