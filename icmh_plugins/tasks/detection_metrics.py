"""COCO's average precision, with what paired intervals need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from icmh_plugins.data.pycocotools import IouType, matched, run_lengths, summary
from icmh_plugins.errors import DataError
from icmh_plugins.tasks.average_precision import resampled
from icmh_plugins.tasks.base import Batch

NAMES: Final = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_PREFIX: Final = {"bbox": "box-", "segm": "mask-"}


class CocoAP:
    """Average precision of boxes or masks, in [0, 1], exactly as pycocotools' COCOeval gives it.

    "AP" is the mean over the overlaps 0.50 to 0.95 and over categories, "AP50" and "AP75" at one overlap, "APs", "APm",
    "APl" of small, medium and large objects; names begin with "box-" or "mask-". NaN where there are no objects.
    """

    def __init__(self, iou_type: IouType = "bbox", categories: Sequence[int] | None = None) -> None:
        """An empty accumulator.

        Args:
            iou_type: Compare boxes or masks.
            categories: Category ids that predictions may have; None takes all that occur.
        """
        self.iou_type, self.categories = iou_type, None if categories is None else sorted(categories)
        self._images: list[dict[str, Any]] = []
        self._last = 0

    def update(self, prediction: Sequence[Mapping[str, Any]], batch: Batch) -> None:
        """Add pictures.

        Args:
            prediction: For each "boxes" (n, 4) xyxy pixels, "labels" (n,) of category ids, "scores" (n,) and for masks
                "masks" (n, H, W) bool.
            batch: "target": for each "boxes", "labels", and where known "iscrowd", "area"; "masks" for masks.

        Raises:
            DataError: No annotations or masks, or a category that is not among `categories`.
        """
        targets = batch.get("target")
        if targets is None:
            raise DataError("average precision needs annotated pictures, and the data has none")
        added = [self._image(p, t, batch, i) for i, (p, t) in enumerate(zip(prediction, targets, strict=True))]
        self._images += added
        self._last = len(added)

    def compute(self, indices: Sequence[int] | None = None) -> dict[str, float]:
        """Values by name over all pictures, or over those at `indices`."""
        images = self._images if indices is None else [self._images[index] for index in indices]
        return self._named(summary(matched(images, self._categories(), self.iou_type)))

    def resample(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Values (R,) by name on resamples, from one matching; see `SetMetric`."""
        return self._named(resampled(matched(self._images, self._categories(), self.iou_type), counts))

    def scores(self) -> dict[str, np.ndarray]:
        """Nothing: average precision is no mean over pictures."""
        return {}

    def evidence(self) -> list[dict[str, Any]]:
        """The pictures of the last update, ready for JSON."""
        return self._images[len(self._images) - self._last :]

    def restore(self, evidence: Sequence[Mapping[str, Any]]) -> None:
        """Add what `evidence` gave."""
        self._images += [dict(image) for image in evidence]
        self._last = len(evidence)

    def reset(self) -> None:
        """Forget everything."""
        self._images, self._last = [], 0

    def _image(self, found: Mapping[str, Any], target: Mapping[str, Any], batch: Batch, index: int) -> dict[str, Any]:
        unknown = set(found["labels"].tolist()) - set(self.categories or found["labels"].tolist())
        if unknown:
            raise DataError(f"the detector gives the categories {sorted(unknown)}, which the annotations do not have")
        masks = self.iou_type == "segm"
        if masks and not ("masks" in target and "masks" in found):
            raise DataError("average precision of masks needs masks on both sides; open annotations with masks=True")
        truths = list(_entries(target, masks))
        for entry, crowd, area in zip(truths, *_crowds_and_areas(target), strict=True):
            entry |= {"iscrowd": int(crowd), "area": float(area)}
        detections = list(_entries(found, masks))
        for entry, score in zip(detections, found["scores"].tolist(), strict=True):
            entry["score"] = score
        return {"size": list(batch["image"][index].shape[-2:]), "truths": truths, "detections": detections}

    def _categories(self) -> list[int]:
        if self.categories is not None:
            return self.categories
        sides = ("truths", "detections")
        return sorted({e["category_id"] for image in self._images for side in sides for e in image[side]})

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        return {_PREFIX[self.iou_type] + name: value for name, value in zip(NAMES, values, strict=True)}


def _entries(objects: Mapping[str, Any], masks: bool) -> Iterator[dict[str, Any]]:
    boxes = objects["boxes"].reshape(-1, 4).double()
    sides = boxes[:, 2:] - boxes[:, :2]
    for index, (corner, side) in enumerate(zip(boxes[:, :2].tolist(), sides.tolist(), strict=True)):
        entry = {"category_id": int(objects["labels"][index]), "bbox": corner + side}
        yield entry | ({"segmentation": run_lengths(objects["masks"][index])} if masks else {})


def _crowds_and_areas(target: Mapping[str, Any]) -> tuple[list[bool], list[float]]:
    boxes = target["boxes"].reshape(-1, 4)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return target.get("iscrowd", areas < 0).tolist(), target.get("area", areas).tolist()
