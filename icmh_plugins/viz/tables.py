"""Tables of the report, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icmh_plugins.evaluation.compare import Comparison, Delta
from icmh_plugins.evaluation.curves import RATE, RateCurve
from icmh_plugins.viz.display import display
from icmh_plugins.viz.html import card, escape, table

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


def cards(comparisons: Sequence[Comparison]) -> str:
    """BD-rates, large."""
    made = []
    for each in comparisons:
        value = "none" if each.rate.result is None else f"{each.rate.result.value:+.1f} %".replace("-", MINUS)
        equal = display(each.metric).axis.partition(" (")[0]
        made.append(card(value, f"BD-rate of {each.test} at equal {equal}. {_certainty(each.rate)}"))
    return f'<div class="cards">{"".join(made)}</div>' if made else ""


def _certainty(delta: Delta) -> str:
    if delta.result is None:
        return f"Refused: {delta.refusal}."
    if delta.interval is None:
        return "No interval: see below."
    low, high = (f"{end:+.1f}".replace("-", MINUS) for end in (delta.interval.low, delta.interval.high))
    return f"95 % interval {low} to {high} %, paired over images."


def rate_table(curves: Sequence[RateCurve], metrics: Sequence[str]) -> str:
    """Every point of every curve."""
    facts = [name for name in FACTS if any(name in point.values for curve in curves for point in curve.points)]
    names = [RATE, *metrics, *facts]
    rows = [
        (curve.name, point.label, *(display(n).text(point.values[n]) if n in point.values else "" for n in names))
        for curve in curves
        for point in curve.points
    ]
    return table(("codec", "point", *(display(name).axis for name in names)), rows)


def comparison_table(comparisons: Sequence[Comparison]) -> list[str]:
    """Bjontegaard deltas, and below them why some are missing; nothing without comparisons."""
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


def published_table(published: Mapping[str, Sequence[RateCurve]]) -> list[str]:
    """Where the published curves of each metric come from; nothing without any."""
    head = ("curve", "quality", "numbers", "protocol", "dataset", "task network")
    found = [(display(metric).axis, curve) for metric, curves in published.items() for curve in curves]
    rows = [
        (curve.name, axis, curve.extra["kind"], curve.protocol, curve.dataset, curve.extra["task_network"])
        for axis, curve in found
    ]
    notes = [f"{curve.name}, {axis}: {curve.extra['provenance']}." for axis, curve in found]
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return [table(head, rows), f"<ul>{items}</ul>"] if found else []


def cost_table(curves: Sequence[RateCurve]) -> str:
    """Parameters and MACs of each curve's first point; nothing where none are known."""
    rows = []
    for curve in curves:
        costs = curve.points[0].facts.get("complexity")
        if costs:
            rows.append((curve.name, *(_number(costs[key]) for key in _COSTS)))
    return table(("codec", *_COSTS.values()), rows) if rows else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
