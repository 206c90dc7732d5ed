"""Pictures with the objects in them, from a folder and an annotation file in COCO's format."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from icmh_plugins.data import pycocotools
from icmh_plugins.data.coco_checks import CocoFile, Record, read_coco
from icmh_plugins.data.coco_objects import reaches_out, target_of, with_area
from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.images import UNREADABLE, image_size, read_image
from icmh_plugins.data.mistakes import refuse_mistakes
from icmh_plugins.errors import ConfigError, DataError

_LOGGER = logging.getLogger(__name__)


class CocoImages(Dataset[Sample]):
    """Pictures with boxes and, where wanted, masks.

    A sample is ``{"image": (3, H, W) in [0, 1], "name": file name, "target": ...}``; grey pictures become RGB. The
    target has "image_id" (int) and of the n objects in the order of the file: "boxes" (n, 4) float32, x1 y1 x2 y2 in
    pixels; "labels" (n,) int64, COCO's category ids; "iscrowd" (n,) bool; "area" (n,) float32 as in the file; and with
    ``masks=True`` "masks" (n, H, W) bool. Pictures without objects are kept, and so are crowds.

    Attributes:
        categories: Names by id, of the whole file.
        used_categories: Names by id, of the objects in the pictures taken; crowds do not count.
        fingerprint: Changes with the annotations, with the pictures taken, their order and sizes in bytes, and `masks`.
    """

    def __init__(
        self,
        folder: str | Path,
        annotations: str | Path,
        *,
        masks: bool = False,
        rows: slice | Sequence[int] | None = None,
    ) -> None:
        """Read the annotations and check all of them, and the header of every picture taken.

        Boxes are clipped to their pictures; those without area there are left out; a warning counts both.

        Args:
            folder: That the file names of the annotations are relative to.
            annotations: JSON in COCO's format for instances.
            masks: Decode polygons and run-length encodings (needs pycocotools).
            rows: The images to take, by their position in the file; None takes all.

        Raises:
            ConfigError: `rows` is neither a slice nor integers.
            DataError: The annotations cannot be used (see `read_coco`), or pictures are missing, damaged or of
                another size than the annotations say.
            MissingDependencyError: `masks` without pycocotools.
        """
        if masks:
            pycocotools.ensure_installed()
        self.folder, self.masks = Path(folder), masks
        path = Path(annotations)
        content = read_coco(path, masks)
        self.categories = dict(content.categories)
        self._images = _chosen(content.images, rows, path)
        _check_pictures(self.folder, self._images, path)
        self._objects = [with_area(image, content.annotations.get(image["id"], ())) for image in self._images]
        used = {each["category_id"] for objects in self._objects for each in objects if not each.get("iscrowd", 0)}
        self.used_categories = {key: name for key, name in self.categories.items() if key in used}
        self.fingerprint = self._fingerprint(path)
        self._warn(path, content)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image = self._images[index]
        picture = read_image(self.folder / image["file_name"])
        return {
            "image": picture,
            "name": image["file_name"],
            "target": target_of(image, self._objects[index], self.masks),
        }

    def _fingerprint(self, path: Path) -> str:
        """A SHA-256 that does not depend on where the files lie."""
        sizes = [[name := image["file_name"], (self.folder / name).stat().st_size] for image in self._images]
        facts = [hashlib.sha256(path.read_bytes()).hexdigest(), sizes, self.masks]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _warn(self, path: Path, content: CocoFile) -> None:
        """Say how many boxes were changed."""
        pairs = list(zip(self._images, self._objects, strict=True))
        clipped = sum(reaches_out(image, each) for image, objects in pairs for each in objects)
        dropped = sum(len(content.annotations.get(image["id"], ())) - len(objects) for image, objects in pairs)
        if clipped or dropped:
            _LOGGER.warning(
                "%s: %d boxes reach out of their images and were clipped; %d have no area there and were left out",
                path, clipped, dropped,
            )  # fmt: skip


def _chosen(images: Sequence[Record], rows: slice | Sequence[int] | None, path: Path) -> list[Record]:
    if rows is None or isinstance(rows, slice):
        chosen = list(images[rows or slice(None)])
    elif not (isinstance(rows, Sequence | np.ndarray) and all(map(_is_row, rows))):
        raise ConfigError(f"rows must be a slice or positions as integers, such as range(100), got {rows!r:.60}")
    else:
        outside = [row for row in rows if not -len(images) <= row < len(images)]
        if outside:
            raise DataError(f"{str(path)!r} lists {len(images)} images; there are no rows {outside[:3]}")
        chosen = [images[row] for row in rows]
    if not chosen:
        raise DataError(f"{str(path)!r} has no images to take (it lists {len(images)}, rows={rows}); check both")
    return chosen


def _is_row(row: object) -> bool:
    return isinstance(row, Integral) and not isinstance(row, bool)


def _check_pictures(folder: Path, images: Sequence[Record], path: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"there is no folder {str(folder)!r}; check the path")
    missing, damaged, resized = [], [], []
    for image in images:
        name, stated = image["file_name"], (image["height"], image["width"])
        if not (folder / name).is_file():
            missing.append(name)
            continue
        try:
            size = image_size(folder / name)
        except UNREADABLE as error:
            damaged.append(f"{name}: {error}")
            continue
        if size != stated:
            resized.append(f"{name} is {size[1]}x{size[0]}, not {stated[1]}x{stated[0]}")
    mistakes = {
        "images that do not exist": missing,
        "images that cannot be read": damaged,
        "images of another size than it says": resized,
    }
    refuse_mistakes(path, mistakes, f"check that {str(folder)!r} is their folder, or mend either")
