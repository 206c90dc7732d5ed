"""Training on whole pictures of different sizes, whose targets are lists."""

from __future__ import annotations

import pytest
import torch

from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.padding import extend
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks.create import create_task
from icmh_plugins.training.batches import on_device
from icmh_plugins.training.collation import padded_batch
from icmh_plugins.training.fit import fit
from icmh_plugins.training.loss import Objective, bits_per_pixel
from icmh_plugins.training.reconstruction import Reconstruction, reconstruct


class Scenes:
    """Pictures of different sizes with one annotated object each, but the first."""

    def __init__(self):
        self.categories = {1: "person"}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        height, width = (64, 70, 64, 90)[index], (96, 64, 64, 50)[index]
        noise = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(index))
        boxes = torch.tensor([[4.0, 8.0, 40.0, 44.0]])[: min(index, 1)]
        target = {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64)}
        return {"image": torch.nn.functional.interpolate(noise, (height, width))[0], "target": target}


@pytest.fixture
def detector():
    detection = pytest.importorskip("torchvision.models.detection", reason="torchvision is not installed")
    torch.manual_seed(0)
    backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 7, stride=8, padding=3), torch.nn.BatchNorm2d(8))
    backbone.out_channels = 8
    anchors = detection.rpn.AnchorGenerator(((16,),), ((0.5, 1.0, 2.0),))
    head = {"box_head": detection.faster_rcnn.TwoMLPHead(8 * 49, 8)}
    return detection.FasterRCNN(
        backbone, rpn_anchor_generator=anchors, min_size=64, max_size=128, **head,
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(8, 91),
    )  # fmt: skip


def test_pictures_of_different_sizes_are_padded_to_a_common_one():
    samples = [{**Scenes()[index], "name": str(index), "clean": Scenes()[index]["image"] / 2} for index in range(4)]
    batch = padded_batch(samples)
    assert batch["image"].shape == (4, 3, 90, 96)
    assert batch["size"] == [(64, 96), (70, 64), (64, 64), (90, 50)]
    assert torch.equal(batch["image"][1, :, :70, :64], samples[1]["image"])
    assert torch.equal(batch["image"][1:2], extend(samples[1]["image"][None], 90, 96))
    assert torch.allclose(batch["clean"], batch["image"] / 2)
    assert [target["boxes"].shape for target in batch["target"]] == [(0, 4), (1, 4), (1, 4), (1, 4)]


def test_pictures_of_one_size_are_left_alone():
    batch = padded_batch([Scenes()[1]] * 2)
    assert "size" not in batch
    assert batch["image"].shape == (2, 3, 70, 64)


def test_targets_in_lists_move_with_the_batch():
    batch = on_device(padded_batch([Scenes()[2]]), torch.device("meta"))
    assert batch["image"].is_meta
    assert batch["target"][0]["boxes"].is_meta


@torch.no_grad()
def test_pictures_that_do_not_suit_the_codec_are_padded_as_their_streams_are(codec):
    image = Scenes()[1]["image"][None]
    seen = reconstruct(codec, image)
    assert seen.x_hat.shape == seen.x_bar.shape == image.shape
    assert torch.allclose(seen.x_bar.clamp(0, 1), decode(codec, encode(codec, image)), atol=1e-5)


def test_any_crop_trains_and_validates(codec, task, quick):
    sizes = []
    spy = task.reference
    task.reference = lambda image: (sizes.append(tuple(image.shape[-2:])), spy(image))[1]
    result = fit(codec, task, Scenes(), validation=Scenes(), checkpoint_every=1, **{**quick, "crop": 50, "steps": 1})
    assert result.validation[-1]["val_bpp"] > 0
    assert set(sizes) == {(50, 50)}


def test_padding_counts_neither_as_pixels_of_the_rate_nor_in_squared_errors():
    image, likelihoods = torch.zeros(2, 3, 8, 8), {"y": torch.full((10,), 0.5)}
    assert float(bits_per_pixel(likelihoods, image, [(8, 8), (2, 8)])) == pytest.approx(10 / 80)

    class Nothing:
        def distortion(self, x_hat, batch):
            return create_task("human").distortion(x_hat[:, :, :2], {"image": x_hat[:, :, :2]})

    x_hat = image.clone()
    x_hat[0, :, 7], x_hat[1, :, 2:] = 1.0, 5.0
    seen = Reconstruction(x_hat, x_hat, likelihoods)
    loss = Objective(1.0, rate=0, human=1.0)(seen, {"image": image, "size": [(8, 8), (2, 8)]}, Nothing())
    assert float(loss.total) == pytest.approx(255**2 * 8 / 80)


@pytest.mark.parametrize("loss", ["features", "labels"])
def test_a_detection_adapter_learns_from_whole_pictures(codec, detector, quick, loss):
    before, options = base_fingerprint(codec), {**quick, "crop": None, "steps": 8, "batch_size": 2, "lr": 3e-3}
    task = create_task("detection", network=detector, loss=loss)
    result = fit(codec, task, Scenes(), validation=Scenes(), checkpoint_every=8, **options)
    assert base_fingerprint(codec, recompute=True) == before
    assert all(parameter.grad is None for parameter in task.parameters())
    assert {"loss", "bpp", "distortion"} < result.history[-1].keys()
    assert result.validation[-1]["val_distortion"] > 0
    if loss == "features":
        first, last = (sum(row["loss"] for row in rows) for rows in (result.history[:2], result.history[-2:]))
        assert last < first
    else:
        assert "loss_objectness" in result.history[0]


def test_crops_serve_detection_too(codec, detector, quick):
    task = create_task("detection", network=detector, scale=1.0)
    scenes = [{"image": scene["image"]} for scene in (Scenes()[i] for i in range(4))]
    assert len(fit(codec, task, scenes, **{**quick, "steps": 2}).history) == 2


def test_tasks_that_take_one_size_are_refused_whole_pictures(codec, task, quick):
    with pytest.raises(ConfigError, match="needs pictures of one size"):
        fit(codec, task, Scenes(), **{**quick, "crop": None})


def test_unknown_categories_are_refused_before_training(codec, detector, quick, tmp_path):
    task = create_task("detection", network=detector, loss="labels", categories=(0, 7, *[0] * 89))
    with pytest.raises(DataError, match=r"person \(1\)"):
        fit(codec, task, Scenes(), out=tmp_path / "out", **{**quick, "crop": None})
    assert not (tmp_path / "out").exists()
