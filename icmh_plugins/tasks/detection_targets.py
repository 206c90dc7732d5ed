"""Annotations of pictures on their way into a detector's loss: which count, their labels, their size."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from icmh_plugins.data.boxes import has_boxes, target_mistake
from icmh_plugins.data.nested import within
from icmh_plugins.errors import DataError
from icmh_plugins.tasks.base import Batch

_LOGGER = logging.getLogger(__name__)
_SOURCE: Final = "give coco:FOLDER,ANNOTATIONS.json"


def annotations(batch: Batch, masks: bool) -> Sequence[Mapping[str, Any]]:
    """The targets of a batch, a dict each.

    Raises:
        DataError: There are none, or of another form; see `check_target`.
    """
    targets = batch.get("target")
    if targets is None:
        raise DataError(f"this needs annotated pictures, and the data has none; {_SOURCE}, or use loss='features'")
    for index, target in enumerate(targets):
        check_target(target, f"picture {index} of the batch", masks)
    return targets


def check_target(target: Any, picture: str, masks: bool) -> None:
    """Refuse a target that is not of the form that `data.coco.CocoImages` gives.

    Args:
        target: Of one picture.
        picture: What it is called in messages.
        masks: Whether masks are needed.

    Raises:
        DataError: It is none, without boxes or labels or needed masks, or they do not fit together.
    """
    if target is None:
        raise DataError(f"{picture} has no annotations; {_SOURCE}")
    if not (has_boxes(target) and "labels" in target):
        found = ", ".join(map(repr, target)) if isinstance(target, Mapping) else type(target).__name__
        raise DataError(
            f"targets of detection are dicts with 'boxes' and 'labels', that of {picture} is {found}; {_SOURCE}"
        )
    mistake = target_mistake(target)
    if not mistake and target["labels"].is_floating_point():
        mistake = f"labels must be integers, COCO's category ids, got {target['labels'].dtype}"
    if mistake:
        raise DataError(f"the target of {picture} cannot be used: {mistake}")
    if masks and "masks" not in target:
        raise DataError(
            f"{picture} has boxes without masks, which are needed here; open the annotations as coco-masks:..., or "
            "with masks=True"
        )


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
        DataError: A category that the detector does not know.
    """
    boxes = target["boxes"].reshape(-1, 4).float()
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    if "iscrowd" in target:
        kept &= ~target["iscrowd"].bool().to(kept.device)
    result = {"boxes": boxes[kept], "labels": labels_of(target["labels"][kept], categories)}
    if masks:
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
        raise DataError(f"the detector does not know the categories {unknown}; {_remedy(unknown)}")
    return torch.tensor([labels[each] for each in ids.tolist()], dtype=torch.int64)


def check_categories(dataset: Any, categories: Sequence[int]) -> None:
    """Refuse data with objects of categories that are not among those of a detector's labels.

    Raises:
        DataError: There are some; the message has their names.
    """
    names: dict[int, str] = {}
    for part in within(dataset, "used_categories", "categories"):
        names |= _declared(part)
    unknown = {key: name for key, name in names.items() if key not in categories or key == 0}
    if unknown:
        listed = ", ".join(f"{name} ({key})" for key, name in unknown.items())
        raise DataError(f"the detector does not know these categories of the data: {listed}; {_remedy(unknown)}")


def _declared(dataset: Any) -> Mapping[int, str]:
    """Names by id of the categories that a dataset says its objects have, or else may have."""
    declared = getattr(dataset, "used_categories", getattr(dataset, "categories", None))
    if isinstance(declared, Mapping):
        return declared
    _LOGGER.warning(
        "%s has no 'categories' (names by id): whether the detector knows them is checked in the first picture only",
        type(dataset).__name__,
    )
    return {}


def _remedy(unknown: Collection[int]) -> str:
    if min(unknown) <= 0:
        return "ids of categories must be positive: add 1 to all of them in the annotations"
    return (
        "say with categories=(...) which id each of its labels has, take them out of the data, or use loss='features'"
    )


def ids_of(labels: Tensor, categories: Sequence[int]) -> Tensor:
    """COCO category ids (n,) of the network's labels (n,); 0 where a label means no category."""
    table = torch.tensor(categories, dtype=torch.int64, device=labels.device)
    known = (labels >= 0) & (labels < len(table))
    return torch.where(known, table[labels.clamp(0, len(table) - 1)], 0)
