"""Bjontegaard deltas between two rate curves, refused where they would be meaningless.

The integration over log10(bpp) is the `bjontegaard` package's (Herglotz et al., "Beyond Bjontegaard",
arXiv:2202.12565); what it only warns of, or silently extrapolates, is an error here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from icmh_plugins._deps import require
from icmh_plugins.errors import BDRefusedError
from icmh_plugins.evaluation.curves import RATE, RateCurve
from icmh_plugins.evaluation.perception import falls

Method = Literal["pchip", "akima", "cubic"]

MIN_POINTS = 4
"""Points a curve needs: the classic cubic has four coefficients, and with fewer points any method mostly invents."""


@dataclass(frozen=True)
class BDResult:
    """A Bjontegaard delta.

    Attributes:
        value: Mean rate difference in percent (`bd_rate`; negative: the test needs fewer bits), or mean difference
            in units of the metric (`bd_metric`).
        overlap: The interval integrated over: of the metric for `bd_rate`, of bpp for `bd_metric`.
        coverage: Length of that interval over the whole span of both curves, in (0, 1]; rates count as log10.
        method: Interpolation between the points.
    """

    value: float
    overlap: tuple[float, float]
    coverage: float
    method: Method


def bd_rate(
    anchor: RateCurve, test: RateCurve, metric: str, *, method: Method = "pchip", higher_is_better: bool = True
) -> BDResult:
    """Mean difference in rate at equal quality, in percent of the anchor's rate.

    Args:
        anchor: What is compared against.
        test: What is compared.
        metric: Name of the quality.
        method: "pchip" or "akima" (piecewise, through the points) or "cubic" (one polynomial a curve, the classic).
        higher_is_better: False for distances.

    Raises:
        BDRefusedError: Fewer than 4 points, a curve that is not monotone, no common quality, different protocols or
            different images.
    """
    sign = 1.0 if higher_is_better else -1.0
    (rate_a, quality_a), (rate_t, quality_t) = _samples(anchor, test, metric, sign)
    low, high = max(quality_a[0], quality_t[0]), min(quality_a[-1], quality_t[-1])
    if low >= high:
        raise BDRefusedError(
            "no common quality",
            f"No BD-rate: {_spans(anchor, test, metric)}, so no {metric} is reached by both and any number would be "
            "an extrapolation. Report bd_metric (difference at equal rate), or measure rates that overlap in quality.",
        )
    package = require("bjontegaard", "BD-rate")
    value = package.bd_rate(
        rate_a, quality_a, rate_t, quality_t, method=method, require_matching_points=False, min_overlap=0
    )
    overlap = tuple(sorted((float(sign * low), float(sign * high))))
    return BDResult(float(value), overlap, _coverage(quality_a, quality_t), method)


def bd_metric(
    anchor: RateCurve, test: RateCurve, metric: str, *, method: Method = "pchip", higher_is_better: bool = True
) -> BDResult:
    """Mean difference in quality at equal rate (BD-PSNR, BD-accuracy, BD-mAP), in units of `metric`.

    Arguments and refusals as in `bd_rate`; here it is the rates that must overlap.

    Raises:
        BDRefusedError: Fewer than 4 points, a curve that is not monotone, no common rate, different protocols or
            different images.
    """
    sign = 1.0 if higher_is_better else -1.0
    (rate_a, quality_a), (rate_t, quality_t) = _samples(anchor, test, metric, sign)
    low, high = max(rate_a[0], rate_t[0]), min(rate_a[-1], rate_t[-1])
    if low >= high:
        raise BDRefusedError(
            "no common rate",
            f"No BD-{metric}: {_spans(anchor, test, RATE)}, so no rate is common to both. "
            "Report bd_rate (difference at equal quality), or measure rates that overlap.",
        )
    package = require("bjontegaard", f"BD-{metric}")
    value = package.bd_psnr(
        rate_a, quality_a, rate_t, quality_t, method=method, require_matching_points=False, min_overlap=0
    )
    return BDResult(
        float(sign * value), (float(low), float(high)), _coverage(np.log10(rate_a), np.log10(rate_t)), method
    )


def _samples(
    anchor: RateCurve, test: RateCurve, metric: str, sign: float
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Rates and qualities of both curves, checked, quality turned so that it rises with the rate."""
    if anchor.protocol != test.protocol:
        raise BDRefusedError(
            "different protocols",
            f"{anchor.name!r} was measured under protocol {anchor.protocol!r}, {test.name!r} under {test.protocol!r}: "
            "their bits and scores are not about the same images. Measure both under one protocol.",
        )
    if not same_images(anchor, test):
        raise BDRefusedError(
            "different images",
            f"{anchor.name!r} and {test.name!r} were measured on different images ({_images(anchor)}; "
            f"{_images(test)}): the difference could be one of the images. Measure both on the same.",
        )
    return _monotone(anchor, metric, sign), _monotone(test, metric, sign)


def same_images(anchor: RateCurve, test: RateCurve) -> bool:
    """Whether two curves are about the same images, in any order, as far as they say."""
    if anchor.images and test.images and sorted(anchor.images) != sorted(test.images):
        return False
    return anchor.dataset == test.dataset


def _images(curve: RateCurve) -> str:
    return curve.dataset or (f"{len(curve.images)} pictures from {curve.images[0]!r}" if curve.images else "unknown")


def _monotone(curve: RateCurve, metric: str, sign: float) -> tuple[np.ndarray, np.ndarray]:
    rate, quality = curve.values(RATE), curve.values(metric)
    if len(rate) < MIN_POINTS:
        raise BDRefusedError(
            "too few points",
            f"{curve.name!r} has {len(rate)} points; Bjontegaard deltas need {MIN_POINTS} or more.",
        )
    if not (np.isfinite(rate).all() and np.isfinite(quality).all() and (rate > 0).all()):
        raise BDRefusedError(
            "unusable values",
            f"{curve.name!r} has rates {rate.tolist()} and {metric} {quality.tolist()}: not all usable.",
        )
    if fallen := falls(curve, metric, sign > 0):
        (low, high), (worse, better) = fallen[0].rates, fallen[0].qualities
        raise BDRefusedError(
            "not monotone",
            f"{curve.name!r} is not monotone: {metric} goes from {worse:.6g} to {better:.6g} as the rate goes from "
            f"{low:.6g} to {high:.6g} bpp, so 'equal {metric}' names no single rate. Measure more images, or report "
            "the points without a BD number.",
        )
    return rate, sign * quality


def _coverage(a: np.ndarray, t: np.ndarray) -> float:
    return float((min(a[-1], t[-1]) - max(a[0], t[0])) / (max(a[-1], t[-1]) - min(a[0], t[0])))


def _spans(anchor: RateCurve, test: RateCurve, name: str) -> str:
    a, t = anchor.values(name), test.values(name)
    return f"{anchor.name!r} covers {name} {a.min():.6g} to {a.max():.6g}, {test.name!r} {t.min():.6g} to {t.max():.6g}"
