"""The only file that imports matplotlib: our style, and figures without global state (no pyplot, no backend switch)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from icmh_plugins._deps import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#22272e"
MUTED = "#8a919b"
GRID = "#e6e8eb"
PALETTE = ("#5c6570", "#0a6ebd", "#d1495b", "#1b998b", "#e39b21", "#7a5bb0")
"""Line colours in order; the first, grey, is the anchor's. Distinct in lightness too, so that print in grey works."""

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 150,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.1,
    "figure.dpi": 150,
}


@contextmanager
def drawing(path: str | Path, width: float, height: float) -> Iterator[Figure]:
    """Give a figure of `width` x `height` inches in our style; it is written to `path` (PNG, SVG, PDF) at the end.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "drawing a plot")
    figure_module = require("matplotlib.figure", "drawing a plot")
    fonts = {each.name for each in require("matplotlib.font_manager", "drawing a plot").fontManager.ttflist}
    installed = [name for name in _STYLE["font.sans-serif"] if name in fonts]
    with matplotlib.rc_context({**_STYLE, "font.sans-serif": installed}):
        figure = figure_module.Figure(figsize=(width, height), layout="constrained", facecolor="white")
        yield figure
        figure.savefig(path)


def bare(ax: Axes) -> None:
    """Take ticks, frame and grid away, for pictures; their upper edges line up in a row."""
    ax.set(xticks=[], yticks=[], anchor="N")
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
