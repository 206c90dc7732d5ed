"""How sure a comparison is: paired bootstrap over the images.

Codecs see the same images, so each resample draws one set of image indices and uses it for every point of both
curves; what is common to the images (hard or easy, busy or plain) cancels. Percentile intervals (Efron and
Tibshirani, "An Introduction to the Bootstrap", ch. 13).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from icmh_plugins.errors import CurveError
from icmh_plugins.evaluation.bjontegaard import BDResult, bd_rate
from icmh_plugins.evaluation.curves import RATE, RateCurve, RatePoint
from icmh_plugins.evaluation.resampling import (
    RESAMPLES,
    SEED,
    common_images,
    draw,
    resampled_means,
    resampled_values,
)

PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval.

    Attributes:
        value: The estimate on the images themselves.
        low: 2.5 % percentile of the resamples; NaN when every resample was refused.
        high: 97.5 % percentile.
        refused: Share of the resamples that gave no value (no overlap, not monotone). The interval is over the
            others, so with a large share it tells little.
        resamples: How many were drawn.
    """

    value: float
    low: float
    high: float
    refused: float
    resamples: int


def bootstrap_bd(
    anchor: RateCurve,
    test: RateCurve,
    metric: str,
    *,
    delta: Callable[..., BDResult] = bd_rate,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    **options: object,
) -> Interval:
    """Interval of a Bjontegaard delta over resampled images.

    Args:
        anchor: Curve with per-image "bpp", and `metric` per image (means over images are the curve's values) or
            resampled.
        test: The same of the other codec, same images in the same order.
        metric: Name of the quality.
        delta: `bd_rate` or `bd_metric`.
        resamples: Number of resamples.
        seed: Seed of the draw.
        **options: For `delta` (``method=``, ``higher_is_better=``).

    Raises:
        CurveError: Per-image or resampled values are missing, the latter for another draw than that of `RESAMPLES`
            and `SEED`, the images are not the same, or the curves themselves are refused by `delta`.
    """
    value = delta(anchor, test, metric, **options).value
    counts = draw(common_images((anchor, test)), resamples, seed)
    resampled = [[resampled_values(curve, name, counts, seed) for name in (RATE, metric)] for curve in (anchor, test)]
    values = []
    for r in range(resamples):
        pair = [
            _curve(curve, metric, rate[:, r], score[:, r])
            for curve, (rate, score) in zip((anchor, test), resampled, strict=True)
        ]
        values.append(_value_or_nan(delta, *pair, metric, options))
    return _interval(value, np.array(values))


def paired_difference(a: Sequence[float], b: Sequence[float], *, resamples: int = 10_000, seed: int = SEED) -> Interval:
    """Interval of mean(b) - mean(a) over resampled images.

    Args:
        a: One value an image; NaN where it is not defined.
        b: One value an image, same images in the same order.
        resamples: Number of resamples.
        seed: Seed of the draw.

    Raises:
        CurveError: The numbers of images differ, or there are none.
    """
    if len(a) != len(b) or not len(a):
        raise CurveError(f"A paired difference needs the same images on both sides, got {len(a)} and {len(b)} values.")
    difference = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    return _interval(float(np.nanmean(difference)), resampled_means(difference, draw(len(a), resamples, seed)))


def point_difference(a: RatePoint, b: RatePoint, metric: str) -> Interval:
    """Interval of what `b` has of a metric more than `a`, of whole-set metrics too, over the default draw.

    Args:
        a: A point.
        b: A point measured on the same images in the same order.
        metric: Name of a value with per-image or resampled values.

    Raises:
        CurveError: Such values are missing, or the points are of different protocols or numbers of images.
    """
    curves = [RateCurve(point.label, (point,), point.facts.get("protocol", "native")) for point in (a, b)]
    if curves[0].protocol != curves[1].protocol:
        raise CurveError(f"No difference of {metric} between protocols {curves[0].protocol!r}, {curves[1].protocol!r}.")
    counts = draw(common_images(curves))
    first, second = (resampled_values(curve, metric, counts, SEED)[0] for curve in curves)
    return _interval(b.values[metric] - a.values[metric], second - first)


def point_interval(point: RatePoint, metric: str) -> Interval | None:
    """Interval of a point's value over the default draw, for bands; None where neither kind of values is there."""
    if metric in point.per_image:
        return mean_interval(point.per_image[metric])
    if metric in point.resampled:
        return _interval(point.values[metric], point.resampled[metric])
    return None


def mean_interval(values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = SEED) -> Interval:
    """Interval of the mean of one value an image, for bands around a curve.

    Args:
        values: One value an image.
        resamples: Number of resamples.
        seed: Seed of the draw.
    """
    return paired_difference(np.zeros(len(values)), values, resamples=resamples, seed=seed)


def _curve(like: RateCurve, metric: str, rates: np.ndarray, scores: np.ndarray) -> RateCurve:
    points = tuple(RatePoint({RATE: r, metric: s}) for r, s in zip(rates, scores, strict=True))
    return RateCurve(like.name, points, like.protocol, dataset=like.dataset)


def _value_or_nan(
    delta: Callable[..., BDResult], anchor: RateCurve, test: RateCurve, metric: str, options: dict[str, object]
) -> float:
    try:
        return delta(anchor, test, metric, **options).value
    except CurveError:
        return float("nan")


def _interval(value: float, values: np.ndarray) -> Interval:
    kept = values[np.isfinite(values)]
    low, high = np.percentile(kept, PERCENTILES) if kept.size else (float("nan"), float("nan"))
    return Interval(value, float(low), float(high), 1.0 - kept.size / values.size, values.size)
