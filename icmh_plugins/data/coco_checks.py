"""COCO's annotation files: read, and checked as a whole before anything is trained or measured on them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from icmh_plugins.data.mistakes import refuse_mistakes
from icmh_plugins.data.segmentations import is_number, segmentation_mistake
from icmh_plugins.errors import DataError

Record = Mapping[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """A checked annotation file.

    Attributes:
        images: In the order of the file.
        annotations: Of each image that has any, by its id.
        categories: Names by id.
    """

    images: Sequence[Record]
    annotations: Mapping[int, Sequence[Record]]
    categories: Mapping[int, str]


def read_coco(path: Path, masks: bool = False) -> CocoFile:
    """Read an annotation file.

    Args:
        path: JSON in COCO's format for instances.
        masks: Whether each annotation must have a segmentation that can be decoded.

    Raises:
        DataError: The file is missing or no JSON (with the line), or has entries with missing or unusable keys, ids
            twice, annotations of unknown images or categories, or, with `masks`, unusable segmentations.
    """
    content = _load(path)
    refuse_mistakes(
        path,
        {f"{key} with keys missing or unusable": _faulty(content[key], keys) for key, keys in _KEYS.items()},
        "mend the file, or export it in COCO's format again",
    )
    images = {image["id"]: image for image in content["images"]}
    categories = {category["id"]: category["name"] for category in content["categories"]}
    named = list(enumerate(content["annotations"]))
    refuse_mistakes(
        path,
        {
            "ids of images given twice": _twice(content["images"]),
            "ids of categories given twice": _twice(content["categories"]),
            "annotations of images that are not listed": _unknown(named, "image_id", images),
            "annotations of categories that are not listed": _unknown(named, "category_id", categories),
        },
        "mend the file; a subset of a data set needs its images and categories listed and only their annotations",
    )
    if masks:
        mistakes = [(i, _segmentation_mistake(each, images[each["image_id"]])) for i, each in named]
        refuse_mistakes(
            path,
            {"annotations whose masks cannot be used": [f"annotation {i} {what}" for i, what in mistakes if what]},
            "mend the file, or do without masks",
        )
    annotations: dict[int, list[Record]] = {}
    for _, each in named:
        annotations.setdefault(each["image_id"], []).append(each)
    return CocoFile(content["images"], annotations, categories)


def _load(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        raise DataError(f"there is no annotation file {str(path)!r}; check the path")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{str(path)!r} is damaged at {where} ({error.msg}); download or export it again") from error
    except (ValueError, RecursionError) as error:  # another encoding, or a number of thousands of digits
        raise DataError(f"{str(path)!r} is no JSON text ({error}); download or export it again") from error
    if isinstance(content, list):
        raise DataError(
            f"{str(path)!r} is a list, as of detections; give the annotations, with 'images' and categories"
        )
    missing = [key for key in _KEYS if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise DataError(f"{str(path)!r} has no list {', '.join(map(repr, missing))}; give a COCO file for instances")
    return content


def _faulty(entries: Sequence[Any], keys: Mapping[str, Callable[[Any], bool]]) -> list[str]:
    """Which entries lack a key, or have a value there that does not fit."""
    return [fault for i, entry in enumerate(entries) if (fault := _fault(i, entry, keys))]


def _fault(index: int, entry: Any, keys: Mapping[str, Callable[[Any], bool]]) -> str:
    if not isinstance(entry, dict):
        return f"number {index} is {entry!r:.40}"
    for key, fits in keys.items():
        if key not in entry and key not in _OPTIONAL:
            return f"number {index} has no {key!r}"
        if key in entry and not fits(entry[key]):
            return f"number {index} has {key} {entry[key]!r:.60}"
    return ""


def _twice(entries: Sequence[Record]) -> list[str]:
    return [str(key) for key, times in Counter(entry["id"] for entry in entries).items() if times > 1]


def _unknown(named: Sequence[tuple[int, Record]], key: str, known: Mapping[int, Any]) -> list[str]:
    return [f"number {i} of {each[key]}" for i, each in named if each[key] not in known]


def _segmentation_mistake(annotation: Record, image: Record) -> str:
    if "segmentation" not in annotation:
        return "has no 'segmentation'"
    return segmentation_mistake(annotation["segmentation"], image["height"], image["width"])


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63  # as tensors hold it


def _is_side(value: Any) -> bool:
    return _is_integer(value) and value > 0


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def _is_area(value: Any) -> bool:
    return is_number(value) and value >= 0


def _is_flag(value: Any) -> bool:
    return value in (0, 1)


_OPTIONAL: Final = ("iscrowd",)

_KEYS: Final[dict[str, dict[str, Callable[[Any], bool]]]] = {
    "images": {"id": _is_integer, "file_name": _is_name, "height": _is_side, "width": _is_side},
    "categories": {"id": _is_integer, "name": _is_name},
    "annotations": {
        "image_id": _is_integer,
        "category_id": _is_integer,
        "bbox": _is_box,
        "area": _is_area,
        "iscrowd": _is_flag,
    },
}
