"""One self-contained HTML page out of results and pictures: no network, no scripts, prints well."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from icmh_plugins.bitstream.files import whole_file
from icmh_plugins.errors import ConfigError, CurveError, suggest
from icmh_plugins.evaluation.bootstrap import point_interval
from icmh_plugins.evaluation.compare import Comparison, compare_all
from icmh_plugins.evaluation.curves import RateCurve
from icmh_plugins.evaluation.published import has_published, published_curve, published_names
from icmh_plugins.viz.curves import plot_curves
from icmh_plugins.viz.display import display
from icmh_plugins.viz.html import details, escape, figure, page, section
from icmh_plugins.viz.tables import FACTS, cards, comparison_table, cost_table, published_table, rate_table


@dataclass(frozen=True)
class Picture:
    """A picture file for the report.

    Attributes:
        path: PNG file.
        caption: Below it.
    """

    path: Path
    caption: str = ""


def write_report(
    curves: Sequence[RateCurve],
    path: str | Path,
    *,
    metrics: Sequence[str] | None = None,
    against: Sequence[str] = (),
    references: Mapping[str, float] | None = None,
    pictures: Iterable[Picture] = (),
    title: str = "Rate and accuracy",
) -> list[Comparison]:
    """Write the report.

    Args:
        curves: The first is the anchor that the others are compared with.
        path: HTML file to write.
        metrics: Qualities to plot and compare; None takes all that every curve has.
        against: Names of published curves to draw beside them (`published_curve`), never compared in numbers.
        references: Scores of the uncompressed pictures by metric, drawn as lines.
        pictures: Maps and strips to include.
        title: Heading.

    Returns:
        The comparisons with the anchor, metric by metric.

    Raises:
        CurveError: There is no curve, or one lacks a metric.
        ConfigError: None of the metrics has a published curve of a name in `against`.
        DataError: The folder of `path` cannot be made or written to.
    """
    if not curves:
        raise CurveError("A report needs at least one result.")
    chosen = list(metrics) if metrics is not None else common_metrics(curves)
    published = {metric: _published(metric, against) for metric in chosen}
    _check_published(against, published)
    comparisons = {metric: compare_all(curves, metric) for metric in chosen}
    flat = [each for metric in chosen for each in comparisons[metric]]
    body = [
        _about(curves),
        cards(flat[: len(curves) - 1]),
        section("Rate and quality", *_plots(curves, comparisons, published, references or {})),
        section("Published curves", *published_table(published)),
        section("Every rate", rate_table(curves, chosen)),
        section(f"Compared with {curves[0].name}", *comparison_table(flat)),
        section("Cost", cost_table(curves)),
        section("Pictures", *(figure(each.path, each.caption) for each in pictures)),
        section("Provenance", *_provenance(curves)),
    ]
    with whole_file(Path(path)) as scratch:
        scratch.write_text(page(title, body), encoding="utf-8")
    return flat


def common_metrics(curves: Sequence[RateCurve]) -> list[str]:
    """Qualities that every curve has, task metrics before fidelity as results list them."""
    return [m for m in curves[0].metrics if m not in FACTS and all(m in curve.metrics for curve in curves)]


def _about(curves: Sequence[RateCurve]) -> str:
    images = " / ".join(sorted({str(len(curve.images)) for curve in curves if curve.images}))
    protocols = sorted({curve.protocol for curve in curves})
    sources = "; ".join(sorted({curve.description for curve in curves if curve.description}))
    warning = " Curves of different protocols are shown together, and not compared in numbers." * (len(protocols) > 1)
    about = f"{images} images. Protocol: {', '.join(protocols)}.{warning} {sources}."
    return f'<p class="soft">{escape(about)}</p>'


def _plots(
    curves: Sequence[RateCurve],
    comparisons: Mapping[str, Sequence[Comparison]],
    published: Mapping[str, Sequence[RateCurve]],
    references: Mapping[str, float],
) -> list[str]:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for metric, compared in comparisons.items():
            path = Path(folder) / "plot.png"
            lines = {"uncompressed": references[metric]} if metric in references else {}
            foreign = published[metric]
            plot_curves(curves, metric, path, published=foreign, references=lines, comparisons=compared)
            banded = any(point_interval(point, metric) for curve in curves for point in curve.points)
            caption = f"{display(metric).axis} over rate." + " Bands: 95 % intervals." * banded
            caption += " Dashed: published, see below; to be looked at, not compared in numbers." * bool(foreign)
            figures.append(figure(path, caption))
    return figures


def _published(metric: str, names: Sequence[str]) -> list[RateCurve]:
    known = published_names(metric) if has_published(metric) else ()
    return [published_curve(name, metric) for name in names if name in known]


def _check_published(names: Sequence[str], found: Mapping[str, Sequence[RateCurve]]) -> None:
    drawn = {curve.extra["key"] for curves in found.values() for curve in curves}
    for name in names:
        if name not in drawn:
            known = {key for metric in found if has_published(metric) for key in published_names(metric)}
            raise ConfigError(f"no published curve {name!r} of {', '.join(found)}.{suggest(name, known)}")


def _provenance(curves: Sequence[RateCurve]) -> list[str]:
    return [
        details(f"{curve.name}, {point.label or f'{point.bpp:.4f} bpp'}", json.dumps(point.facts, indent=2))
        for curve in curves
        for point in curve.points
        if point.facts
    ]
