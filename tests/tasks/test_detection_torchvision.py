"""Each family of torchvision's detectors by name, and their weights from local files."""

from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks import torchvision as backend
from icmh_plugins.tasks.create import create_task

pytest.importorskip("torchvision", reason="torchvision is not installed")

SMALL = {"min_size": 64, "max_size": 96}
FEW = {**SMALL, "rpn_post_nms_top_n_train": 30, "rpn_post_nms_top_n_test": 30, "box_detections_per_img": 10}
FAMILIES = {
    "fasterrcnn_resnet50_fpn": (FEW, ["0", "1", "2", "3", "pool"], {"loss_classifier", "loss_objectness"}),
    "maskrcnn_resnet50_fpn": (FEW, ["0", "1", "2", "3", "pool"], {"loss_mask", "loss_rpn_box_reg"}),
    "retinanet_resnet50_fpn": (SMALL, ["0", "1", "2", "p6", "p7"], {"classification", "bbox_regression"}),
    "fcos_resnet50_fpn": (SMALL, ["0", "1", "2", "p6", "p7"], {"classification", "bbox_ctrness"}),
    "ssdlite320_mobilenet_v3_large": ({}, list("012345"), {"classification", "bbox_regression"}),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_both_losses_and_predictions(name, scenes):
    options, levels, losses = FAMILIES[name]
    torch.manual_seed(0)
    task = create_task("detection", network=f"torchvision:{name}", network_options=options)
    assert task.config.network == f"torchvision:{name}"
    x_hat = (scenes["image"] * 0.5).requires_grad_()
    features = task.distortion(x_hat, scenes)
    assert list(features.parts) == levels
    torch.manual_seed(0)
    task = create_task(
        "detection", network=f"torchvision:{name}", network_options=options, loss="labels", recompute=True
    )
    before = {key: value.clone() for key, value in task.state_dict().items()}
    labels = task.distortion(x_hat, scenes)
    assert losses <= labels.parts.keys()
    (features.total + labels.total).backward()
    assert torch.isfinite(x_hat.grad).all()
    assert x_hat.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in task.parameters())
    assert all(torch.equal(value, before[key]) for key, value in task.state_dict().items())
    found = task.predict(scenes["image"])
    assert [set(each) >= {"boxes", "labels", "scores"} for each in found] == [True, True]
    assert all(len(each["boxes"]) <= 100 for each in found)


SSD = "torchvision:ssdlite320_mobilenet_v3_large"


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(1)
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    network = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3).eval()
    path = tmp_path / "weights.safetensors"
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_file(state, path)
    return path, network


def test_weights_come_from_a_local_file(weights, scenes):
    path, network = weights
    options = {"network_options": {"num_classes": 3}, "categories": (0, 3, 5), "checkpoint": path}
    task = create_task("detection", network=SSD, **options)
    own = network(list(scenes["image"]))[0]
    found = task.predict(scenes["image"])[0]
    assert torch.equal(found["boxes"], own["boxes"][:100])
    assert torch.equal(found["labels"], torch.tensor([0, 3, 5])[own["labels"][:100]])
    with pytest.raises(DataError, match="of another shape"):
        create_task("detection", network=SSD, checkpoint=path)


def test_the_published_first_weights_get_their_eps(weights, monkeypatch):
    path, _ = weights
    options = {"network": SSD, "network_options": {"num_classes": 3}, "categories": (0, 3, 5), "checkpoint": path}

    def eps():
        modules = create_task("detection", **options).modules()
        return {module.eps for module in modules if isinstance(module, torch.nn.BatchNorm2d)}

    assert eps() == {1e-3}
    monkeypatch.setattr(backend, "_ZERO_EPS", (hashlib.sha256(path.read_bytes()).hexdigest()[:8],))
    assert eps() == {0.0}


def test_those_weights_are_the_ones_that_torchvision_runs_so():
    from torchvision.models import detection

    names = [f"{kind}_ResNet50_FPN" for kind in ("FasterRCNN", "MaskRCNN", "KeypointRCNN", "RetinaNet")]
    urls = [getattr(detection, f"{name}_Weights").COCO_V1.url for name in names]
    assert [url.rsplit("-", 1)[1] for url in urls] == [f"{digest}.pth" for digest in backend._ZERO_EPS]


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ("fasterrcnn_resnet50", {}, "Did you mean 'fasterrcnn_resnet50_fpn'"),
        ("keypointrcnn_resnet50_fpn", {}, "2 labels, categories names 0"),
        (SSD[12:], {"num_classes": 5}, "5 labels, categories names 0"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", {"min_sise": 5}, "Did you mean 'min_size'"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", {"weights": "DEFAULT"}, "nothing is downloaded"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", {"num_classes": "many"}, "does not take these"),
    ],
)
def test_names_and_options_that_do_not_exist_are_refused(network, options, message):
    with pytest.raises(ConfigError, match=message):
        create_task("detection", network=f"torchvision:{network}", network_options=options)


def test_random_weights_are_called_so(caplog):
    create_task("detection", network=SSD)
    assert "random weights" in caplog.text
