from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SQUARE = [[4, 2, 12, 2, 12, 10, 4, 10]]  # around columns 4 to 11 and rows 2 to 9


def annotation(image: int, category: int, box: list[float], segmentation: Any, **more: Any) -> dict[str, Any]:
    found = {"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3]}
    return {**found, "segmentation": segmentation, **more}


@pytest.fixture
def coco() -> dict[str, Any]:
    """COCO annotations of three pictures, 24 wide and 16 high: two objects and a crowd, none, and one object."""
    sizes = {"height": 16, "width": 24}
    top_row = {"size": [16, 24], "counts": [0, *[1, 15] * 24]}
    return {
        "images": [
            {"id": 7, "file_name": "a.png", **sizes},
            {"id": 3, "file_name": "b.png", **sizes},
            {"id": 5, "file_name": "sub/c.png", **sizes},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [
            annotation(7, 18, [4, 2, 8, 8], SQUARE),
            annotation(7, 1, [0, 0, 24, 1], top_row, iscrowd=1),
            annotation(5, 1, [10.5, 3.25, 6, 10], [[10.5, 3.25, 16.5, 3.25, 16.5, 13.25, 10.5, 13.25]]),
            annotation(7, 1, [0, 8, 4, 8], [[0, 8, 4, 8, 4, 16, 0, 16]]),
        ],
    }


@pytest.fixture
def files(tmp_path):
    """Writes annotations, and pictures (the second is grey); gives the pictures' folder and the annotation file."""

    def write(content: Any) -> tuple[Path, Path]:
        pictures, table = tmp_path / "pictures", tmp_path / "instances.json"
        for index, name in enumerate(("a.png", "b.png", "sub/c.png")):
            (pictures / name).parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, 256, (16, 24, 3), np.uint8)
            Image.fromarray(pixels[..., 0] if index == 1 else pixels).save(pictures / name)
        table.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return pictures, table

    return write
