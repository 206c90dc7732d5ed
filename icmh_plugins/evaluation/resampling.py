"""The draw of resampled images, and what a point scores on it.

A metric that is a mean of per-image scores is computed from those. One that exists over all images only (mean average
precision) was computed on resamples when it was measured (`RatePoint.resampled`): on the draw of `RESAMPLES` and
`SEED`, the same for every point, so that points stay paired.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icmh_plugins.errors import CurveError
from icmh_plugins.evaluation.curves import RATE, RateCurve

RESAMPLES = 1000
"""How many are drawn unasked."""

SEED = 0
"""Of the draw, unasked."""


def draw(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each image stands in each resample, (images, resamples); fewer resamples are the first of more."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1.0 / images), size=resamples).T


def resampled_means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means (R,) of per-image values (N,) on a draw (N, R); NaN (a score not defined for an image) does not count."""
    defined = ~np.isnan(values)
    return np.where(defined, values, 0.0) @ counts / (defined @ counts)


def resampled_values(curve: RateCurve, name: str, counts: np.ndarray, seed: int) -> np.ndarray:
    """Values of a name ("bpp" or a metric) on a draw.

    Args:
        curve: With values of `name` per image or resampled, at every point.
        name: "bpp" or a metric.
        counts: (N, R), what `draw` drew.
        seed: That it drew it with.

    Returns:
        (points, R).

    Raises:
        CurveError: A point has neither kind of values, or they were resampled on another draw.
    """
    resamples = counts.shape[1]
    rows = [
        resampled_means(np.asarray(point.per_image[name], dtype=float), counts)
        if name in point.per_image
        else np.asarray(point.resampled.get(name, ()), dtype=float)[:resamples]
        for point in curve.points
    ]
    _check(curve, [len(row) > 0 for row in rows], f"neither per-image nor resampled {name!r}")
    fixed = [name in point.resampled for point in curve.points]
    if any(fixed) and (seed != SEED or any(len(row) < resamples for row in rows)):
        raise CurveError(
            f"{name} of {curve.name!r} was resampled {min(map(len, rows))} times with seed {SEED} when it was "
            f"measured: it has no {resamples} resamples of seed {seed}."
        )
    return np.stack(rows)


def common_images(curves: Sequence[RateCurve]) -> int:
    """The number of images behind all points.

    Raises:
        CurveError: It differs, the images do, or a point has no per-image rates.
    """
    named = [curve.images for curve in curves if curve.images]
    if any(images != named[0] for images in named):
        names = " and ".join(repr(curve.name) for curve in curves)
        raise CurveError(f"{names} were measured on different images (or in another order).")
    for curve in curves:
        _check(curve, [RATE in point.per_image for point in curve.points], f"no per-image {RATE!r}")
    counts = {len(point.per_image[RATE]) for curve in curves for point in curve.points}
    if len(counts) > 1:
        raise CurveError(f"A paired bootstrap needs the same images everywhere; their numbers are {sorted(counts)}.")
    return counts.pop()


def _check(curve: RateCurve, found: Sequence[bool], lack: str) -> None:
    pairs = zip(curve.points, found, strict=True)
    missing = [point.label or f"{point.bpp:.4g} bpp" for point, has_it in pairs if not has_it]
    if missing:
        raise CurveError(f"Curve {curve.name!r} has {lack} at {', '.join(missing)}.")
