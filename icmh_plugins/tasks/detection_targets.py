"""Annotations of pictures on their way into a detector's loss: which count, their labels, their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from icmh_plugins.errors import DataError
from icmh_plugins.tasks.base import Batch


def annotations(batch: Batch) -> Sequence[Mapping[str, Any]]:
    """The targets of a batch, a dict each.

    Raises:
        DataError: There are none, or they are not boxes.
    """
    targets = batch.get("target")
    if targets is None:
        raise DataError("this needs annotated pictures, and the data has none; use loss='features', or CocoImages")
    if not all(isinstance(target, Mapping) and {"boxes", "labels"} <= target.keys() for target in targets):
        raise DataError(
            "targets of detection are dicts with 'boxes' and 'labels', as `data.coco.CocoImages` gives them"
        )
    return targets


def training_target(
    target: Mapping[str, Any], categories: Sequence[int], masks: bool, device: torch.device
) -> dict[str, Tensor]:
    """What of one picture's annotations a detector learns from: no crowds, and no boxes without area.

    Args:
        target: "boxes" (n, 4) xyxy, "labels" (n,) of COCO category ids, perhaps "iscrowd" (n,), "masks" (n, H, W).
        categories: Category id of each label of the detector.
        masks: Whether masks are needed.
        device: Where the result shall be.

    Raises:
        DataError: A category that the detector does not know, or no masks where they are needed.
    """
    boxes = target["boxes"].reshape(-1, 4).float()
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    if "iscrowd" in target:
        kept &= ~target["iscrowd"].bool().to(kept.device)
    result = {"boxes": boxes[kept], "labels": labels_of(target["labels"][kept], categories)}
    if masks:
        if "masks" not in target:
            raise DataError(
                "this detector's loss needs masks; open the annotations with masks=True, or as coco-masks:..."
            )
        result["masks"] = target["masks"][kept].bool()
    return {name: value.to(device) for name, value in result.items()}


def labels_of(ids: Tensor, categories: Sequence[int]) -> Tensor:
    """The network's labels (n,) of COCO category ids (n,).

    Raises:
        DataError: An id that is not among `categories`.
    """
    labels = {category: label for label, category in enumerate(categories) if category}
    unknown = sorted(set(ids.tolist()) - labels.keys())
    if unknown:
        raise DataError(f"the detector does not know the categories {unknown}; {REMEDY}")
    return torch.tensor([labels[each] for each in ids.tolist()], dtype=torch.int64)


REMEDY = "say with categories=(...) which id each of its labels has, take them out of the data, or use loss='features'"


def ids_of(labels: Tensor, categories: Sequence[int]) -> Tensor:
    """COCO category ids (n,) of the network's labels (n,); 0 where a label means no category."""
    table = torch.tensor(categories, dtype=torch.int64, device=labels.device)
    known = (labels >= 0) & (labels < len(table))
    return torch.where(known, table[labels.clamp(0, len(table) - 1)], 0)
