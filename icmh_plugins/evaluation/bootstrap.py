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
    resamples: int = 1000,
    seed: int = 0,
    **options: object,
) -> Interval:
    """Interval of a Bjontegaard delta over resampled images.

    Args:
        anchor: Curve with per-image "bpp" and `metric`, whose means over images are the curve's values.
        test: The same of the other codec, same images in the same order.
        metric: Name of the quality.
        delta: `bd_rate` or `bd_metric`.
        resamples: Number of resamples.
        seed: Seed of the draw.
        **options: For `delta` (``method=``, ``higher_is_better=``).

    Raises:
        CurveError: Per-image values are missing, the images are not the same, or the curves themselves are refused
            by `delta`.
    """
    value = delta(anchor, test, metric, **options).value
    if anchor.images and test.images and anchor.images != test.images:
        raise CurveError(f"{anchor.name!r} and {test.name!r} were measured on different images (or in another order).")
    rates = [_stack(curve, RATE) for curve in (anchor, test)]
    scores = [_stack(curve, metric) for curve in (anchor, test)]
    images = {stack.shape[1] for stack in (*rates, *scores)}
    if len(images) > 1:
        raise CurveError(f"A paired bootstrap needs the same images everywhere; their numbers are {sorted(images)}.")
    weights = _weights(images.pop(), resamples, seed)
    resampled = [(_means(rate, weights), _means(score, weights)) for rate, score in zip(rates, scores, strict=True)]
    values = []
    for r in range(resamples):
        pair = [
            _curve(curve, metric, rate[:, r], score[:, r])
            for curve, (rate, score) in zip((anchor, test), resampled, strict=True)
        ]
        values.append(_value_or_nan(delta, *pair, metric, options))
    return _interval(value, np.array(values))


def paired_difference(a: Sequence[float], b: Sequence[float], *, resamples: int = 10_000, seed: int = 0) -> Interval:
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
    return _interval(float(np.nanmean(difference)), _means(difference, _weights(len(a), resamples, seed)))


def mean_interval(values: Sequence[float], *, resamples: int = 1000, seed: int = 0) -> Interval:
    """Interval of the mean of one value an image, for bands around a curve.

    Args:
        values: One value an image.
        resamples: Number of resamples.
        seed: Seed of the draw.
    """
    return paired_difference(np.zeros(len(values)), values, resamples=resamples, seed=seed)


def _weights(images: int, resamples: int, seed: int) -> np.ndarray:
    """Weights (images, resamples) whose product with per-image values gives the resampled means."""
    counts = np.random.default_rng(seed).multinomial(images, np.full(images, 1.0 / images), size=resamples)
    return counts.T / images


def _means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Resampled means of values (..., images); NaN (a score that is not defined for an image) does not count."""
    defined = ~np.isnan(values)
    if defined.all():
        return values @ weights
    return np.where(defined, values, 0.0) @ weights / (defined @ weights)


def _stack(curve: RateCurve, name: str) -> np.ndarray:
    """Per-image values, shape (points, images)."""
    missing = [point.label or f"{point.bpp:.4g} bpp" for point in curve.points if name not in point.per_image]
    if missing:
        raise CurveError(f"Curve {curve.name!r} has no per-image {name!r} at {', '.join(missing)}.")
    arrays = [np.asarray(point.per_image[name], dtype=float) for point in curve.points]
    if len({array.size for array in arrays}) > 1:
        raise CurveError(f"Curve {curve.name!r} has different numbers of images: {[a.size for a in arrays]}.")
    return np.stack(arrays)


def _curve(like: RateCurve, metric: str, rates: np.ndarray, scores: np.ndarray) -> RateCurve:
    points = tuple(RatePoint({RATE: r, metric: s}) for r, s in zip(rates, scores, strict=True))
    return RateCurve(like.name, points, like.protocol)


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
