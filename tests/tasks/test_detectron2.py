"""The bridge to Detectron2, against the real library."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.data.coco import CocoImages
from icmh_plugins.errors import ConfigError, DataError, MissingDependencyError
from icmh_plugins.tasks.create import create_task
from icmh_plugins.tasks.detectors import COCO_IDS
from icmh_plugins.testing.toys import COMPRESSAI_MODELS
from icmh_plugins.training.fit import fit

try:
    import detectron2
except ImportError:
    detectron2 = None

needs_detectron2 = pytest.mark.skipif(
    detectron2 is None, reason="detectron2 is not installed (it is on no package index)"
)

MASK_RCNN = "detectron2:COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
RETINANET = "detectron2:COCO-Detection/retinanet_R_50_FPN_1x.yaml"
SMALL = {
    "INPUT.MIN_SIZE_TEST": 96,
    "INPUT.MAX_SIZE_TEST": 160,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
}

MANY = {"MODEL.PIXEL_STD": [100.0] * 3, "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0}
"""With these random weights find much, with scores that differ."""


@pytest.mark.skipif(detectron2 is not None, reason="detectron2 is installed")
def test_without_detectron2_the_error_has_the_way_to_install_it():
    with pytest.raises(MissingDependencyError, match=r"github.com/facebookresearch/detectron2.git.*install.html"):
        create_task("instance-segmentation", network=MASK_RCNN)


def build(name="instance-segmentation", network=MASK_RCNN, seed=0, **options):
    torch.manual_seed(seed)
    return create_task(
        name, network=network, network_options={**SMALL, **options.pop("network_options", {})}, **options
    )


def wide(scenes):
    """The pictures at sizes that become 96 x 96 and 160 x 96."""
    image = torch.rand(2, 3, 160, 96, generator=torch.Generator().manual_seed(0))
    masks = torch.nn.functional.pad(scenes["target"][0]["masks"], (0, 36, 0, 16))
    return {
        "image": image,
        "target": [{**scenes["target"][0], "masks": masks}, scenes["target"][1]],
        "size": [(96, 96), (160, 96)],
    }


@needs_detectron2
@pytest.mark.parametrize("loss", ["features", "labels"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("network", [MASK_RCNN, RETINANET])
def test_gradients_reach_the_picture_and_the_detector_stays_as_it_was(scenes, network, loss, recompute):
    task = build("detection", network, loss=loss, recompute=recompute).train()
    before = {key: value.clone() for key, value in task.state_dict().items()}
    noted = {module: vars(module).copy() for module in task.modules()}
    x_hat = (scenes["image"] * 0.5).requires_grad_()
    torch.manual_seed(0)
    first = task.distortion(x_hat, scenes)
    first.total.backward()
    assert torch.isfinite(x_hat.grad).all()
    assert x_hat.grad[0, :, :, :60].abs().sum() > 0
    assert x_hat.grad[1, :, 72:].abs().sum() == 0
    assert all(parameter.grad is None for parameter in task.parameters())
    assert all(torch.equal(value, before[key]) for key, value in task.state_dict().items())
    assert all(vars(module) == noted[module] for module in task.modules())
    torch.manual_seed(0)
    assert torch.isclose(task.distortion(x_hat, scenes).total, first.total)


@needs_detectron2
def test_levels_are_those_of_detectron2_at_the_published_normalisation(scenes):
    task, image = build(), wide(scenes)["image"][:, :, :96]
    x_hat = image * 0.9
    loss = task.distortion(x_hat, {"image": image})
    mean = torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    levels = [task.network.network.backbone(x[:, [2, 1, 0]] * 255 - mean) for x in (x_hat, image)]
    assert list(loss.parts) == ["p2", "p3", "p4", "p5", "p6"]
    for name, value in loss.parts.items():
        assert torch.isclose(value, (levels[0][name] - levels[1][name]).square().mean(), rtol=1e-4)
    assert torch.isclose(loss.total, 0.2 * sum(loss.parts.values()), rtol=1e-5)


@needs_detectron2
@pytest.mark.parametrize("network", [MASK_RCNN, RETINANET])
def test_the_label_loss_is_the_one_of_detectron2s_training(scenes, network):
    from detectron2.structures import BitMasks, Boxes, Instances
    from detectron2.utils.events import EventStorage

    batch, task = wide(scenes), build("detection", network, loss="labels")
    torch.manual_seed(3)
    loss = task.distortion(batch["image"], batch)
    reference, inputs = build("detection", network).network.network.train(), []
    for picture, (height, width), target, count in zip(
        *(batch[k] for k in ("image", "size", "target")), (1, 0), strict=True
    ):
        instances = Instances((height, width), gt_boxes=Boxes(target["boxes"][:count]))
        instances.gt_classes = torch.tensor([79] * count, dtype=torch.int64)
        instances.gt_masks = BitMasks(target["masks"][:count])
        inputs.append({"image": 255 * picture[[2, 1, 0], :height, :width], "instances": instances})
    torch.manual_seed(3)
    with EventStorage():
        expected = reference(inputs)
    assert loss.parts.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(loss.parts[name], value, rtol=1e-4)


@needs_detectron2
@pytest.mark.parametrize("size", [(80, 60), (300, 80), (61, 97), (96, 96)])
def test_pictures_are_resized_as_detectron2_does(size):
    from detectron2.data.transforms import ResizeShortestEdge

    task = build()
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    transform = ResizeShortestEdge(96, 160).get_transform(pixels)
    expected = torch.tensor(transform.apply_image(pixels)).permute(2, 0, 1)
    found = task._resized(torch.tensor(pixels).permute(2, 0, 1) / 255) * 255
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1.01  # Pillow rounds to 8 bits after each direction


@needs_detectron2
def test_predictions_are_those_of_detectron2s_predictor():
    from detectron2.data.transforms import ResizeShortestEdge

    task = build()
    pixels = np.random.default_rng(0).integers(0, 256, (96, 120, 3), dtype=np.uint8)
    found = task.predict(torch.tensor(pixels).permute(2, 0, 1)[None] / 255)[0]
    image = ResizeShortestEdge(96, 160).get_transform(pixels).apply_image(pixels[:, :, ::-1])
    inputs = {"image": torch.tensor(image.astype("float32").transpose(2, 0, 1)), "height": 96, "width": 120}
    with torch.no_grad():
        own = task.network.network([inputs])[0]["instances"]
    assert len(own) > 3
    assert torch.allclose(found["boxes"], own.pred_boxes.tensor, atol=1e-3)
    assert torch.equal(found["labels"], torch.tensor(COCO_IDS)[own.pred_classes])
    assert (found["masks"] == own.pred_masks).float().mean() > 0.999
    assert found["masks"].shape[1:] == (96, 120)


@needs_detectron2
@pytest.mark.parametrize("size", [(60, 75), (333, 250)])
def test_predictions_in_pixels_of_another_size_are_those_of_detectron2s_postprocessing(size):
    from detectron2.modeling.postprocessing import detector_postprocess

    task = build(network_options=MANY)
    picture = torch.rand(1, 3, 96, 120, generator=torch.Generator().manual_seed(0))
    (found,) = task.predict(picture, [size])
    with torch.no_grad():
        raw = task.network.network.inference([{"image": 255 * picture[0].flip(0)}], do_postprocess=False)[0]
    expected = detector_postprocess(raw, *size)
    assert len(expected) > 10
    best = expected.scores.argsort(descending=True, stable=True)[:100]
    assert torch.equal(found["boxes"], expected.pred_boxes.tensor[best])
    assert torch.equal(found["masks"], expected.pred_masks[best])
    assert found["masks"].shape[1:] == size
    assert found["masks"].any()


@needs_detectron2
@pytest.mark.parametrize("loss", ["features", "labels"])
def test_an_adapter_learns_from_it_and_codec_and_detector_stay_as_they_are(scenes, loss):
    torch.manual_seed(0)
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    attach_adapter(codec, "sfma", middle_dim=8)
    adapter = [parameter.detach().clone() for parameter in adapter_parameters(codec)]
    task, fingerprint = build(loss=loss), base_fingerprint(codec)
    detector = {key: value.clone() for key, value in task.state_dict().items()}
    image, target = scenes["image"][0, :, :64], scenes["target"][0]
    target = {**target, "masks": torch.nn.functional.pad(target["masks"][:, :64], (0, 4))}
    options = {"steps": 2, "batch_size": 2, "crop": None, "lr": 1e-3, "rate_weight": 0.0, "progress": False}
    result = fit(codec, task, [{"image": image, "target": target}] * 4, lmbda=1.0, **options)
    assert len(result.history) > 0
    assert any(not torch.equal(*pair) for pair in zip(adapter, adapter_parameters(codec), strict=True))
    assert base_fingerprint(codec, recompute=True) == fingerprint
    assert all(torch.equal(value, detector[key]) for key, value in task.state_dict().items())
    assert all(parameter.grad is None for parameter in task.parameters())


@needs_detectron2
def test_narrow_pictures_keep_a_pixel():
    task, picture = build(), torch.rand(1, 3, 1, 900)
    assert task.network.input_size(1, 900) == (1, 160)
    assert task.distortion(picture * 0.5, {"image": picture}).total > 0
    assert task.predict(picture)[0]["masks"].shape[1:] == (1, 900)


@needs_detectron2
@pytest.mark.parametrize(
    ("network", "options", "needed"),
    [
        ("COCO-PanopticSegmentation/panoptic_fpn_R_50_1x", {}, "a class for each pixel"),
        ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x", {"categories": (1,)}, "keypoints"),
    ],
)
def test_label_losses_that_need_more_than_boxes_and_masks_are_refused(scenes, network, options, needed):
    with pytest.raises(ConfigError, match=f"needs {needed}.*loss='features'"):
        build("detection", f"detectron2:{network}", loss="labels", **options)
    task = build("detection", f"detectron2:{network}", **options)
    assert torch.isfinite(task.distortion(scenes["image"] * 0.5, scenes).total)
    with pytest.raises(ConfigError, match=f"needs {needed}"):
        create_task("detection", network=task.network.network, loss="labels", **options)


@needs_detectron2
def test_networks_for_rotated_boxes_are_refused():
    rotated = {"MODEL.PROPOSAL_GENERATOR.NAME": "RRPN", "MODEL.ANCHOR_GENERATOR.NAME": "RotatedAnchorGenerator"}
    with pytest.raises(ConfigError, match="rotated boxes"):
        build("detection", "detectron2:COCO-Detection/faster_rcnn_R_50_FPN_1x", network_options=rotated)


@needs_detectron2
def test_weights_and_device_of_a_config_are_not_dropped_in_silence(tmp_path, caplog):
    with pytest.raises(ConfigError, match=r"nothing is loaded from MODEL.WEIGHTS.*checkpoint="):
        build(network_options={"MODEL.WEIGHTS": "mine.pth"})
    with pytest.raises(ConfigError, match=r"MODEL.DEVICE has no effect"):
        build(network_options={"MODEL.DEVICE": "cuda"})
    path = tmp_path / "mine.yaml"
    path.write_text(f"_BASE_: {_zoo() / (MASK_RCNN[11:] + '.yaml')}\nMODEL:\n  WEIGHTS: mine.pth\n")
    build(network=f"detectron2:{path}")
    assert "'mine.pth', its MODEL.WEIGHTS, is not loaded" in caplog.text


@needs_detectron2
def test_a_live_module_is_taken_as_it_is(scenes):
    named = build(loss="labels")
    live = create_task(
        "instance-segmentation",
        network=build().network.network,
        network_options={"min_size": 96, "max_size": 160},
        loss="labels",
    )
    assert live.config.network == "module:GeneralizedRCNN"
    totals = []
    for task in (named, live):
        torch.manual_seed(0)
        totals.append(task.distortion(scenes["image"], scenes).total)
    assert torch.equal(*totals)
    with pytest.raises(ConfigError, match="min_size, max_size"):
        create_task("detection", network=build().network.network, network_options={"INPUT.FORMAT": "RGB"})


@needs_detectron2
def test_zoo_weights_take_the_place_of_the_networks_own(tmp_path):
    state = build(seed=1).network.network.state_dict()
    extra = {"pixel_mean": np.zeros((3, 1, 1)), "proposal_generator.anchor_generator.cell_anchors.0": np.zeros((3, 4))}
    arrays = {name: value.numpy() for name, value in state.items()}
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": {**arrays, **extra}, "__author__": "Detectron2 Model Zoo"}))
    loaded = build(checkpoint=path).network.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())
    torch.save({"model": state}, tmp_path / "model_final.pth")
    loaded = build(checkpoint=tmp_path / "model_final.pth").network.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())
    path.write_bytes(pickle.dumps({"model": {**arrays, "backbone.other": np.zeros(1)}}))
    with pytest.raises(DataError, match=r"1 unexpected: backbone.other"):
        build(checkpoint=path)


@needs_detectron2
def test_configs_that_would_execute_code_are_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"VERSION: 2\nSEED: !!python/object/apply:os.mkdir ['{tmp_path / 'executed'}']\n")
    with pytest.raises(ConfigError, match="python/object/apply"):
        create_task("detection", network=f"detectron2:{path}")
    with pytest.raises(ConfigError, match="is a program"):
        create_task("detection", network="detectron2:config.py")
    assert not (tmp_path / "executed").exists()


@needs_detectron2
@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ("COCO-Detection/faster_rcnn_R_50_FPN_4x", {}, "Did you mean 'COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml'"),
        (MASK_RCNN[11:], {"INPUT.MIN_SIZE": 3}, "INPUT.MIN_SIZE"),
        (MASK_RCNN[11:], {"MODEL.ROI_HEADS.NUM_CLASSES": 3}, "3 labels, categories names 0"),
        ("COCO-Detection/rpn_R_50_FPN_1x", {}, "is no detector"),
    ],
)
def test_configs_and_options_that_do_not_fit_are_refused(network, options, message):
    with pytest.raises(ConfigError, match=message):
        build("detection", f"detectron2:{network}", network_options=options)


@needs_detectron2
def test_a_local_config_and_categories_of_its_own(tmp_path, scenes):
    from detectron2.config import get_cfg

    settings = get_cfg()
    settings.merge_from_file(str(next(p for p in _zoo().rglob("mask_rcnn_R_50_FPN_1x.yaml"))))
    settings.MODEL.ROI_HEADS.NUM_CLASSES = 2
    path = tmp_path / "mine.yaml"
    path.write_text(settings.dump())
    task = build("detection", f"detectron2:{path}", categories=(1, 90), loss="labels")
    assert torch.isfinite(task.distortion(scenes["image"], scenes).total)
    assert set(task.predict(scenes["image"])[0]["labels"].tolist()) <= {1, 90}


def _zoo():
    from pathlib import Path

    return Path(detectron2.__file__).parent / "model_zoo" / "configs"


@needs_detectron2
def test_scores_agree_with_detectron2s_own_evaluator(tmp_path):
    from detectron2.data import DatasetCatalog
    from detectron2.data.datasets import register_coco_instances
    from detectron2.evaluation import COCOEvaluator

    task = build(network_options=MANY)
    annotations = []
    noise = np.random.default_rng(0)
    for index in range(4):
        pixels = noise.integers(0, 256, (96 + 8 * index, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        found = task.predict(torch.tensor(pixels).permute(2, 0, 1)[None] / 255)[0]
        chosen = noise.permutation(len(found["labels"]))[: 3 * index]  # none in the first picture
        annotations += [_annotation(index, found, i, noise, crowd=n == 1) for n, i in enumerate(chosen)]
    content = {
        "info": {},
        "images": [{"id": i, "file_name": f"{i}.png", "height": 96 + 8 * i, "width": 120} for i in range(4)],
        "categories": [{"id": i, "name": f"category {i}"} for i in COCO_IDS],
        "annotations": [{**each, "id": number} for number, each in enumerate(annotations, 1)],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))

    name = f"synthetic-{tmp_path.name}"
    register_coco_instances(name, {}, str(tmp_path / "instances.json"), str(tmp_path))
    DatasetCatalog.get(name)  # which also notes the ids of its categories
    evaluator = COCOEvaluator(name, ("bbox", "segm"), distributed=False, use_fast_impl=False)
    evaluator.reset()
    metric = task.metrics()
    for index, sample in enumerate(CocoImages(tmp_path, tmp_path / "instances.json", masks=True)):
        image, (height, width) = sample["image"], sample["image"].shape[-2:]
        seen = task.network.resized(image, task.network.input_size(height, width))
        inputs = [{"image": 255 * seen.flip(0), "height": height, "width": width, "image_id": index}]
        with torch.no_grad():
            evaluator.process(inputs, task.network.network(inputs))
        metric.update(task.predict(image[None]), {"image": image[None], "target": [sample["target"]]})
    ours, theirs = metric.compute(), evaluator.evaluate()
    assert 0.05 < ours["box-AP"] < 0.95
    assert 0.05 < ours["mask-AP"] < 0.95
    for kind, key in (("box", "bbox"), ("mask", "segm")):
        for suffix in ("AP", "AP50", "AP75", "APs", "APm", "APl"):
            assert ours[f"{kind}-{suffix}"] * 100 == pytest.approx(theirs[key][suffix], abs=1e-6, nan_ok=True)


def _annotation(index, found, i, noise, crowd):
    """A true object near detection `i`, some pixels off."""
    from pycocotools import mask as tools

    left, top, right, bottom = found["boxes"][i].tolist()
    shift = noise.uniform(0, 3, 2)
    mask = np.roll(found["masks"][i].numpy(), int(shift[1]), 0)
    code = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "image_id": index,
        "category_id": int(found["labels"][i]),
        "bbox": [left, top, right - left - shift[0], bottom - top - shift[1]],
        "area": float(mask.sum()),
        "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode()},
        "iscrowd": int(crowd),
    }
