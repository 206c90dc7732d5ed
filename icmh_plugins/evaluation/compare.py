"""Two curves in one comparison: both Bjontegaard deltas with their intervals, or the reasons why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from icmh_plugins.errors import BDRefusedError, CurveError
from icmh_plugins.evaluation.bjontegaard import BDResult, bd_metric, bd_rate
from icmh_plugins.evaluation.bootstrap import Interval, bootstrap_bd
from icmh_plugins.evaluation.curves import RateCurve


@dataclass(frozen=True)
class Delta:
    """One Bjontegaard delta, or its refusal.

    Attributes:
        result: The delta; None where refused.
        interval: Its 95 % interval; None where neither per-image nor resampled values are there.
        refusal: Why there is no delta, in a few words.
        explanation: The same in full.
    """

    result: BDResult | None = None
    interval: Interval | None = None
    refusal: str = ""
    explanation: str = ""

    def text(self, unit: str, factor: float = 1.0) -> str:
        """``-45.1 % [-49.0, -41.2]``, or ``none (no common quality)``.

        Args:
            unit: Written after the value.
            factor: Numbers are multiplied by it (100 for fractions shown as percent).
        """
        if self.result is None:
            return f"none ({self.refusal})"
        text = f"{factor * self.result.value:+.1f} {unit}"
        if self.interval is not None:
            text += f" [{factor * self.interval.low:+.1f}, {factor * self.interval.high:+.1f}]"
        return text.replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Comparison:
    """A test curve against its anchor.

    Attributes:
        anchor: Name of the anchor.
        test: Name of the test.
        metric: Quality compared.
        rate: Difference in rate at equal quality, %.
        quality: Difference in quality at equal rate, units of the metric.
    """

    anchor: str
    test: str
    metric: str
    rate: Delta
    quality: Delta

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form."""
        return asdict(self)


def compare(anchor: RateCurve, test: RateCurve, metric: str, *, resamples: int = 1000) -> Comparison:
    """Compare `test` with `anchor`; what cannot be computed honestly is named, not raised.

    Args:
        anchor: What is compared against.
        test: What is compared.
        metric: Name of the quality; whether more of it is good, the anchor knows.
        resamples: Of the paired bootstrap over images.

    Raises:
        CurveError: A curve lacks `metric`.
    """
    rate, quality = (_delta(bd, anchor, test, metric, resamples) for bd in (bd_rate, bd_metric))
    return Comparison(anchor.name, test.name, metric, rate, quality)


def compare_all(curves: Sequence[RateCurve], metric: str) -> list[Comparison]:
    """Every curve but the first compared with the first.

    Raises:
        CurveError: A curve lacks `metric`.
    """
    return [compare(curves[0], curve, metric) for curve in curves[1:]]


def _delta(bd: Callable[..., BDResult], anchor: RateCurve, test: RateCurve, metric: str, resamples: int) -> Delta:
    higher = anchor.higher_is_better(metric)
    try:
        result = bd(anchor, test, metric, higher_is_better=higher)
    except BDRefusedError as refusal:
        return Delta(refusal=refusal.reason, explanation=str(refusal))
    try:
        interval = bootstrap_bd(anchor, test, metric, delta=bd, resamples=resamples, higher_is_better=higher)
    except CurveError as error:
        return Delta(result, explanation=f"No interval: {error}")
    if interval.refused == 1.0:
        return Delta(result, explanation="No interval: every resample was refused.")
    return Delta(result, interval)
