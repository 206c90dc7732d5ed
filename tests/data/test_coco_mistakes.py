from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from icmh_plugins.data.coco import CocoImages
from icmh_plugins.data.segmentations import segmentation_mistake
from icmh_plugins.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [],\n "annotations": [},\n', r"instances.json' is damaged at line 2, column 18"),
        ("", "damaged at line 1"),
        ("[1, 2]", "is a list, as of detections"),
        ("3", "has no list 'images', 'categories', 'annotations'"),
        ('{"images": [], "annotations": 3, "categories": []}', "has no list 'annotations'"),
        ("[" * 100_000, "is no JSON text"),
        ('{"images": [' + "1" * 5000 + "]}", "is no JSON text"),
    ],
)
def test_files_that_are_no_annotations_are_named(files, text, message):
    with pytest.raises(DataError, match=message):
        CocoImages(*files(text))


def test_a_binary_file_is_named(coco, files):
    folder, table = files(coco)
    table.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match=r"instances.json' is no JSON text"):
        CocoImages(folder, table)
    with pytest.raises(DataError, match="there is no annotation file"):
        CocoImages(folder, table.with_name("nowhere.json"))
    with pytest.raises(DataError, match="there is no folder"):
        CocoImages(folder / "nowhere", files(coco)[1])


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        ("images", "file_name", None, "1 images with keys missing or unusable .number 0 has no 'file_name'"),
        ("images", "height", 0, "number 0 has height 0"),
        ("images", "id", "7", "number 0 has id '7'"),
        ("categories", "name", None, "number 0 has no 'name'"),
        ("annotations", "category_id", None, "1 annotations with keys .*number 0 has no 'category_id'"),
        ("annotations", "bbox", [1, 2, 3], r"number 0 has bbox \[1, 2, 3\]"),
        ("annotations", "bbox", [1, 2, 3, float("nan")], r"number 0 has bbox \[1, 2, 3, nan\]"),
        ("annotations", "bbox", [1, 2, 3, "4"], "number 0 has bbox"),
        ("annotations", "area", None, "number 0 has no 'area'"),
        ("annotations", "area", -1, "number 0 has area -1"),
        ("annotations", "iscrowd", 2, "number 0 has iscrowd 2"),
        ("annotations", "bbox", [1, 2, 10**400, 4], "number 0 has bbox"),
        ("annotations", "area", 10**60, "number 0 has area"),
        ("annotations", "category_id", 2**70, "number 0 has category_id"),
        ("images", "id", 2**63, "number 0 has id"),
    ],
)
def test_keys_that_are_missing_or_unusable_are_named(coco, files, kind, key, value, message):
    coco[kind][0].pop(key, None)
    coco[kind][0] |= {} if value is None else {key: value}
    with pytest.raises(DataError, match=message):
        CocoImages(*files(coco))


def test_entries_that_are_no_objects_are_named(coco, files):
    coco["annotations"][1] = [1, 2]
    with pytest.raises(DataError, match=r"number 1 is \[1, 2\]"):
        CocoImages(*files(coco))


def test_all_mistakes_are_told_at_once(coco, files):
    coco["annotations"][0]["image_id"] = 99
    coco["annotations"][2]["category_id"] = 91
    coco["images"][1]["id"] = 7
    coco["categories"].append({"id": 1, "name": "cat"})
    with pytest.raises(DataError) as error:
        CocoImages(*files(coco))
    for part in (
        "1 annotations of images that are not listed (number 0 of 99)",
        "1 annotations of categories that are not listed (number 2 of 91)",
        "1 ids of images given twice (7)",
        "1 ids of categories given twice (1)",
        "mend the file",
    ):
        assert part in str(error.value)


def test_pictures_that_are_missing_damaged_or_of_another_size_are_named(coco, files):
    folder, table = files(coco)
    (folder / "a.png").unlink()
    (folder / "b.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((15, 24, 3), np.uint8)).save(folder / "sub/c.png")
    with pytest.raises(DataError) as error:
        CocoImages(folder, table)
    for part in (
        "1 images that do not exist (a.png)",
        "1 images that cannot be read (b.png: cannot identify",
        "1 images of another size than it says (sub/c.png is 24x15, not 24x16)",
        f"check that {str(folder)!r} is their folder",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_pictures_that_are_cut_short_are_named(coco, files, kind, part):
    folder, table = files(coco)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png", kind)
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DataError, match=r"1 images that cannot be read \(a.png"):
        CocoImages(folder, table)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_with_something_behind_their_end_are_whole(coco, files, kind):
    folder, table = files(coco)
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(folder / "a.png", kind)
    with (folder / "a.png").open("ab") as file:
        file.write(b"\0" * 1000)
    assert CocoImages(folder, table)[0]["image"].shape == (3, 16, 24)


@pytest.mark.parametrize("rows", [3, [0.5], "01", [True, False, True], {0, 1}])
def test_rows_that_are_no_positions_are_refused(coco, files, rows):
    with pytest.raises(ConfigError, match="rows must be a slice or positions as integers"):
        CocoImages(*files(coco), rows=rows)


def test_annotations_without_masks_are_refused_only_where_masks_are_wanted(coco, files):
    del coco["annotations"][1]["segmentation"]
    coco["annotations"][2]["segmentation"] = []
    folder, table = files(coco)
    assert len(CocoImages(folder, table)[0]["target"]["labels"]) == 3
    with pytest.raises(
        DataError, match=r"2 annotations whose masks .*annotation 1 has no 'segmentation'.*without masks"
    ):
        CocoImages(folder, table, masks=True)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4, 5]], "not x1, y1"),
        ([[1, 2, 3, 4, 5, None]], "not x1, y1"),
        ([[1, 2, 3, 4, 5, float("inf")]], "not x1, y1"),
        ([1, 2, 3, 4, 5, 6], "not x1, y1"),
        ([[0, 0, 1e9, 0, 2, 2]], "far outside"),
        ([[0, -17, 2, 0, 2, 2]], "far outside"),
        ("0123", "neither"),
        (None, "neither"),
        ({"size": [24, 16], "counts": [384]}, r"size \[24, 16\], the image is 16 high and 24 wide"),
        ({"size": [16, 24], "counts": [380]}, "runs over 380 of 384"),
        ({"size": [16, 24], "counts": [-1, 385]}, "damaged"),
        ({"size": [16, 24]}, "damaged"),
        ({"size": [16, 24], "counts": "0000"}, "runs over 0 of 384"),
        ({"size": [16, 24], "counts": "zz"}, "damaged"),
        ({"size": [16, 24], "counts": "\x07o"}, "damaged"),
        ({"size": [16, 24], "counts": "P"}, "damaged"),
    ],
)
def test_segmentations_that_pycocotools_would_crash_on_or_misread(coco, files, segmentation, message):
    """ "P" ends within a number; the runs of "0000" cover nothing, and pycocotools leaves the pixels uninitialised."""
    coco["annotations"][0]["segmentation"] = segmentation
    with pytest.raises(DataError, match=f"annotation 0 .*{message}"):
        CocoImages(*files(coco), masks=True)


@pytest.mark.parametrize("density", [0.02, 0.5, 0.98, 0.0, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (60, 80)])
def test_every_encoding_of_pycocotools_is_accepted_and_cut_ones_are_not(shape, density):
    tools = pytest.importorskip("pycocotools.mask")
    mask = (np.random.default_rng(0).random(shape) < density).astype(np.uint8)
    packed = tools.encode(np.asfortranarray(mask))
    counts = packed["counts"].decode()
    assert segmentation_mistake({"size": list(shape), "counts": counts}, *shape) == ""
    assert segmentation_mistake({"size": list(shape), "counts": counts[:-1]}, *shape) != ""
