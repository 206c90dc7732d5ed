from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_equal

from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks.base import SetMetric

pytest.importorskip("pycocotools")

from icmh_plugins.tasks.detection_metrics import CocoAP

SIDE = 160
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def target(image_id: int, boxes, labels, crowd=None) -> dict:
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {
        "image_id": image_id,
        "boxes": boxes,
        "labels": torch.tensor(labels, dtype=torch.int64),
        "iscrowd": torch.tensor(crowd or [False] * len(labels), dtype=torch.bool),
        "area": (boxes[:, 2:] - boxes[:, :2]).prod(1),
    }


def found(boxes, labels, scores) -> dict:
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64), "scores": torch.tensor(scores)}


def filled(objects: dict) -> dict:
    """With masks: each box without its lower right quarter."""
    masks = torch.zeros(len(objects["boxes"]), SIDE, SIDE, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, objects["boxes"].round().long().tolist(), strict=True):
        mask[max(y1, 0) : y2, max(x1, 0) : x2] = True
        mask[(y1 + y2) // 2 : y2, (x1 + x2) // 2 : x2] = False
    return {**objects, "masks": masks}


def scene(seed: int, image_id: int, masks: bool = False) -> tuple[dict, dict]:
    """Objects of three categories and all sizes, a crowd, and detections: near ones, and some out of nowhere."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 6))
    corners, sides = rng.uniform(0, 60, (count, 2)), rng.uniform(8, 100, (count, 2))
    boxes, labels = np.concatenate([corners, corners + sides], 1), rng.choice([1, 3, 90], count)
    crowd = (rng.random(count) < 0.15).tolist()
    rows = rng.integers(0, count, 2 * count) if count else np.zeros(0, int)
    near = boxes[rows] + rng.normal(0, 0.06, (len(rows), 4)) * np.tile(sides[rows], 2)
    corners = rng.uniform(0, 80, (4, 2))
    stray = np.concatenate([corners, corners + rng.uniform(8, 60, (4, 2))], 1)
    detections = found(
        np.concatenate([near, stray]).round(1).tolist(),
        np.concatenate([labels[rows], rng.choice([1, 3, 90], 4)]).tolist(),
        rng.random(len(rows) + 4).tolist(),
    )
    truth = target(image_id, boxes.round(1).tolist(), labels.tolist(), crowd)
    return (filled(detections), filled(truth)) if masks else (detections, truth)


def scenes(count: int = 12, masks: bool = False) -> list[tuple[dict, dict]]:
    """Their ids fall, so that their order is not that of update."""
    return [scene(seed, 100 - 7 * seed, masks) for seed in range(count)]


def measured(pairs, iou_type: str = "bbox") -> CocoAP:
    metric = CocoAP(iou_type)
    for prediction, truth in pairs:
        metric.update([prediction], {"target": [truth]})
    return metric


def pycocotools_says(pairs, iou_type: str) -> list[float]:
    """The first six numbers of COCOeval, by the usual way through result files."""
    from pycocotools import mask as tools
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def shapes(objects):
        boxes = objects["boxes"].double()
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
        if iou_type == "bbox":
            return [{"bbox": box} for box in boxes]
        return [{"segmentation": tools.encode(np.asfortranarray(m.numpy().astype(np.uint8)))} for m in objects["masks"]]

    truths, results = [], []
    for prediction, truth in pairs:
        facts = zip(shapes(truth), truth["labels"], truth["iscrowd"], truth["area"], strict=True)
        truths += [
            {**shape, "category_id": int(k), "iscrowd": int(crowd), "area": float(area), "image_id": truth["image_id"]}
            for shape, k, crowd, area in facts
        ]
        facts = zip(shapes(prediction), prediction["labels"], prediction["scores"], strict=True)
        results += [
            {**shape, "category_id": int(k), "score": float(score), "image_id": truth["image_id"]}
            for shape, k, score in facts
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": truth["image_id"], "height": SIDE, "width": SIDE} for _, truth in pairs],
            "categories": [{"id": k, "name": str(k)} for k in (1, 2, 3, 90)],
            "annotations": [{**each, "id": i} for i, each in enumerate(truths, 1)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6].tolist()


def same(values: dict, expected: list[float], prefix: str) -> bool:
    named = dict(zip((f"{prefix}-{name}" for name in NAMES), expected, strict=True))
    return values.keys() == named.keys() and all(
        values[k] == pytest.approx(v, abs=1e-12) if v >= 0 else np.isnan(values[k]) for k, v in named.items()
    )


def test_a_right_and_a_wrong_box_by_hand():
    """One of two objects is found, at overlap 0.81, by the second best of two detections."""
    truth = target(1, [[0, 0, 100, 100], [0, 110, 100, 150]], [5, 5])
    prediction = found([[100, 100, 110, 110], [0, 0, 90, 90]], [5, 5], [0.9, 0.8])
    values = measured([(prediction, truth)]).compute()
    half = 51 / 101 / 2  # recall reaches 0.5, 51 of the 101 points, with precision 1/2
    assert values["box-AP50"] == pytest.approx(half)
    assert values["box-AP75"] == pytest.approx(half)
    assert values["box-AP"] == pytest.approx(half * 7 / 10)  # the overlaps 0.50 to 0.80
    assert np.isnan(values["box-APs"])
    assert values["box-APm"] == 0  # the object 100 wide and 40 high
    assert values["box-APl"] == pytest.approx(7 / 10)  # the stray detection is small and does not count


def test_the_mean_is_over_categories_that_have_objects():
    pairs = [(found([[0, 0, 50, 50], [0, 0, 9, 9]], [1, 77], [0.5, 0.9]), target(1, [[0, 0, 50, 50]] * 2, [1, 3]))]
    assert measured(pairs).compute()["box-AP"] == pytest.approx(0.5)


def test_crowds_take_any_number_of_detections_without_penalty():
    truth = target(1, [[0, 0, 100, 100], [110, 0, 150, 40]], [1, 1], [True, False])
    prediction = found([[0, 0, 40, 40], [50, 50, 90, 90], [110, 0, 150, 40]], [1, 1, 1], [0.9, 0.8, 0.7])
    assert measured([(prediction, truth)]).compute()["box-AP"] == pytest.approx(1)
    truth["iscrowd"][0] = False
    assert measured([(prediction, truth)]).compute()["box-AP"] < 0.5


@pytest.mark.parametrize(("iou_type", "prefix"), [("bbox", "box"), ("segm", "mask")])
def test_the_values_are_those_of_pycocotools_which_stays_silent(iou_type, prefix, capsys):
    pairs = scenes(masks=iou_type == "segm")
    values = measured(pairs, iou_type).compute()
    assert capsys.readouterr() == ("", "")
    assert same(values, pycocotools_says(pairs, iou_type), prefix)
    assert 0.1 < values[f"{prefix}-AP"] < 0.9


def test_equal_scores_are_ordered_as_pycocotools_orders_them():
    pairs = [({**p, "scores": (p["scores"] * 4).round() / 4}, t) for p, t in scenes()]
    metric, expected = measured(pairs), pycocotools_says(pairs, "bbox")
    assert same(metric.compute(), expected, "box")
    once = metric.resample(np.ones((len(pairs), 1), int))
    assert same({name: values[0] for name, values in once.items()}, expected, "box")


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_resamples_equal_the_repeated_images(iou_type):
    pairs = scenes(masks=iou_type == "segm")
    metric = measured(pairs, iou_type)
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=150).T
    values = metric.resample(counts)
    assert {v.shape for v in values.values()} == {(150,)}
    for column in (0, 1, 2, 127, 128, 149):
        expected = metric.compute(np.repeat(np.arange(12), counts[:, column]))
        for name, value in expected.items():
            assert values[name][column] == pytest.approx(value, abs=1e-12, nan_ok=True)


def test_images_can_be_repeated_in_pycocotools_too():
    pairs = scenes(6)
    copies = [(p, {**t, "image_id": i}) for i, (p, t) in enumerate([pairs[0], pairs[3], pairs[3], pairs[5]])]
    assert same(measured(pairs).compute([5, 3, 0, 3]), pycocotools_says(copies, "bbox"), "box")


def test_a_resample_without_objects_has_no_value():
    pairs = [scene(1, 1), (found([], [], []), target(2, [], []))]
    values = measured(pairs).resample(np.array([[2, 0], [0, 2]]))
    assert values["box-AP"][0] >= 0
    assert np.isnan(values["box-AP"][1])


@pytest.mark.parametrize("pairs", [[], [(found([], [], []), target(2, [], []))]])
def test_nothing_to_measure_gives_nan(pairs):
    metric = measured(pairs)
    assert all(np.isnan(value) for value in metric.compute().values())
    assert all(np.isnan(v).all() for v in metric.resample(np.ones((len(pairs), 3), int)).values())


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_evidence_survives_json_and_restores_every_value(iou_type):
    first, second = CocoAP(iou_type), CocoAP(iou_type)
    assert isinstance(first, SetMetric)
    pairs = scenes(masks=iou_type == "segm")
    for start in range(0, 12, 3):
        batch = pairs[start : start + 3]
        first.update([p for p, _ in batch], {"target": [t for _, t in batch]})
        evidence = first.evidence()
        assert len(evidence) == 3
        second.restore(json.loads(json.dumps(evidence)))
    assert_equal(second.compute(), first.compute())  # NaN equals NaN here
    assert second.evidence() == first.evidence()


def test_an_update_after_computing_counts():
    pairs = scenes(4)
    metric = measured(pairs[:2])
    before = metric.compute()
    metric.update([pairs[2][0]], {"target": [pairs[2][1]]})
    assert metric.compute()["box-AP"] != before["box-AP"]
    assert_equal(metric.compute(), measured(pairs[:3]).compute())
    metric.reset()
    assert metric.scores() == {}
    assert metric.evidence() == []
    assert np.isnan(metric.compute()["box-AP"])


@pytest.mark.parametrize(
    ("prediction", "batch", "message"),
    [
        ([found([], [], [])], {}, "no annotations for 1 predictions"),
        ([found([], [], [])], {"target": [3]}, "dicts with 'boxes' and 'labels', that of image 3 is int"),
        ([found([], [], [])], {"target": [{"boxes": [[0, 0, 1, 1]], "labels": [1]}]}, "image 3 .*got list"),
        ([found([], [], [])], {"target": [{**target(8, [], []), "labels": torch.ones(2)}]}, "image 8 .*labels must"),
        ([found([], [], [])], {"target": []}, "annotations of 0 pictures for 1 predictions"),
        ([found([[0, 0, 1, 1]], [1], [float("nan")])], {"target": [target(8, [], [])]}, "image 8: scores .*NaN"),
        ([found([[0, 0, 1, float("inf")]], [1], [1.0])], {"target": [target(8, [], [])]}, "image 8: boxes .*infinite"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_changes_nothing(prediction, batch, message):
    metric = measured(scenes(3))
    before = metric.compute()
    with pytest.raises(DataError, match=message):
        metric.update(prediction, batch)
    assert_equal(metric.compute(), before)


def test_masks_must_be_there_and_of_one_size():
    prediction, truth = scene(1, 1, masks=True)
    with pytest.raises(DataError, match="masks=True"):
        CocoAP("segm").update([prediction], {"target": [scene(1, 1)[1]]})
    with pytest.raises(DataError, match=r"\(80, 160\), those of annotations \(160, 160\)"):
        CocoAP("segm").update([{**prediction, "masks": prediction["masks"][:, ::2]}], {"target": [truth]})
    with pytest.raises(ConfigError, match="'bbox' or 'segm', got 'mask'"):
        CocoAP("mask")
