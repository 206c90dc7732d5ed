"""COCO's average precision, with what paired intervals need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch

from icmh_plugins.data.pycocotools import IouType, ensure_installed, matched, run_lengths, summary
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks.average_precision import resampled
from icmh_plugins.tasks.base import Batch
from icmh_plugins.tasks.detection_targets import check_target

NAMES: Final = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_PREFIX: Final = {"bbox": "box-", "segm": "mask-"}


class CocoAP:
    """Average precision of boxes or masks, in [0, 1], exactly as pycocotools' COCOeval gives it.

    "AP" is the mean over the overlaps 0.50 to 0.95 and over categories, "AP50" and "AP75" at one overlap, "APs", "APm",
    "APl" of small, medium and large objects; names begin with "box-" or "mask-". NaN where there are no objects.
    Pictures are taken in the order of their ids, which decides between detections of equal score.
    """

    def __init__(self, iou_type: IouType = "bbox") -> None:
        """An empty accumulator.

        Args:
            iou_type: Compare boxes or masks.

        Raises:
            ConfigError: Another `iou_type`.
            MissingDependencyError: pycocotools is not installed.
        """
        ensure_installed()
        if iou_type not in _PREFIX:
            raise ConfigError(f"CocoAP compares 'bbox' or 'segm', got {iou_type!r}")
        self.iou_type = iou_type
        self.reset()

    def update(self, prediction: Sequence[Mapping[str, Any]], batch: Batch) -> None:
        """Add pictures.

        Args:
            prediction: For each "boxes" (n, 4) xyxy pixels, "labels" (n,) of category ids, "scores" (n,) and for masks
                "masks" (n, H, W) bool.
            batch: "target": for each "boxes", "labels", and where known "image_id", "iscrowd", "area"; "masks" for
                masks.

        Raises:
            DataError: No annotations, of another form (see `check_target`) or of another number of pictures;
                predictions that are not finite; masks missing or of another size than the annotated ones.
        """
        targets = batch.get("target")
        if targets is None or len(targets) != len(prediction):
            found = "no annotations" if targets is None else f"annotations of {len(targets)} pictures"
            raise DataError(f"average precision needs annotated pictures: {found} for {len(prediction)} predictions")
        added: list[dict[str, Any]] = []
        for found, target in zip(prediction, targets, strict=True):
            number = len(self._images) + len(added)
            image_id = int(target.get("image_id", number)) if isinstance(target, Mapping) else number
            check_target(target, f"image {image_id}", self.iou_type == "segm")
            added.append({"image_id": image_id, **self._image(found, target, image_id)})
        self.restore(added)

    def compute(self, indices: Sequence[int] | None = None) -> dict[str, float]:
        """Values by name over all pictures, or over those at `indices`."""
        if indices is None:
            return self._named(summary(self._evaluation()))
        images = sorted((self._images[index] for index in indices), key=_id)
        return self._named(summary(matched(images, self._categories(), self.iou_type)))

    def resample(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Values (R,) by name on resamples, from one matching; see `SetMetric`."""
        order = sorted(range(len(self._images)), key=lambda row: _id(self._images[row]))
        return self._named(resampled(self._evaluation(), counts[order]))

    def scores(self) -> dict[str, np.ndarray]:
        """Nothing: average precision is no mean over pictures."""
        return {}

    def evidence(self) -> list[dict[str, Any]]:
        """The pictures of the last update, ready for JSON: "truths" and "detections" as in COCO's files."""
        return self._images[len(self._images) - self._last :]

    def restore(self, evidence: Sequence[Mapping[str, Any]]) -> None:
        """Add what `evidence` gave."""
        self._images += [dict(image) for image in evidence]
        self._last, self._matched = len(evidence), None

    def reset(self) -> None:
        """Forget everything."""
        self._images: list[dict[str, Any]] = []
        self._last = 0
        self._matched: Any = None

    def _evaluation(self) -> Any:
        """The COCOeval of all pictures, matched once."""
        if self._matched is None:
            self._matched = matched(sorted(self._images, key=_id), self._categories(), self.iou_type)
        return self._matched

    def _image(self, found: Mapping[str, Any], target: Mapping[str, Any], image_id: int) -> dict[str, Any]:
        masks = self.iou_type == "segm"
        _check_finite(found, image_id)
        if masks:
            _check_masks(found, target, image_id)
        truths = list(_entries(target, masks))
        for entry, crowd, area in zip(truths, *_crowds_and_areas(target), strict=True):
            entry |= {"iscrowd": int(crowd), "area": float(area)}
        detections = list(_entries(found, masks))
        for entry, score in zip(detections, found["scores"].tolist(), strict=True):
            entry["score"] = score
        return {"truths": truths, "detections": detections}

    def _categories(self) -> list[int]:
        sides = ("truths", "detections")
        return sorted({e["category_id"] for image in self._images for side in sides for e in image[side]})

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(metric_names(self.iou_type), values, strict=True))


def metric_names(iou_type: IouType) -> tuple[str, ...]:
    """What `CocoAP` gives for boxes or masks: "box-AP" or "mask-AP" and their kin."""
    return tuple(_PREFIX[iou_type] + name for name in NAMES)


def _id(image: Mapping[str, Any]) -> int:
    return image["image_id"]


def _check_finite(found: Mapping[str, Any], image_id: int) -> None:
    for name in ("boxes", "scores"):
        if not torch.isfinite(found[name]).all():
            raise DataError(f"image {image_id}: {name} of detections are NaN or infinite; check the decoded picture")


def _check_masks(found: Mapping[str, Any], target: Mapping[str, Any], image_id: int) -> None:
    if "masks" not in found:
        raise DataError(f"image {image_id}: average precision of masks needs predictions with masks")
    sizes = [tuple(side["masks"].shape[1:]) for side in (found, target)]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"image {image_id}: masks of detections are {sizes[0]}, those of annotations {sizes[1]}; "
            "resize them to the annotated picture"
        )


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
