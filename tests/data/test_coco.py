from __future__ import annotations

import logging
import pickle
import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset

from icmh_plugins.data import pycocotools
from icmh_plugins.data.coco import CocoImages
from icmh_plugins.data.datasets import LabelledImages
from icmh_plugins.data.images import read_image
from icmh_plugins.data.nested import fingerprint
from icmh_plugins.data.sources import Wrapped, collate, open_data
from icmh_plugins.data.spelling import split_source
from icmh_plugins.data.transforms import CenterCrop, CropBox, RandomCrop
from icmh_plugins.errors import DataError


def test_samples_have_pictures_boxes_and_what_belongs_to_them(coco, files):
    folder, table = files(coco)
    data = CocoImages(folder, table)
    assert [s["name"] for s in data] == ["a.png", "b.png", "sub/c.png"]
    assert data.categories == {1: "person", 18: "dog"}
    assert torch.equal(data[2]["image"], read_image(folder / "sub/c.png"))
    target = data[0]["target"]
    assert target["image_id"] == 7
    assert target["boxes"].tolist() == [[4, 2, 12, 10], [0, 0, 24, 1], [0, 8, 4, 16]]
    assert target["labels"].tolist() == [18, 1, 1]
    assert target["iscrowd"].tolist() == [False, True, False]
    assert target["area"].tolist() == [64, 24, 32]
    assert [target[k].dtype for k in ("boxes", "labels", "iscrowd", "area")] == [
        torch.float32, torch.int64, torch.bool, torch.float32
    ]  # fmt: skip
    assert "masks" not in target
    assert data[2]["target"]["boxes"].tolist() == [[10.5, 3.25, 16.5, 13.25]]


def test_masks_come_from_polygons_and_both_kinds_of_run_lengths(coco, files):
    tools = pytest.importorskip("pycocotools.mask")
    pixels = np.zeros((16, 24), np.uint8)
    pixels[5:9, 3:20] = 1
    packed = tools.encode(np.asfortranarray(pixels))
    code = {"size": [16, 24], "counts": packed["counts"].decode()}
    coco["annotations"][3] |= {"segmentation": code, "bbox": [3, 5, 17, 4], "iscrowd": 1}
    masks = CocoImages(*files(coco), masks=True)[0]["target"]["masks"]
    assert masks.shape == (3, 16, 24)
    assert masks.dtype == torch.bool
    expected = torch.zeros(3, 16, 24, dtype=torch.bool)
    expected[0, 2:10, 4:12] = expected[1, 0] = expected[2, 5:9, 3:20] = True
    assert torch.equal(masks, expected)


def test_parts_of_an_object_are_one_mask_and_lines_enclose_nothing(coco, files):
    coco["annotations"][2]["segmentation"] = [[0, 0, 2, 0, 2, 2, 0, 2], [4, 4, 6, 4, 6, 6, 4, 6], [1, 1, 9, 9]]
    coco["annotations"][0]["segmentation"] = [[1, 1, 9, 9]]
    data = CocoImages(*files(coco), masks=True)
    mask = data[2]["target"]["masks"][0]
    assert mask[:2, :2].all()
    assert mask[4:6, 4:6].all()
    assert mask.sum() == 8
    assert not data[0]["target"]["masks"][0].any()


def test_pictures_without_objects_are_kept_and_grey_ones_become_rgb(coco, files):
    sample = CocoImages(*files(coco), masks=True)[1]
    assert sample["image"].shape == (3, 16, 24)
    assert torch.equal(sample["image"][0], sample["image"][2])
    shapes = {k: tuple(v.shape) for k, v in sample["target"].items() if k != "image_id"}
    assert shapes == {"boxes": (0, 4), "labels": (0,), "iscrowd": (0,), "area": (0,), "masks": (0, 16, 24)}


def test_boxes_outside_are_clipped_and_empty_ones_dropped_with_one_warning(coco, files, caplog):
    boxes = [[-2, 3, 8, 40], [30, 2, 5, 5], [5, 5, 0, 4], [5, 5, 4, -4]]
    for each, box in zip(coco["annotations"], boxes, strict=True):
        each |= {"bbox": box, "image_id": 7}
    with caplog.at_level(logging.WARNING):
        data = CocoImages(*files(coco))
    assert len(caplog.records) == 1
    assert "1 boxes reach out of their images and were clipped; 3 have no area" in caplog.text
    assert data[0]["target"]["boxes"].tolist() == [[0, 3, 6, 16]]
    assert data[0]["target"]["labels"].tolist() == [18]


def test_rounding_is_not_reported(coco, files, caplog):
    coco["annotations"][0]["bbox"] = [20, 2, 4.005, 14.01]
    assert CocoImages(*files(coco))[0]["target"]["boxes"][0].tolist() == [20, 2, 24, 16]
    assert not caplog.records


def test_rows_are_taken_and_only_their_pictures_must_be_there(coco, files):
    folder, table = files(coco)
    (folder / "b.png").unlink()
    assert [s["name"] for s in CocoImages(folder, table, rows=slice(None, None, 2))] == ["a.png", "sub/c.png"]
    assert [s["name"] for s in CocoImages(folder, table, rows=[2, 0])] == ["sub/c.png", "a.png"]
    with pytest.raises(DataError, match=r"lists 3 images; there are no rows \[3\]"):
        CocoImages(folder, table, rows=[0, 3])
    with pytest.raises(DataError, match="no images to take"):
        CocoImages(folder, table, rows=slice(5, None))


def test_only_the_categories_of_objects_in_the_pictures_taken_are_used(coco, files):
    folder, table = files(coco)
    assert CocoImages(folder, table).used_categories == {1: "person", 18: "dog"}
    assert CocoImages(folder, table, rows=[2]).used_categories == {1: "person"}
    assert CocoImages(folder, table, rows=[1]).used_categories == {}
    coco["annotations"][0]["iscrowd"] = 1
    assert CocoImages(*files(coco)).used_categories == {1: "person"}


def test_a_fingerprint_says_which_data_it_is(coco, files, tmp_path):
    folder, table = files(coco)
    one = CocoImages(folder, table)
    prints = {one.fingerprint, CocoImages(folder, table, rows=[1, 0, 2]).fingerprint}
    prints |= {CocoImages(folder, table, masks=True).fingerprint, fingerprint(Subset(one, [1, 0]))}
    prints |= {fingerprint(Subset(one, [0, 1])), fingerprint(ConcatDataset([one, one]))}
    assert fingerprint(open_data(one, CenterCrop(8))) == fingerprint(open_data(Wrapped(one)))
    assert fingerprint(open_data([one[0]])) == ""
    moved = (tmp_path / "elsewhere").resolve()
    shutil.copytree(folder, moved)
    assert CocoImages(moved, table).fingerprint == one.fingerprint
    (moved / "a.png").write_bytes((folder / "sub/c.png").read_bytes() + b"!")
    prints.add(CocoImages(moved, table).fingerprint)
    coco["annotations"][0]["bbox"][2] += 1
    prints.add(CocoImages(*files(coco)).fingerprint)
    assert len(prints) == 8


def test_places_that_cannot_be_cropped_are_refused_with_the_picture(coco, files):
    sample = CocoImages(*files(coco))[0]
    data = open_data([{**sample, "target": {**sample["target"], "boxes": [[1, 1, 3, 3]]}}], CenterCrop(8))
    with pytest.raises(DataError, match=r"sample 'a.png' cannot be used: boxes must be a tensor \(n, 4\).*got list"):
        data[0]


def test_coco_data_is_opened_by_a_string(coco, files):
    folder, table = files(coco)
    data = open_data(f"coco:{folder},{table}")
    assert isinstance(data, CocoImages)
    assert not data.masks
    assert open_data(f"coco-masks:{folder},{table}").masks
    assert open_data(data) is data
    cropped = open_data(f"coco:{folder},{table}", CenterCrop(8))
    assert isinstance(cropped, Wrapped)
    assert cropped[0]["image"].shape == (3, 8, 8)


@pytest.mark.parametrize("source", ["coco:", "coco:folder", "coco-masks:,a.json", "coco:folder,"])
def test_a_string_without_both_parts_is_refused(source):
    with pytest.raises(DataError, match=r"IMAGES_FOLDER,ANNOTATIONS\.json"):
        open_data(source)


def test_strings_say_where_the_files_are(files, coco, tmp_path):
    kind, paths = split_source("coco:a,b/c,d.json")
    assert (kind, [str(p) for p in paths]) == ("coco", ["a,b/c", "d.json"])
    assert split_source("labels.CSV")[0] == "table"
    assert split_source("coco/images")[0] == "folder"
    files(coco)
    (tmp_path / "labels.csv").write_text("pictures/a.png,1\n")
    assert isinstance(open_data(tmp_path / "labels.csv"), LabelledImages)


def test_boxes_and_masks_are_cropped_with_their_picture(coco, files):
    data = CocoImages(*files(coco), masks=True)
    sample = open_data(data, CropBox(8, 0, 24, 8))[0]
    assert torch.equal(sample["image"], data[0]["image"][:, :8, 8:24])
    assert sample["target"]["boxes"].tolist() == [[0, 2, 4, 8], [0, 0, 16, 1]]
    assert sample["target"]["labels"].tolist() == [18, 1]
    assert sample["target"]["iscrowd"].tolist() == [False, True]
    assert torch.equal(sample["target"]["masks"], data[0]["target"]["masks"][:2, :8, 8:24])


def test_random_crops_of_pictures_and_masks_agree(coco, files):
    """The mask of an object of its own colour is where that colour is."""
    folder, table = files(coco)
    plain = CocoImages(folder, table, masks=True)
    painted = [{**s, "image": s["target"]["masks"][0].float().expand(3, -1, -1)} for s in [plain[0]]]
    data, mirrored = open_data(painted, RandomCrop(10), seed=4), 0
    for epoch in range(40):
        data.set_epoch(epoch)
        sample = data[0]
        square = sample["target"]["labels"] == 18
        mask = sample["target"]["masks"][square]
        assert torch.equal(mask.any(0), sample["image"][0] > 0.5)
        if len(mask):
            x1, y1, x2, y2 = sample["target"]["boxes"][square][0].long().tolist()
            assert mask[0, y1:y2, x1:x2].all()
            assert mask.sum() == (y2 - y1) * (x2 - x1) == sample["target"]["area"][square]
            mirrored += x1 > 0
    assert 0 < mirrored < 40


def test_a_transform_that_cannot_move_boxes_is_refused(coco, files):
    data = open_data(CocoImages(*files(coco)), lambda image, rng: image)
    with pytest.raises(DataError, match="cannot move boxes"):
        data[0]


def test_targets_of_a_batch_stay_a_list_and_data_can_be_pickled(coco, files):
    data = pickle.loads(pickle.dumps(CocoImages(*files(coco))))
    batch = collate([data[0], data[1]])
    assert batch["image"].shape == (2, 3, 16, 24)
    assert [t["image_id"] for t in batch["target"]] == [7, 3]


def test_boxes_need_no_pycocotools(coco, files, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.mask", None)
    folder, table = files(coco)
    assert len(CocoImages(folder, table)) == 3
    with pytest.raises(ImportError, match=r"icmh-plugins\[detection\]"):
        CocoImages(folder, table, masks=True)
    with pytest.raises(ImportError, match="pycocotools"):
        pycocotools.ensure_installed()


@pytest.mark.data
def test_the_measuring_data_opens(measuring_data):
    root = measuring_data / "coco"
    counts = {}
    for split in ("train2017", "val2017"):
        data = CocoImages(root / "images" / split, root / f"instances_{split}.json", masks=True)
        counts[split] = (len(data), len(data.categories))
    assert counts == {"train2017": (100, 80), "val2017": (100, 80)}
