"""The learning curve of a run as a picture."""

from pathlib import Path
from typing import Dict, List, Optional, Tuple

from AquaML.tracking.csv_sink import FILE_NAME, read_rows

PICTURE_NAME = "learning_curve.png"


def draw_learning_curve(folder: Path, title: str) -> Optional[Path]:
    """Draw episode returns over environment steps from a run's ``progress.csv``.

    Args:
        folder: The run's folder.
        title: What stands above the picture.

    Returns:
        The picture's path, or None when no episode has ended yet.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    rows = read_rows(folder / FILE_NAME)
    steps, means = _column(rows, "episode/return_mean")
    evaluated, scores = _column(rows, "evaluation/return_mean")
    if not steps and not evaluated:
        return None
    figure = Figure(figsize=(8.0, 5.0), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(1, 1, 1)
    _, lowest = _column(rows, "episode/return_min")
    _, highest = _column(rows, "episode/return_max")
    if steps and len(lowest) == len(highest) == len(steps):
        axes.fill_between(steps, lowest, highest, color="tab:blue", alpha=0.15, linewidth=0, label="lowest to highest")
    if steps:
        marker = "o" if len(steps) < 3 else None
        axes.plot(steps, means, color="tab:blue", linewidth=1.5, marker=marker, label="training, mean of an interval")
    if evaluated:
        axes.plot(evaluated, scores, color="tab:orange", marker="o", markersize=4, label="evaluation")
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("episode return")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.3)
    axes.margins(x=0.02)
    # Below the axes, where it cannot lie over a curve.
    figure.tight_layout(rect=(0.0, 0.07, 1.0, 1.0))
    figure.legend(loc="lower center", ncol=3, fontsize=9, frameon=False)
    path = folder / PICTURE_NAME
    figure.savefig(str(path))
    return path


def _column(rows: List[Dict[str, str]], name: str) -> Tuple[List[float], List[float]]:
    present = [row for row in rows if row.get(name)]
    return [float(row["environment_steps"]) for row in present], [float(row[name]) for row in present]
