from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from icmh_plugins.data.boxes import crop_target, has_boxes, mirror_target, resize_target, target_mistake


def target(masks: bool = True) -> dict:
    boxes = torch.tensor([[2.0, 1.0, 6.0, 5.0], [0.0, 0.0, 8.0, 2.0], [7.0, 5.0, 8.0, 6.0]])
    found = {
        "image_id": 3, "boxes": boxes, "labels": torch.tensor([5, 1, 9]),
        "iscrowd": torch.tensor([False, True, False]), "area": torch.tensor([12.0, 16.0, 1.0]),
    }  # fmt: skip
    if masks:
        found["masks"] = torch.zeros(3, 6, 8, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(found["masks"], boxes.long().tolist(), strict=True):
            mask[y1:y2, x1:x2] = True
        found["masks"][0, 1, 2:6] = False  # 12 of the 16 pixels of its box
    return found


def test_targets_are_recognised():
    assert has_boxes(target())
    assert has_boxes({"boxes": torch.zeros(0, 4)})
    assert not has_boxes({"labels": torch.zeros(0)})
    assert not has_boxes(4)
    assert not has_boxes(None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("boxes", [[2, 1, 6, 5]], "got list"),
        ("boxes", np.ones((3, 4)), "got ndarray"),
        ("boxes", torch.zeros(0), r"zeros\(0, 4\) where there are none, got one of \(0,\)"),
        ("boxes", torch.full((3, 4), float("nan")), "NaN"),
        ("boxes", torch.tensor([[4.0, 4, 2, 8]] * 3), "x1 <= x2"),
        ("labels", torch.tensor([1, 2]), r"labels must .* each of 3 boxes, got one of \(2,\)"),
        ("labels", [1, 2, 3], "labels must .* got list"),
        ("iscrowd", torch.zeros(2), "iscrowd must"),
        ("area", torch.zeros(3, 1), "area must"),
        ("masks", torch.zeros(2, 6, 8), "masks must"),
    ],
)
def test_mistakes_in_places_are_named(key, value, message):
    assert target_mistake(target()) == target_mistake(target(masks=False)) == ""
    assert target_mistake({"boxes": torch.zeros(0, 4)}) == ""
    assert re.search(message, target_mistake({**target(), key: value}))


def test_resizing_scales_boxes_areas_and_masks():
    new = resize_target(target(), (6, 8), (12, 24))
    assert new["boxes"][0].tolist() == [6, 2, 18, 10]
    assert new["area"].tolist() == [72, 96, 6]
    assert torch.equal(new["masks"], target()["masks"].repeat_interleave(2, 1).repeat_interleave(3, 2))
    assert new["image_id"] == 3
    same = resize_target(target(), (6, 8), (6, 8))
    assert torch.equal(same["masks"], target()["masks"])


@pytest.mark.parametrize("masks", [True, False])
def test_cropping_clips_and_drops_what_is_out_of_sight(masks):
    new = crop_target(target(masks), top=1, left=4, height=4, width=4)
    assert new["boxes"].tolist() == [[0, 0, 2, 4], [0, 0, 4, 1]]
    assert new["labels"].tolist() == [5, 1]
    assert new["iscrowd"].tolist() == [False, True]
    assert new["area"].tolist() == [6, 4]  # half of the one, a quarter of the other
    assert new["image_id"] == 3
    if masks:
        assert torch.equal(new["masks"], target()["masks"][:2, 1:5, 4:8])


def test_an_object_whose_mask_is_not_visible_is_dropped():
    """The box of the first object reaches into the window, but its pixels there are not its own."""
    new = crop_target(target(), top=0, left=0, height=2, width=8)
    assert new["labels"].tolist() == [1]
    assert crop_target(target(masks=False), 0, 0, 2, 8)["labels"].tolist() == [5, 1]


def test_less_than_a_pixel_of_a_box_is_dropped():
    found = {"boxes": torch.tensor([[0.0, 0.0, 3.9, 4.0], [0.0, 0.0, 4.0, 4.0]]), "labels": torch.tensor([1, 2])}
    assert crop_target(found, 0, 3, 4, 4)["labels"].tolist() == [2]


def test_a_whole_picture_is_left_as_it_is():
    new = crop_target(target(), 0, 0, 6, 8)
    assert all(torch.equal(new[key], value) for key, value in target().items() if key != "image_id")


def test_mirroring_twice_gives_the_same():
    once = mirror_target(target(), 8)
    assert once["boxes"][0].tolist() == [2, 1, 6, 5]
    assert once["boxes"][2].tolist() == [0, 5, 1, 6]
    assert once["masks"][2, 5, 0]
    twice = mirror_target(once, 8)
    assert torch.equal(twice["boxes"], target()["boxes"])
    assert torch.equal(twice["masks"], target()["masks"])


def test_no_objects_stay_none():
    none = {key: value[:0] if torch.is_tensor(value) else value for key, value in target().items()}
    new = mirror_target(crop_target(resize_target(none, (6, 8), (12, 16)), 2, 2, 8, 8), 8)
    assert new["boxes"].shape == (0, 4)
    assert new["masks"].shape == (0, 8, 8)
