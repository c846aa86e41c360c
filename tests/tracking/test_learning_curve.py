"""The picture of a run."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from AquaML.tracking.csv_sink import CsvSink
from AquaML.tracking.learning_curve import draw_learning_curve

STEPS = [8192 * step for step in range(1, 31)]


def write_run(training: bool = True, evaluation: bool = True) -> None:
    sink = CsvSink()
    sink.open(Path("."), {})
    for index, step in enumerate(STEPS):
        row = {"environment_steps": float(step), "loss/policy": 0.1}
        if training and index > 1:
            mean = -1400.0 + 40.0 * index
            row.update(
                {
                    "episode/return_mean": mean,
                    "episode/return_min": mean - 150.0,
                    "episode/return_max": mean + 150.0,
                }
            )
        if evaluation and index % 10 == 9:
            row["evaluation/return_mean"] = -1300.0 + 40.0 * index
        sink.write(step, row)


def drawn_figure(monkeypatch: Any) -> Figure:
    """Draw, and return the real figure as it was when it was saved."""
    kept = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        kept.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    path = draw_learning_curve(Path("."), "PPO on Pendulum-v1")
    assert path == Path("learning_curve.png") and path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    return kept[0]


def test_curves_are_the_figures_over_environment_steps(monkeypatch: Any) -> None:
    write_run()
    figure = drawn_figure(monkeypatch)
    (axes,) = figure.axes
    training, evaluation = axes.get_lines()
    assert list(training.get_xdata()) == STEPS[2:] and list(training.get_ydata())[0] == -1320.0
    assert list(evaluation.get_xdata()) == [STEPS[9], STEPS[19], STEPS[29]]
    assert list(evaluation.get_ydata()) == [-940.0, -540.0, -140.0]
    assert axes.get_xlabel() == "environment steps" and axes.get_ylabel() == "episode return"
    assert axes.get_title() == "PPO on Pendulum-v1"
    assert pyplot.get_fignums() == []  # the user's own figures and backend are left alone


def test_the_legend_lies_outside_the_axes_and_all_text_inside_the_picture(monkeypatch: Any) -> None:
    write_run()
    figure = drawn_figure(monkeypatch)
    (axes,), (legend,) = figure.axes, figure.legends
    renderer = figure.canvas.get_renderer()
    assert not legend.get_window_extent(renderer).overlaps(axes.get_tightbbox(renderer))
    whole = figure.bbox
    for box in (legend.get_window_extent(renderer), axes.get_tightbbox(renderer)):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
    ticks = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
    assert "100k" in ticks
    assert [text.get_text() for text in legend.get_texts()] == [
        "lowest to highest",
        "training, mean of an interval",
        "evaluation",
    ]


@pytest.mark.parametrize(("training", "evaluation", "lines"), [(True, False, 1), (False, True, 1), (True, True, 2)])
def test_what_there_is_is_drawn(training: bool, evaluation: bool, lines: int, monkeypatch: Any) -> None:
    write_run(training, evaluation)
    assert len(drawn_figure(monkeypatch).axes[0].get_lines()) == lines


def test_without_an_episode_there_is_no_picture() -> None:
    assert draw_learning_curve(Path("."), "a") is None
    write_run(training=False, evaluation=False)
    assert draw_learning_curve(Path("."), "a") is None
    assert not Path("learning_curve.png").exists()
