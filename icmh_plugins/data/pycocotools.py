"""COCO's masks and scores: the only file that imports pycocotools, and keeps it silent."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from icmh_plugins._deps import require

IouType = Literal["bbox", "segm"]
Segmentation = Sequence[Sequence[float]] | Mapping[str, Any]
"""Polygons, or a run-length code ("size" and "counts", packed into text or as a list)."""


def ensure_installed() -> None:
    """Raise before work begins that needs masks or average precision.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    require("pycocotools.mask", "work with COCO's masks or average precision")


def decode(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    """A mask (H, W), bool; polygons of fewer than three points enclose nothing.

    pycocotools trusts what it gets: check the segmentation before (see `data.segmentations`).
    """
    tools = require("pycocotools.mask", "masks of COCO annotations")
    codes = segmentation
    if not isinstance(segmentation, Mapping):
        polygons = [list(map(float, part)) for part in segmentation if len(part) >= 6]
        if not polygons:
            return np.zeros((height, width), bool)
        codes = tools.merge(tools.frPyObjects(polygons, height, width))
    elif isinstance(segmentation["counts"], list):
        codes = tools.frPyObjects(dict(segmentation), height, width)
    return tools.decode(codes).astype(bool)


def run_lengths(mask: Tensor) -> dict[str, Any]:
    """The run-length code of a mask (H, W), ready for JSON."""
    tools = require("pycocotools.mask", "average precision of masks")
    code = tools.encode(np.asfortranarray(mask.cpu().numpy().astype(np.uint8)))
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}


def matched(images: Sequence[Mapping[str, Any]], categories: Sequence[int], iou_type: IouType) -> Any:
    """A COCOeval that has matched the detections of `images` with their truths.

    Args:
        images: For each "truths" and "detections" as in COCO's annotation and result files, without ids, and with masks
            run-length encoded.
        categories: The ids that count.
        iou_type: Boxes or masks.
    """
    require("pycocotools", "COCO's average precision")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        sides = [COCO(), COCO()]
        for side, key in zip(sides, ("truths", "detections"), strict=True):
            side.dataset = {
                "images": [{"id": i, "height": 0, "width": 0} for i in range(1, len(images) + 1)],  # for polygons only
                "categories": [{"id": category} for category in categories],
                "annotations": _numbered(images, key, iou_type),
            }
            side.createIndex()
        evaluation = COCOeval(*sides, iou_type)
        evaluation.evaluate()
    return evaluation


def summary(evaluation: Any) -> list[float]:
    """AP, AP50, AP75, APs, APm, APl of a `matched` evaluation; NaN where nothing counts."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) if value >= 0 else float("nan") for value in evaluation.stats[:6]]


def _numbered(images: Sequence[Mapping[str, Any]], key: str, iou_type: IouType) -> list[dict[str, Any]]:
    """All annotations of one side, with ids; a detection's area is that of what is compared, as COCO has it."""
    entries = [{**entry, "image_id": i} for i, image in enumerate(images, 1) for entry in image[key]]
    tools = require("pycocotools.mask", "average precision of masks") if iou_type == "segm" else None
    for number, entry in enumerate(entries, 1):
        entry["id"] = number
        if key == "detections":
            box = entry["bbox"]
            entry |= {"iscrowd": 0, "area": float(tools.area(entry["segmentation"])) if tools else box[2] * box[3]}
    return entries
