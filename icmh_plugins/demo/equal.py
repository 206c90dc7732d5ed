"""Bits at equal distance: what the base codec would need for the feature distance of another one."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from icmh_plugins.demo.coding import Coded


def bits_at_equal_distance(base: Sequence[Coded], rows: Sequence[Coded]) -> float | None:
    """Bits that the base codec needs on the same pictures for the same mean feature distance.

    Args:
        base: What the base codec made of the pictures, at several rates.
        rows: What another codec made of some of the pictures.

    Returns:
        Log-linear interpolation between the base codec's rates; None outside their range.
    """
    names, distance = {row.picture for row in rows}, fmean(row.distance for row in rows)
    base = [row for row in base if row.picture in names]
    points = [
        (fmean(row.distance for row in group), sum(row.bits for row in group))
        for group in ([row for row in base if row.rate == rate] for rate in dict.fromkeys(row.rate for row in base))
    ]
    distances, bits = zip(*sorted(points), strict=True)
    if not distances[0] <= distance <= distances[-1]:
        return None
    return float(np.exp(np.interp(distance, distances, np.log(bits))))
