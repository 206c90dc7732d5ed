"""What detectors are refused, and what is asked of those that are taken."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch

from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks.create import create_task

detection = pytest.importorskip("torchvision.models.detection", reason="torchvision is not installed")

KEYPOINTS = "keypointrcnn_resnet50_fpn"


def live(name, **options):
    return getattr(detection, name)(weights=None, weights_backbone=None, min_size=64, max_size=96, **options)


@pytest.mark.parametrize(
    "name",
    ["fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssdlite320"],
)
def test_networks_with_labels_of_their_own_need_a_category_for_each(name):
    if name == "ssdlite320":
        network = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    else:
        network = live(name, num_classes=3)
    with pytest.raises(ConfigError, match="3 labels, categories names 0"):
        create_task("detection", network=network)
    with pytest.raises(ConfigError, match="3 labels, categories names 5"):
        create_task("detection", network=network, categories=(0, 1, 3, 5, 7))
    assert create_task("detection", network=network, categories=(0, 3, 5)).network.categories == (0, 3, 5)


def test_named_networks_need_a_category_for_each_label_too():
    network, options = "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn", {"num_classes": 3}
    with pytest.raises(ConfigError, match="3 labels, categories names 5"):
        create_task("detection", network=network, network_options=options, categories=(0, 1, 3, 5, 7))


def test_networks_that_do_not_say_how_many_labels_they_have_need_categories(make_detector):
    network = make_detector(False)
    network.roi_heads.box_predictor = torch.nn.Sequential(network.roi_heads.box_predictor)
    with pytest.raises(ConfigError, match="an unknown number of labels"):
        create_task("detection", network=network)
    assert create_task("detection", network=network, categories=range(91)).network.categories[90] == 90


@pytest.mark.parametrize("name", [None, KEYPOINTS])
def test_the_label_loss_of_networks_for_keypoints_is_refused_and_the_other_works(name, scenes):
    options = {"network": f"torchvision:{name}", "network_options": {"min_size": 64, "max_size": 96}}
    options = options if name else {"network": live(KEYPOINTS)}
    with pytest.raises(ConfigError, match=r"needs keypoints.*loss='features'"):
        create_task("detection", **options, loss="labels", categories=(0, 1))
    task = create_task("detection", **options, categories=(0, 1))
    assert torch.isfinite(task.distortion(scenes["image"] * 0.5, scenes).total)
    assert set(task.predict(scenes["image"])[0]) == {"boxes", "labels", "scores"}


def recomputing(network):
    return [module for module in network.modules() if isinstance(vars(module).get("forward"), partial)]


def test_of_several_tasks_on_one_module_the_last_decides_whether_it_recomputes(make_detector, scenes):
    network, x_hat = make_detector(), (scenes["image"] * 0.9).requires_grad_()
    passes = []
    network.backbone.second[0][0].register_forward_pre_hook(lambda *_: passes.append(1))

    def passes_of(**options):
        task = create_task("detection", network=network, **options)
        passes.clear()
        task.distortion(x_hat, task.prepare(scenes)).total.backward()
        return len(passes)

    assert passes_of() == 2
    for _ in range(2):
        assert passes_of(recompute=True) == 3
        (block,) = recomputing(network)
        assert not isinstance(block.forward.args[0], partial)
    assert passes_of() == 2
    assert not recomputing(network)


def test_predictions_can_be_had_in_pixels_of_another_size(make_detector, scenes):
    network = make_detector()
    task = create_task("instance-segmentation", network=network)
    sizes, transform = [(40, 128), (33, 57)], network.transform
    found = task.predict(scenes["image"], sizes)
    own, given = [], copy.copy(transform)  # What torchvision gives, before and after it is put in those pixels.
    given.postprocess = lambda result, seen, _: own.append((result, seen)) or result
    network.transform = given
    with torch.no_grad():
        network(list(scenes["image"]))
    network.transform = transform
    expected = transform.postprocess(own[0][0], own[0][1], sizes)
    for each, there, (height, width) in zip(found, expected, sizes, strict=True):
        assert len(each["boxes"]) > 3
        assert torch.equal(each["boxes"], there["boxes"])
        assert torch.equal(each["masks"], there["masks"][:, 0] > 0.5)
        assert each["masks"].shape[1:] == (height, width)
    assert "postprocess" not in vars(network.transform)


def test_pictures_of_which_nothing_would_be_left_have_a_loss_and_are_refused_in_prediction(make_detector):
    task, picture = create_task("detection", network=make_detector()), torch.rand(1, 3, 2, 900)
    loss = task.distortion(picture * 0.5, {"image": picture})
    assert loss.total > 0
    with pytest.raises(DataError, match=r"2x900 pixels.*too narrow"):
        task.predict(picture)


def test_pictures_with_nan_are_refused_not_found_empty(make_detector, scenes):
    images = scenes["image"].clone()
    images[1, 2, 5, 5] = float("nan")
    with pytest.raises(DataError, match=r"picture 1 of 2 .*NaN"):
        create_task("detection", network=make_detector()).predict(images)
