"""Where the code blocks of the documentation run: a folder with a few pictures, little work, no network."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import icmh_plugins as icmh
from icmh_plugins.codecs.loading import shipped_codecs
from icmh_plugins.registry import catalog

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {"steps": 2, "batch_size": 2, "crop": 64}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A working folder with ``photo.png``, ``photos/``, ``photos.csv`` and ``photos.json``, for the documentation.

    `icmh.fit` is cut down to two small steps, and timm gives random weights instead of downloading trained ones.
    Plug-ins and modules that come from this folder, or from an example, are gone afterwards.
    """
    if not shipped_codecs():
        pytest.skip("the shipped base codecs are not in this checkout")
    timm = pytest.importorskip("timm")
    _write_pictures(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(timm, "create_model", _untrained(timm.create_model))
    monkeypatch.setattr(icmh, "fit", _quick(icmh.fit))
    torch.manual_seed(0)
    yield tmp_path
    for name in [name for name, module in sys.modules.items() if _lies_in((tmp_path, EXAMPLES), module)]:
        del sys.modules[name]
    catalog.reload()


def _lies_in(folders, module):
    return str(getattr(module, "__file__", None)).startswith(tuple(map(str, folders)))


def _write_pictures(folder):
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for path in (folder / "photo.png", *(folder / "photos" / f"{number}.png" for number in range(3))):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        coarse.resize((224, 176), Image.Resampling.BICUBIC).save(path)
    rows = "".join(f"photos/{number}.png,{number}\n" for number in range(3))
    (folder / "photos.csv").write_text(f"file,label\n{rows}")
    (folder / "photos.json").write_text(json.dumps(_annotations()))


def _annotations():
    """COCO's form of one object in each picture."""
    box, polygon = [20, 30, 100, 80], [[20, 30, 120, 30, 120, 110, 20, 110]]
    numbered = [{"id": i, "file_name": f"{i}.png", "height": 176, "width": 224} for i in range(3)]
    objects = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": box, "area": 8000, "iscrowd": 0, "segmentation": polygon}
        for i in range(3)
    ]
    return {"images": numbered, "annotations": objects, "categories": [{"id": 1, "name": "person"}]}


def _untrained(create):
    return lambda name, pretrained=False, **options: create(name, pretrained=False, **options)


def _quick(fit):
    @functools.wraps(fit)
    def quick(*arguments, **options):
        return fit(*arguments, **{**options, **SMALL, "progress": False})

    return quick
