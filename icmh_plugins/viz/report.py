"""One self-contained HTML page out of results and pictures: no network, no scripts, prints well."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from icmh_plugins.errors import CurveError
from icmh_plugins.evaluation.compare import Comparison, Delta, compare_all
from icmh_plugins.evaluation.curves import RATE, RateCurve
from icmh_plugins.evaluation.published import published_curve, published_metrics
from icmh_plugins.viz.curves import plot_curves
from icmh_plugins.viz.display import display
from icmh_plugins.viz.html import card, details, escape, figure, page, section, table

FACTS = ("bpp-with-header", "encoding_time", "decoding_time")
"""Values of a point that are no qualities: listed, not plotted."""

MINUS = "\N{MINUS SIGN}"
_COSTS = {
    "base_parameters": "base parameters",
    "adapter_parameters": "adapter parameters",
    "adapter_bytes": "adapter bytes",
    "encoder_kmac_per_pixel": "encoder kMAC/px",
    "adapter_encoder_kmac_per_pixel": "added by adapters",
    "decoder_kmac_per_pixel": "decoder kMAC/px",
    "adapter_decoder_kmac_per_pixel": "added by adapters",
}


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
    """
    if not curves:
        raise CurveError("A report needs at least one result.")
    chosen = list(metrics) if metrics is not None else common_metrics(curves)
    comparisons = {metric: compare_all(curves, metric) for metric in chosen}
    flat = [each for metric in chosen for each in comparisons[metric]]
    body = [
        _about(curves),
        _cards(flat[: len(curves) - 1]),
        section("Rate and quality", *_plots(curves, comparisons, against, references or {})),
        section("Every rate", _rate_table(curves, chosen)),
        section(f"Compared with {curves[0].name}", *_comparison_table(flat)),
        section("Cost", _cost_table(curves)),
        section("Pictures", *(figure(each.path, each.caption) for each in pictures)),
        section("Provenance", *_provenance(curves)),
    ]
    Path(path).write_text(page(title, body), encoding="utf-8")
    return flat


def common_metrics(curves: Sequence[RateCurve]) -> list[str]:
    """Qualities that every curve has, task metrics before fidelity as results list them."""
    return [m for m in curves[0].metrics if m not in FACTS and all(m in curve.metrics for curve in curves)]


def _about(curves: Sequence[RateCurve]) -> str:
    images = " / ".join(sorted({str(len(curve.images)) for curve in curves if curve.images}))
    protocols = ", ".join(sorted({curve.protocol for curve in curves}))
    sources = "; ".join(sorted({curve.description for curve in curves if curve.description}))
    return f'<p class="soft">{escape(f"{images} images. Protocol: {protocols}. {sources}.")}</p>'


def _cards(comparisons: Sequence[Comparison]) -> str:
    """The first metric's comparisons, large."""
    cards = []
    for each in comparisons:
        value = "none" if each.rate.result is None else f"{each.rate.result.value:+.1f} %".replace("-", MINUS)
        equal = display(each.metric).axis.partition(" (")[0]
        cards.append(card(value, f"BD-rate of {each.test} at equal {equal}. {_certainty(each.rate)}"))
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _certainty(delta: Delta) -> str:
    if delta.result is None:
        return f"Refused: {delta.refusal}."
    if delta.interval is None:
        return "No interval: per-image values are missing."
    low, high = (f"{end:+.1f}".replace("-", MINUS) for end in (delta.interval.low, delta.interval.high))
    return f"95 % interval {low} to {high} %, paired over images."


def _plots(
    curves: Sequence[RateCurve],
    comparisons: Mapping[str, Sequence[Comparison]],
    against: Sequence[str],
    references: Mapping[str, float],
) -> list[str]:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for metric, compared in comparisons.items():
            path = Path(folder) / "plot.png"
            lines = {"uncompressed": references[metric]} if metric in references else {}
            published = [published_curve(name, metric) for name in against if metric in published_metrics()]
            plot_curves(curves, metric, path, published=published, references=lines, comparisons=compared)
            caption = f"{display(metric).axis} over rate; bands: 95 % intervals of the means."
            notes = [f" {each.name}: {each.extra['provenance']}, protocol {each.protocol}." for each in published]
            figures.append(figure(path, caption + "".join(notes)))
    return figures


def _rate_table(curves: Sequence[RateCurve], metrics: Sequence[str]) -> str:
    names = [RATE, *metrics, *FACTS]
    rows = [
        (curve.name, point.label, *(display(n).text(point.values[n]) if n in point.values else "" for n in names))
        for curve in curves
        for point in curve.points
    ]
    return table(("codec", "point", *(display(name).axis for name in names)), rows)


def _comparison_table(comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        return []
    rows, notes = [], []
    for each in comparisons:
        shown = display(each.metric)
        covered = "" if each.rate.result is None else f"{100 * each.rate.result.coverage:.0f} %"
        refused = "" if each.rate.interval is None else f"{100 * each.rate.interval.refused:.1f} %"
        quality = each.quality.text(shown.unit, shown.factor)
        rows.append((each.test, shown.axis, each.rate.text("%"), covered, refused, quality))
        notes += [delta.explanation for delta in (each.rate, each.quality) if delta.explanation]
    head = ("codec", "quality", "BD-rate", "range in common", "resamples refused", "BD-quality")
    items = "".join(f"<li>{escape(note)}</li>" for note in dict.fromkeys(notes))
    return [table(head, rows), f"<ul>{items}</ul>" if items else ""]


def _cost_table(curves: Sequence[RateCurve]) -> str:
    rows = []
    for curve in curves:
        costs = curve.points[0].facts.get("complexity")
        if costs:
            rows.append((curve.name, *(_number(costs[key]) for key in _COSTS)))
    return table(("codec", *_COSTS.values()), rows) if rows else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _provenance(curves: Sequence[RateCurve]) -> list[str]:
    return [
        details(f"{curve.name}, {point.label or f'{point.bpp:.4f} bpp'}", json.dumps(point.facts, indent=2))
        for curve in curves
        for point in curve.points
        if point.facts
    ]
