"""The rate-accuracy plot: curves with bootstrap bands, named where they end, with their Bjontegaard deltas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icmh_plugins.evaluation.bootstrap import point_interval
from icmh_plugins.evaluation.compare import Comparison, compare_all
from icmh_plugins.evaluation.curves import RATE, RateCurve
from icmh_plugins.viz.display import display
from icmh_plugins.viz.matplotlib import MUTED, PALETTE, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 0.045  # height of a line of label text, in axes units


def plot_curves(
    curves: Sequence[RateCurve],
    metric: str,
    path: str | Path,
    *,
    published: Sequence[RateCurve] = (),
    references: Mapping[str, float] | None = None,
    comparisons: Sequence[Comparison] | None = None,
    title: str = "",
) -> None:
    """Draw `metric` over bits per pixel.

    Where curves of several protocols come together, each is labelled with its own: they can be seen beside each other,
    not compared.

    Args:
        curves: The first is the anchor: the others are labelled with their BD-rate against it and, where per-image
            or resampled values are there, its 95 % interval; or with why there is none.
        metric: A name that all curves have.
        path: File to write; its suffix chooses the format.
        published: Curves of other people, drawn dashed; never compared in numbers.
        references: Horizontal lines by name, in units of `metric` (the uncompressed picture's score).
        comparisons: Of the curves with the anchor, if they are computed already.
        title: Heading.

    Raises:
        CurveError: A curve lacks `metric`.
    """
    shown = display(metric)
    mixed = len({curve.protocol for curve in (*curves, *published)}) > 1
    deltas = [each.rate for each in (compare_all(curves, metric) if comparisons is None else comparisons)]
    with drawing(path, 7.6, 4.4) as figure:
        axes = figure.add_subplot(xlabel="Rate (bits per pixel)", ylabel=shown.axis, title=title)
        labels = []
        for index, curve in enumerate([*curves, *published]):
            colour, foreign = PALETTE[index % len(PALETTE)], index >= len(curves)
            _draw(axes, curve, metric, colour, foreign)
            label = curve.name
            if index and not foreign:
                label += f"\nBD-rate {deltas[index - 1].text('%')}"
            if mixed:
                label += f"\nprotocol {curve.protocol}"
            labels.append((curve, colour, label))
        for name, value in (references or {}).items():
            _reference(axes, name, shown.factor * value)
        axes.margins(x=0.04, y=0.08)
        _name_ends(axes, labels, metric)


def _draw(axes: Axes, curve: RateCurve, metric: str, colour: str, foreign: bool) -> None:
    rate, quality = _points(curve, metric)
    if foreign:
        axes.plot(rate, quality, "--", color=colour, marker="o", markersize=3, linewidth=1)
        return
    axes.plot(rate, quality, color=colour, marker="o", markersize=4.5, markeredgecolor="white", markeredgewidth=0.8)
    intervals = [point_interval(point, metric) for point in curve.points]
    if all(intervals):
        low, high = (display(metric).factor * np.array([getattr(i, end) for i in intervals]) for end in ("low", "high"))
        axes.fill_between(rate, low, high, color=colour, alpha=0.12, linewidth=0)


def _reference(axes: Axes, name: str, value: float) -> None:
    axes.axhline(value, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.annotate(
        f"{name} {value:.1f}", (0, value), (4, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
        color=MUTED, fontsize=8,
    )  # fmt: skip


def _name_ends(axes: Axes, labels: Sequence[tuple[RateCurve, str, str]], metric: str) -> None:
    """Write each curve's label right of the plot at the height of its last point, moved apart where they collide."""
    axes.figure.draw_without_rendering()  # limits and layout are final only then
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [tuple(values[-1] for values in _points(curve, metric)) for curve, _, _ in labels]
    heights = [_LINE * (text.count("\n") + 1) + 0.02 for _, _, text in labels]
    centres = _spread([float(to_axes.transform(end)[1]) for end in ends], heights)
    for (_, colour, text), end, centre in zip(labels, ends, centres, strict=True):
        axes.annotate(
            text, end, (1.03, centre), xycoords="data", textcoords="axes fraction", va="center", fontsize=8,
            color=colour, linespacing=1.35, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.4, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 5},
        )  # fmt: skip


def _points(curve: RateCurve, metric: str) -> tuple[np.ndarray, np.ndarray]:
    return curve.values(RATE), display(metric).factor * curve.values(metric)


def _spread(centres: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Centres in [0, 1] moved apart, so that intervals of the given heights around them do not overlap."""
    order = sorted(range(len(centres)), key=lambda i: centres[i])
    placed, floor = list(centres), -np.inf
    for i in order:
        placed[i] = max(placed[i], floor + heights[i] / 2)
        floor = placed[i] + heights[i] / 2
    ceiling = 1.02
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling - heights[i] / 2)
        ceiling = placed[i] - heights[i] / 2
    return placed
