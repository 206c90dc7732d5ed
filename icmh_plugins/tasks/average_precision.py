"""COCO's average precision on resampled pictures, without matching again.

COCOeval matches detections with truths picture by picture; only the accumulation knows how often a picture stands in
the set. So here that accumulation is done with weights, for many resamples at once. On repeated pictures it gives what
COCOeval gives, up to the order of detections of equal score.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_CHUNK = 250  # resamples at a time: bounds memory


def resampled(evaluation: Any, counts: np.ndarray) -> list[np.ndarray]:
    """AP, AP50, AP75, APs, APm, APl, each (R,), in [0, 1]; NaN where a resample has no objects.

    Args:
        evaluation: A COCOeval after `evaluate`.
        counts: (N, R), how often each picture, in the order of its id, stands in each resample.
    """
    parts = [_chunk(evaluation, counts[:, start : start + _CHUNK]) for start in range(0, counts.shape[1], _CHUNK)]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def _chunk(evaluation: Any, counts: np.ndarray) -> list[np.ndarray]:
    settings = evaluation.params
    areas, pictures = len(settings.areaRng), len(settings.imgIds)
    # (areas, overlaps, R): sums over categories of precision, and (areas, R): how many categories have objects.
    total = np.zeros((areas, len(settings.iouThrs), counts.shape[1]))
    present = np.zeros((areas, counts.shape[1]))
    for category in range(len(settings.catIds)):
        for area in range(areas):
            start = (category * areas + area) * pictures
            precision, objects = _category(evaluation.evalImgs[start : start + pictures], counts, settings)
            total[area] += precision
            present[area] += objects > 0
    with np.errstate(invalid="ignore"):
        mean = total / np.where(present > 0, present, np.nan)[:, None]
    every, small, medium, large = mean
    at = {round(float(overlap), 2): index for index, overlap in enumerate(settings.iouThrs)}
    return [every.mean(0), every[at[0.5]], every[at[0.75]], small.mean(0), medium.mean(0), large.mean(0)]


def _category(matches: list[Any], counts: np.ndarray, settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean precision (overlaps, R) over recalls of one category and area, and its number of objects (R,)."""
    overlaps, resamples = len(settings.iouThrs), counts.shape[1]
    rows = [row for row, match in enumerate(matches) if match is not None]
    precision = np.zeros((overlaps, resamples))
    if not rows:
        return precision, np.zeros(resamples)
    kept = [matches[row] for row in rows]
    objects = np.array([np.count_nonzero(match["gtIgnore"] == 0) for match in kept]) @ counts[rows]
    most = settings.maxDets[-1]
    scores = np.concatenate([match["dtScores"][:most] for match in kept])
    order = np.argsort(-scores, kind="mergesort")
    weights = np.repeat(counts[rows], [len(match["dtScores"][:most]) for match in kept], axis=0)[order]
    hit = np.concatenate([match["dtMatches"][:, :most] for match in kept], 1)[:, order] > 0
    counted = ~np.concatenate([match["dtIgnore"][:, :most] for match in kept], 1)[:, order].astype(bool)
    for overlap in range(overlaps):
        true, false = hit[overlap] & counted[overlap], ~hit[overlap] & counted[overlap]
        precision[overlap] = _mean_precision(true, false, weights, objects, settings.recThrs)
    return np.where(objects > 0, precision, 0.0), objects


def _mean_precision(
    true: np.ndarray, false: np.ndarray, weights: np.ndarray, objects: np.ndarray, recalls: np.ndarray
) -> np.ndarray:
    """Mean over `recalls` of the interpolated precision (R,); recall only grows at true positives, so they suffice."""
    rows = np.flatnonzero(true)
    if not rows.size:
        return np.zeros(weights.shape[1])
    hits = np.cumsum(weights[rows], 0)
    misses = np.cumsum(weights * false[:, None], 0)[rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(hits / (hits + misses + np.spacing(1)))
        recall = np.nan_to_num(hits / objects)
    best = np.maximum.accumulate(precision[::-1], 0)[::-1]
    best = np.concatenate([best, np.zeros((1, best.shape[1]))])  # recalls that are never reached
    reached = (recall[:, None, :] < recalls[None, :, None]).sum(0)
    return np.take_along_axis(best, reached, 0).mean(0)
