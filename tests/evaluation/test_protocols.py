from typing import get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from icmh_plugins.bitstream.container import unpack
from icmh_plugins.cli.evaluate import evaluate as command
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.evaluation.evaluate import evaluate
from icmh_plugins.evaluation.protocols import PROTOCOLS, find_protocol
from icmh_plugins.tasks.base import Task
from icmh_plugins.tasks.create import create_task
from icmh_plugins.tasks.detectors import Detector


def picture(height, width):
    noise = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, (height, width), mode="bilinear")[0].mul(255).round() / 255


def sample(height, width, **more):
    return {"image": picture(height, width), "name": "p", **more}


def pillow(image, height, width):
    pixels = Image.fromarray(image.mul(255).round().byte().permute(1, 2, 0).numpy())
    resized = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255


def test_native_changes_nothing():
    frame = find_protocol("native").frame(sample(30, 50, target=3))
    assert torch.equal(frame.coded, picture(30, 50))
    assert frame.size == (30, 50)
    assert frame.sample["target"] == 3


@pytest.mark.parametrize(
    ("size", "shown", "coded"),
    [
        ((480, 640), (800, 1067), (1024, 1280)),
        ((426, 640), (800, 1202), (1024, 1280)),
        ((200, 640), (417, 1333), (512, 1536)),
    ],
)
def test_adapt_icmh_resizes_as_detectron2_and_pads_with_zeros(size, shown, coded):
    frame = find_protocol("adapt-icmh").frame(sample(*size))
    assert frame.size == shown
    assert tuple(frame.coded.shape[-2:]) == coded
    assert torch.equal(frame.coded[:, : shown[0], : shown[1]], pillow(picture(*size), *shown))
    assert frame.coded[:, shown[0] :].abs().max() == 0
    assert frame.coded[:, :, shown[1] :].abs().max() == 0
    assert torch.equal(frame.shown(frame.coded[None])[0], frame.sample["image"])


def test_transtic_enlarges_and_comes_back():
    frame = find_protocol("transtic").frame(sample(480, 640))
    expected = F.interpolate(pillow(picture(480, 640), 800, 1067)[None], (1024, 1280), mode="bilinear")
    assert torch.equal(frame.coded, expected[0])
    assert frame.size == (800, 1067)
    shown = frame.shown(expected + 2)
    assert shown.shape == (1, 3, 800, 1067)
    assert shown.min() == shown.max() == 1
    assert (frame.shown(expected)[0] - frame.sample["image"]).abs().max() < 0.02


@pytest.mark.parametrize(
    ("size", "resized"), [((300, 401), (256, 342)), ((347, 300), (296, 256)), ((256, 256), (256, 256))]
)
def test_classification_crops_as_torchvision(size, resized):
    frame = find_protocol("adapt-icmh-cls").frame(sample(*size, target=7, clean=picture(*size).flip(-1)))
    top, left = (round((side - 256) / 2) for side in resized)
    expected = pillow(picture(*size), *resized)[:, top : top + 256, left : left + 256]
    assert torch.equal(frame.coded, expected)
    assert frame.sample["clean"].shape == (3, 256, 256)
    assert frame.sample["target"] == 7


def test_predictions_are_judged_in_the_pixels_of_the_data():
    frame = find_protocol("adapt-icmh").frame(sample(400, 600, target={"boxes": torch.zeros(0, 4)}))
    assert frame.size == (800, 1200)
    masks = torch.zeros(2, 800, 1200, dtype=torch.bool)
    masks[0, 100:300, 200:400] = True
    boxes = torch.tensor([[200.0, 100, 400, 300], [0, 0, 1200, 800]])
    prediction = [{"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks}]
    shown = frame.shown(frame.coded[None])
    (judged,) = frame.judged(Says(prediction), shown)
    assert judged["boxes"].tolist() == [[100, 50, 200, 150], [0, 0, 600, 400]]
    assert judged["labels"].tolist() == [1, 2]
    assert judged["masks"].shape == (2, 400, 600)
    assert judged["masks"].sum((1, 2)).tolist() == [100 * 100, 0]
    assert judged["masks"][0, 50:150, 100:200].all()
    nothing = {"boxes": torch.zeros(0, 4), "masks": torch.zeros(0, 800, 1200, dtype=torch.bool)}
    none = frame.judged(Says([nothing]), shown)
    assert none[0]["masks"].shape == (0, 400, 600)
    assert none[0]["masks"].dtype == torch.bool
    classes = torch.rand(1, 10)
    assert frame.judged(Says(classes), shown) is classes


class Says(Task):
    """Predicts what it is told."""

    def __init__(self, prediction):
        super().__init__()
        self.prediction = prediction

    def predict(self, x_hat):
        return self.prediction


class Square(Detector):
    """A detector whose one mask, a square at any size, is asked for once."""

    def __init__(self):
        super().__init__((1,), gives_masks=True)
        self.asked = []

    def detect(self, pictures, sizes=None):
        self.asked.append(([tuple(picture.shape[-2:]) for picture in pictures], sizes))
        masks = torch.ones(1, *sizes[0], dtype=torch.bool)
        boxes = torch.tensor([[0.0, 0.0, *sizes[0][::-1]]])
        return [{"boxes": boxes, "labels": torch.tensor([0]), "scores": torch.ones(1), "masks": masks}]


@pytest.mark.parametrize("protocol", ["native", "adapt-icmh", "transtic"])
def test_detectors_predict_once_in_the_pixels_of_the_data(codec, protocol):
    network = Square()
    target = {
        "image_id": 1,
        "boxes": torch.tensor([[0.0, 0.0, 60.0, 40.0]]),
        "labels": torch.tensor([1]),
        "iscrowd": torch.tensor([False]),
        "area": torch.tensor([2400.0]),
        "masks": torch.ones(1, 40, 60, dtype=torch.bool),
    }
    task = create_task("instance-segmentation", network=network)
    result = evaluate(codec, task, [sample(40, 60, target=target)], protocol=protocol, progress=False)
    seen = (40, 60) if protocol == "native" else (800, 1200)
    assert network.asked == [([seen], [(40, 60)])]
    assert result.values["mask-AP"] == result.values["box-AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("protocol", "target", "says"),
    [
        ("adapt-icmh-cls", {"boxes": torch.zeros(0, 4)}, "crops pictures, and image 'p' has boxes"),
        ("transtic", torch.zeros(30, 50), "resizes pictures, and image 'p' has a target of type Tensor"),
    ],
)
def test_targets_that_would_not_fit_are_refused(codec, protocol, target, says):
    with pytest.raises(DataError, match=says):
        evaluate(codec, None, [sample(30, 50, target=target)], protocol=protocol, progress=False)


def test_unknown_protocol_lists_all():
    with pytest.raises(ConfigError, match="Did you mean 'adapt-icmh'") as error:
        find_protocol("adapt_icmh")
    assert all(f"{name}," in f"{error.value},".replace(".", "") for name in PROTOCOLS)
    assert str(error.value).count("adapt-icmh-cls") == 1


def test_command_names_all_protocols():
    option = get_type_hints(command, include_extras=True)["protocol"].__metadata__[0]
    assert all(name in option.help for name in PROTOCOLS)


class Boxes(Task):
    """Sees one box around everything."""

    def predict(self, x_hat):
        height, width = x_hat.shape[-2:]
        return [{"boxes": torch.tensor([[0.0, 0.0, width, height]])} for _ in x_hat]

    def metrics(self):
        return Corner()


class Corner:
    def update(self, prediction, batch):
        self.corner = prediction[0]["boxes"][0, 2:] - batch["target"][0]["boxes"][0, 2:]
        self.size = batch["image"].shape[-2:]

    def compute(self, indices=None):
        return {name: values[0] for name, values in self.scores().items()}

    def scores(self):
        return {"off": self.corner.abs().amax().numpy()[None], "height": np.array([self.size[0]])}


def test_evaluation_under_a_protocol(codec, tmp_path):
    data = [sample(40, 64, target={"boxes": torch.tensor([[0.0, 0.0, 64.0, 40.0]])})]
    folder = tmp_path / "streams"
    result = evaluate(codec, Boxes(), data, protocol="adapt-icmh", save_streams=folder, progress=False)
    assert result.curve.protocol == result.point.facts["protocol"] == "adapt-icmh"
    assert result.values["height"] == 800
    assert result.values["off"] == pytest.approx(0, abs=1e-3)
    (file,) = folder.iterdir()
    stream = unpack(file.read_bytes())
    assert (stream.header.height, stream.header.width) == (1024, 1280)
    assert result.values["bpp"] == pytest.approx(8 * sum(map(len, stream.images[0])) / (800 * 1280))
    assert result.values["psnr-rgb"] > 0
