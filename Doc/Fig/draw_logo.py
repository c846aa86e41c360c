"""Draws the logo: ``logo.svg`` and ``logo.png`` from the same shapes. Run ``python Doc/Fig/draw_logo.py``.

A drop of water whose inside is a small network: observations on the left, actions on the right, a wave below.
"""

from pathlib import Path
from typing import List, Tuple

Point = Tuple[float, float]

FOLDER = Path(__file__).resolve().parent
SIZE = 256
DEEP, LIGHT, WHITE = "#0b6fa4", "#35b3e0", "#ffffff"

# Cubic curves as (control, control, end); the first point is where the pen begins.
DROP_START: Point = (128, 14)
DROP: List[Tuple[Point, Point, Point]] = [
    ((150, 58), (212, 106), (212, 160)),
    ((212, 208), (174, 242), (128, 242)),
    ((82, 242), (44, 208), (44, 160)),
    ((44, 106), (106, 58), (128, 14)),
]
# Wider than the drop, whose outline cuts it.
WAVE_START: Point = (30, 182)
WAVE: List[Tuple[Point, Point, Point]] = [
    ((62, 154), (96, 202), (128, 180)),
    ((160, 158), (194, 206), (226, 176)),
    ((226, 200), (226, 230), (226, 250)),
    ((160, 250), (96, 250), (30, 250)),
]
LEFT: List[Point] = [(90, 118), (90, 158)]
MIDDLE: List[Point] = [(128, 98), (128, 138)]
RIGHT: List[Point] = [(166, 118), (166, 158)]
RADIUS, LINE = 9.0, 3.5


def edges() -> List[Tuple[Point, Point]]:
    """Return the lines between neighbouring columns of the network."""
    return [(one, other) for one in LEFT for other in MIDDLE] + [(one, other) for one in MIDDLE for other in RIGHT]


def svg() -> str:
    """Return the picture as SVG."""

    def outline(start: Point, curves: List[Tuple[Point, Point, Point]]) -> str:
        parts = ["M{:g} {:g}".format(*start)]
        parts += ["C" + " ".join("{:g} {:g}".format(*point) for point in curve) for curve in curves]
        return "".join(parts) + "Z"

    lines = [
        '  <line x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}" stroke="{}" stroke-width="{}"/>'.format(
            one[0], one[1], other[0], other[1], WHITE, LINE
        )
        for one, other in edges()
    ]
    dots = [
        '  <circle cx="{:g}" cy="{:g}" r="{:g}" fill="{}"/>'.format(x, y, RADIUS, WHITE)
        for x, y in LEFT + MIDDLE + RIGHT
    ]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {0}" role="img" aria-label="AquaML">'.format(SIZE)
    shapes = [
        '  <clipPath id="drop"><path d="{}"/></clipPath>'.format(outline(DROP_START, DROP)),
        '  <path d="{}" fill="{}"/>'.format(outline(DROP_START, DROP), LIGHT),
        '  <path d="{}" fill="{}" clip-path="url(#drop)"/>'.format(outline(WAVE_START, WAVE), DEEP),
    ]
    return "\n".join([head] + shapes + lines + dots + ["</svg>"]) + "\n"


def png(target: Path) -> None:
    """Draw the picture with matplotlib, transparent outside the drop."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle, PathPatch
    from matplotlib.path import Path as Outline

    figure = Figure(figsize=(2.0, 2.0), dpi=256)
    FigureCanvasAgg(figure)
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set_xlim(0, SIZE)
    axes.set_ylim(SIZE, 0)
    axes.axis("off")
    patches = []
    for start, curves, color in ((DROP_START, DROP, LIGHT), (WAVE_START, WAVE, DEEP)):
        points = [start] + [point for curve in curves for point in curve]
        codes = [Outline.MOVETO] + [Outline.CURVE4] * (len(points) - 1)
        patches.append(axes.add_patch(PathPatch(Outline(points, codes), facecolor=color, linewidth=0)))
    patches[1].set_clip_path(patches[0])
    pixel = 72.0 * 2.0 / SIZE
    for one, other in edges():
        axes.plot([one[0], other[0]], [one[1], other[1]], color=WHITE, linewidth=LINE * pixel)
    for place in LEFT + MIDDLE + RIGHT:
        axes.add_patch(Circle(place, RADIUS, color=WHITE, linewidth=0, zorder=3))
    figure.savefig(str(target), transparent=True)


if __name__ == "__main__":
    (FOLDER / "logo.svg").write_text(svg(), encoding="utf-8")
    png(FOLDER / "logo.png")
