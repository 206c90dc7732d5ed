"""Torchvision's Mask R-CNN from annotations to average precision, on real pictures; its weights are random."""

from __future__ import annotations

import pytest

import icmh_plugins as icmh
from icmh_plugins.data.coco import CocoImages
from icmh_plugins.testing.toys import COMPRESSAI_MODELS

NETWORK = {"network": "torchvision:maskrcnn_resnet50_fpn", "network_options": {"min_size": 160, "max_size": 256}}


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("loss", ["features", "labels"])
def test_an_adapter_is_trained_and_measured_for_mask_rcnn(measuring_data, tmp_path, loss):
    coco = measuring_data / "coco"
    pictures = {
        split: CocoImages(coco / "images" / split, coco / f"instances_{split}.json", masks=True, rows=slice(0, count))
        for split, count in (("train2017", 4), ("val2017", 2))
    }
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    icmh.attach_adapter(codec, "sfma", name="seg", middle_dim=4)
    task = icmh.create_task("instance-segmentation", loss=loss, **NETWORK)
    before = [parameter.clone() for parameter in icmh.adapter_parameters(codec)]
    result = icmh.fit(
        codec, task, pictures["train2017"], lmbda=1.0, steps=2, batch_size=2, crop=128, lr=1e-3, log_every=1,
        out=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert result.steps == 2
    assert any((a != b).any() for a, b in zip(before, icmh.adapter_parameters(codec), strict=True))
    measured = icmh.evaluate(codec, task, pictures["val2017"], views=["human"], progress=False)
    assert {"box-AP", "mask-AP", "box-AP@human"} <= measured.values.keys()
    assert 0 <= measured.values["mask-AP"] < 0.1
