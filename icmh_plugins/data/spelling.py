"""How data on disk is written in one string; nothing heavy is imported, so that commands can look for the files."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from icmh_plugins.errors import DataError

Kind = Literal["folder", "table", "coco", "coco-masks"]

_COCO: Final[dict[str, Kind]] = {"coco": "coco", "coco-masks": "coco-masks"}


def split_source(source: str | Path) -> tuple[Kind, tuple[Path, ...]]:
    """What kind of data a string names, and the files and folders it consists of (whether they exist or not).

    Args:
        source: ``labels.csv``, ``coco:IMAGES_FOLDER,ANNOTATIONS.json`` (boxes), ``coco-masks:...`` (boxes and masks),
            and anything else is a folder of pictures.

    Raises:
        DataError: COCO data without its two parts.
    """
    prefix, _, rest = str(source).partition(":")
    if prefix in _COCO:
        folder, _, annotations = rest.rpartition(",")
        if not (folder and annotations):
            raise DataError(f"{str(source)!r} lacks a part; write {prefix}:IMAGES_FOLDER,ANNOTATIONS.json")
        return _COCO[prefix], (Path(folder), Path(annotations))
    path = Path(source)
    return "table" if path.suffix.lower() == ".csv" else "folder", (path,)
