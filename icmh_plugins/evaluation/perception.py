"""Rate-perception curves: where more bits make the restored picture worse.

LL-ICM (Xue et al., arXiv:2412.03841, Fig. 4e,f) calls such curves abnormal: a codec that keeps more of a noisy picture
keeps more of its noise. No Bjontegaard delta exists for them, and `evaluation.bjontegaard` refuses one.
"""

from __future__ import annotations

from dataclasses import dataclass

from icmh_plugins.evaluation.curves import RATE, RateCurve


@dataclass(frozen=True)
class Fall:
    """Two neighbouring points between which quality does not rise with the rate.

    Attributes:
        first: Position of the lower rate in the curve; the other is the next.
        rates: Of both, in bpp.
        qualities: Of both, in units of the metric.
    """

    first: int
    rates: tuple[float, float]
    qualities: tuple[float, float]


def falls(curve: RateCurve, metric: str, higher_is_better: bool | None = None) -> tuple[Fall, ...]:
    """All steps of a curve that are not for the better; () for a curve that Bjontegaard deltas take.

    Args:
        curve: Two points or more.
        metric: Of the curve.
        higher_is_better: Which direction is good; None takes what the curve says.

    Raises:
        CurveError: The curve lacks the metric.
    """
    rate, quality = curve.values(RATE), curve.values(metric)
    better = curve.higher_is_better(metric) if higher_is_better is None else higher_is_better
    sign = 1 if better else -1
    return tuple(
        Fall(i, (float(rate[i]), float(rate[i + 1])), (float(quality[i]), float(quality[i + 1])))
        for i in range(len(rate) - 1)
        if rate[i + 1] <= rate[i] or sign * (quality[i + 1] - quality[i]) <= 0
    )
