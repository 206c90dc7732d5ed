"""Rate-perception curves of several tasks side by side, with what is abnormal in them made visible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icmh_plugins.errors import CurveError
from icmh_plugins.evaluation.curves import RATE, RateCurve
from icmh_plugins.evaluation.perception import falls
from icmh_plugins.viz.display import display
from icmh_plugins.viz.matplotlib import MUTED, PALETTE, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EACH = 3.6  # inches


def plot_perception(
    tasks: Mapping[str, Sequence[RateCurve]],
    metric: str,
    path: str | Path,
    *,
    references: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Draw `metric` over bits per pixel, one panel a task; curves of one name look alike in all panels.

    Where more bits do not help, the line is dotted, and the panel says that the curve has no BD-rate.

    Args:
        tasks: Curves by the name of the task ("noisy").
        metric: A name that all curves have.
        path: File to write; its suffix chooses the format.
        references: Horizontal lines by task and name, in units of `metric` (the picture that was coded, restored).

    Raises:
        CurveError: There is no task, or a curve lacks `metric`.
    """
    if not tasks:
        raise CurveError("A plot of rate and perception needs at least one task.")
    names = list(dict.fromkeys(curve.name for curves in tasks.values() for curve in curves))
    styles = {name: _style(index) for index, name in enumerate(names)}
    abnormal = {task: [c.name for c in curves if falls(c, metric)] for task, curves in tasks.items()}
    with drawing(path, _EACH * len(tasks), 3.9) as figure:
        panels = figure.subplots(1, len(tasks), squeeze=False)[0]
        for axes, (task, curves) in zip(panels, tasks.items(), strict=True):
            axes.set(xlabel="Rate (bits per pixel)", title=task)
            for curve in curves:
                _draw(axes, curve, metric, *styles[curve.name])
            for name, value in (references or {}).get(task, {}).items():
                _reference(axes, name, display(metric).factor * value)
            if abnormal[task]:
                _note(axes, f"not monotone, no BD-rate: {', '.join(abnormal[task])}")
        panels[0].set_ylabel(display(metric).axis)
        handles = [panels[0].plot([], [], color=c, marker=m, label=name)[0] for name, (c, m) in styles.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(names)), frameon=False, fontsize=8)


def _style(index: int) -> tuple[str, str]:
    """Colour and marker; where colours repeat, markers do not."""
    return PALETTE[index % len(PALETTE)], "os^D"[index // len(PALETTE) % 4]


def _draw(axes: Axes, curve: RateCurve, metric: str, colour: str, marker: str) -> None:
    rate, quality = curve.values(RATE), display(metric).factor * curve.values(metric)
    falling = {fall.first for fall in falls(curve, metric)}
    for i in range(len(rate) - 1):
        style = ":" if i in falling else "-"
        axes.plot(rate[i : i + 2], quality[i : i + 2], style, color=colour)
    axes.plot(rate, quality, marker, color=colour, markersize=4.5, markeredgecolor="white", markeredgewidth=0.8)


def _reference(axes: Axes, name: str, value: float) -> None:
    axes.axhline(value, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.annotate(
        f"{name} {value:.1f}", (0, value), (4, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
        color=MUTED, fontsize=7,
    )  # fmt: skip


def _note(axes: Axes, text: str) -> None:
    axes.annotate(text, (0.02, 0.02), xycoords="axes fraction", fontsize=7, color=MUTED)
