"""COCO's average precision on resampled pictures, without matching again.

COCOeval matches detections with truths picture by picture; only the accumulation knows how often a picture stands in
the set. So here that accumulation is done with weights, for many resamples at once. On repeated pictures it gives what
COCOeval gives, up to the order of detections of equal score within a picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_CHUNK = 128  # resamples at a time: bounds memory


def resampled(evaluation: Any, counts: np.ndarray) -> list[np.ndarray]:
    """AP, AP50, AP75, APs, APm, APl, each (R,), in [0, 1]; NaN where a resample has no objects.

    Args:
        evaluation: A COCOeval after `evaluate`.
        counts: (N, R), how often each picture, in the order of its id, stands in each resample.
    """
    starts = range(0, counts.shape[1], _CHUNK)
    parts = [_chunk(evaluation, counts[:, start : start + _CHUNK].astype(float)) for start in starts]
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
    precision, objects = np.zeros((overlaps, resamples)), np.zeros(resamples)
    kept = [matches[row] for row in rows]
    if rows:
        objects = np.array([np.count_nonzero(match["gtIgnore"] == 0) for match in kept]) @ counts[rows]
    if not objects.any():
        return precision, objects
    order = np.argsort(-np.concatenate([match["dtScores"] for match in kept]), kind="mergesort")
    weights = counts[np.repeat(rows, [len(match["dtScores"]) for match in kept])[order]]
    hit = np.concatenate([match["dtMatches"] for match in kept], 1)[:, order] > 0
    counted = ~np.concatenate([match["dtIgnore"] for match in kept], 1)[:, order].astype(bool)
    for overlap in range(overlaps):
        taken = counted[overlap]
        precision[overlap] = _mean_precision(hit[overlap, taken], weights[taken], objects, settings.recThrs)
    return np.where(objects > 0, precision, 0.0), objects


def _mean_precision(hit: np.ndarray, weights: np.ndarray, objects: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Mean over `recalls` of the interpolated precision (R,).

    Recall grows at hits only: each answers for the recalls that it is the first to reach, with the best precision from
    there on.

    Args:
        hit: (D,) by falling score, which of the detections that count found an object.
        weights: (D, R), how often each stands in each resample.
        objects: (R,).
        recalls: (101,).
    """
    rows = np.flatnonzero(hit)
    if not rows.size:
        return np.zeros(len(objects))
    found = weights[rows].cumsum(0)
    seen = weights[: rows[-1] + 1].cumsum(0)[rows]
    best = np.maximum.accumulate((found / (seen + np.spacing(1)))[::-1])[::-1]
    recall = np.divide(found, objects, out=np.zeros_like(found), where=objects > 0)
    reached = recalls.searchsorted(recall, side="right")
    return (np.diff(reached, axis=0, prepend=0) * best).sum(0) / len(recalls)
