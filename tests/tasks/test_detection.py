from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, Subset

from icmh_plugins.data.boxes import resize_target
from icmh_plugins.data.sources import Wrapped
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks.create import create_task
from icmh_plugins.tasks.detection_targets import check_target, ids_of, labels_of, training_target
from icmh_plugins.tasks.detectors import Detector, levels_of_pictures


@pytest.fixture
def make(make_detector):
    def make(name="detection", masks=True, network=None, **options):
        return create_task(name, network=network or make_detector(masks), **options)

    return make


def moved(images):
    return (images * 0.9 + 0.02).requires_grad_()


def flat(scenes):
    """The pictures of the batch at one size, which suits the detector as it is."""
    return scenes["image"][:, :, :64, :64]


def test_an_unchanged_picture_has_no_distortion(make, scenes):
    for normalise in ("paper", "relative"):
        loss = make(normalise=normalise).distortion(scenes["image"], scenes)
        assert loss.total == 0
        assert list(loss.parts) == ["fine", "coarse"]


def test_paper_distance_is_the_mean_over_levels_of_plain_errors(make, make_detector, scenes):
    image, network = flat(scenes), make_detector()
    loss = make(network=network).distortion(moved(image), {"image": image})
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    levels = [network.backbone((x - mean.view(3, 1, 1)) / std.view(3, 1, 1)) for x in (moved(image), image)]
    expected = {name: F.mse_loss(*(each[name] for each in levels)) for name in ("fine", "coarse")}
    for name, value in expected.items():
        assert torch.isclose(loss.parts[name], value, rtol=1e-5)
    assert torch.isclose(loss.total, sum(expected.values()) / 2, rtol=1e-5)


def test_levels_and_their_weights_are_chosen_by_name(make, scenes):
    x_hat = moved(scenes["image"])
    both = make(level_weights=(3.0, 1.0)).distortion(x_hat, scenes)
    assert torch.isclose(both.total, (3 * both.parts["fine"] + both.parts["coarse"]) / 4, rtol=1e-5)
    coarse = make(levels=["coarse"]).distortion(x_hat, scenes)
    assert coarse.parts.keys() == {"coarse"}
    assert torch.isclose(coarse.total, both.parts["coarse"])


@pytest.mark.parametrize("normalise", ["paper", "relative"])
def test_the_picture_itself_counts_by_its_weight(make, scenes, normalise):
    image = flat(scenes)
    x_hat = moved(image)
    plain = make(normalise=normalise, scale=1).distortion(x_hat, {"image": image})
    both = make(normalise=normalise, scale=1, pixel_weight=0.5).distortion(x_hat, {"image": image})
    error = (x_hat - image).square().flatten(1).mean(1)
    if normalise == "relative":
        error = error / image.square().flatten(1).mean(1)
    assert both.parts.keys() == {*plain.parts, "pixels"}
    assert torch.isclose(both.parts["pixels"], error.mean(), rtol=1e-5)
    assert torch.isclose(both.total, plain.total + 0.5 * error.mean(), rtol=1e-5)


def test_relative_distance_does_not_depend_on_the_scale_of_a_level(make, make_detector, scenes):
    totals = []
    for factor in (1, 10):
        network = make_detector()
        with torch.no_grad():
            network.backbone.first[1].weight.mul_(factor)
            network.backbone.first[1].bias.mul_(factor)
        task = make(network=network, normalise="relative", levels=["fine"])
        totals.append(task.distortion(moved(scenes["image"]), scenes).total)
    assert torch.isclose(*totals, rtol=1e-4)


@pytest.mark.parametrize("loss", ["features", "labels"])
def test_padding_has_no_part_in_the_loss(make, scenes, loss):
    task, x_hat = make(loss=loss), moved(scenes["image"])
    torch.manual_seed(0)
    total = task.distortion(x_hat, scenes).total
    total.backward()
    for index, (height, width) in enumerate(scenes["size"]):
        assert x_hat.grad[index, :, :height, :width].abs().sum() > 0 or loss == "labels"
        assert x_hat.grad[index, :, height:].abs().sum() == x_hat.grad[index, :, :, width:].abs().sum() == 0
    other, image = x_hat.detach().clone(), scenes["image"].clone()
    other[1, :, 72:], image[1, :, 72:] = 0.7, 0.1
    torch.manual_seed(0)
    assert task.distortion(other, {**scenes, "image": image}).total == total


@pytest.mark.parametrize("loss", ["features", "labels"])
@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_reach_the_picture_and_the_detector_stays_as_it_was(make, scenes, loss, recompute):
    task = make(loss=loss, recompute=recompute).train()
    before, transform = copy.deepcopy(task.state_dict()), task.network.network.transform
    x_hat = moved(scenes["image"])
    task.distortion(x_hat, scenes).total.backward()
    assert x_hat.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in task.parameters())
    assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())
    assert not any(module.training for module in task.modules())
    assert task.network.network.transform is transform
    assert "resize" not in vars(transform)


def test_recomputing_gives_the_same_gradient_from_a_second_pass_through_the_blocks(make, make_detector, scenes):
    gradients, passes = [], []
    for recompute in (False, True):
        network = make_detector()
        network.backbone.second[0][0].register_forward_pre_hook(lambda *_, key=recompute: passes.append(key))
        x_hat = moved(scenes["image"])
        make(network=network, recompute=recompute).distortion(x_hat, scenes).total.backward()
        gradients.append(x_hat.grad)
    assert torch.equal(*gradients)
    # Once for the decoded and once for the uncompressed pictures, and again where it is recomputed.
    assert (passes.count(False), passes.count(True)) == (2, 3)


def test_the_label_loss_is_the_one_of_torchvisions_training(make, make_detector, scenes):
    image, network, labels = flat(scenes), make_detector(), scenes["target"]
    targets = [{**t, "masks": t["masks"][:, :64]} for t in labels]
    task = make(network=network, loss="labels")
    torch.manual_seed(3)
    loss = task.distortion(image, {"image": image, "target": targets})
    reference = make_detector().train()
    for module in (*reference.backbone.modules(), reference.transform):
        module.training = False
    kept = [{k: t[k][:count] for k in ("boxes", "labels", "masks")} for t, count in zip(targets, (1, 0), strict=True)]
    torch.manual_seed(3)
    expected = reference(list(image), kept)
    assert loss.parts.keys() == expected.keys() > {"loss_mask", "loss_objectness"}
    for name, value in expected.items():
        assert torch.allclose(loss.parts[name], value, rtol=1e-5)
    assert torch.allclose(loss.total, sum(expected.values()), rtol=1e-5)


@pytest.mark.parametrize("size", [(80, 60), (300, 80), (61, 97), (64, 64)])
def test_pictures_boxes_and_masks_are_resized_as_torchvision_does(make, size):
    task = make()
    transform = task.network.network.transform
    picture = torch.rand(3, *size)
    masks = torch.rand(2, *size) > 0.5
    target = {"boxes": torch.tensor([[3.0, 5.0, 40.0, 50.5], [0.0, 0.0, 60.0, 61.0]]), "masks": masks}
    image, expected = transform.resize(picture, {**target, "masks": masks.byte()})
    assert task.network.input_size(*size) == tuple(image.shape[-2:])
    assert torch.equal(task._resized(picture), image)
    found = resize_target(target, size, tuple(image.shape[-2:]))
    assert torch.allclose(found["boxes"], expected["boxes"], rtol=1e-6)
    assert torch.equal(found["masks"], expected["masks"].bool())


def test_a_scale_of_its_own_replaces_the_detectors_size(make, make_detector, scenes):
    seen = []
    for scale in (1.0, 0.5):
        network = make_detector()
        network.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-2:]))
        make(network=network, scale=scale, loss="labels").distortion(scenes["image"], scenes)
    assert seen == [(96, 64), (64, 32)]  # 80 x 60 and 40 x 30, padded to 32


def test_crowds_and_boxes_without_area_are_left_out():
    target = {
        "boxes": torch.tensor([[0.0, 0, 4, 4], [0, 0, 8, 8], [3, 3, 3, 9]]),
        "labels": torch.tensor([17, 18, 17]),
        "iscrowd": torch.tensor([False, True, False]),
        "masks": torch.ones(3, 9, 9),
    }
    kept = training_target(target, (0, 17, 18), True, torch.device("cpu"))
    assert kept["boxes"].tolist() == [[0, 0, 4, 4]]
    assert kept["labels"].tolist() == [1]
    assert kept["masks"].shape == (1, 9, 9)
    with pytest.raises(DataError, match="masks=True"):
        check_target({k: target[k] for k in ("boxes", "labels")}, "picture 1", masks=True)


def test_categories_go_to_labels_and_back():
    categories = (0, 17, 90, 0)
    assert labels_of(torch.tensor([90, 17]), categories).tolist() == [2, 1]
    assert ids_of(torch.tensor([2, 1, 0, 3, 7]), categories).tolist() == [90, 17, 0, 0, 0]
    with pytest.raises(DataError, match=r"does not know the categories \[5\]"):
        labels_of(torch.tensor([17, 5]), categories)


def test_predictions_are_the_networks_own_in_pixels_of_the_picture(make, make_detector, scenes):
    network = make_detector()
    own = network(list(scenes["image"]))[0]
    found = make("instance-segmentation", network=network).predict(scenes["image"])
    assert len(found) == 2
    assert torch.equal(found[0]["boxes"], own["boxes"])
    assert torch.equal(found[0]["labels"], own["labels"])
    assert torch.equal(found[0]["masks"], own["masks"][:, 0] > 0.5)
    assert found[0]["masks"].shape == (len(own["boxes"]), 80, 64)
    assert (found[0]["scores"].diff() <= 0).all()
    assert 0 < len(found[0]["boxes"]) <= 100


def test_labels_without_a_category_are_no_detections_and_only_the_best_hundred_count(make, make_detector, scenes):
    network = make_detector(False, box_detections_per_img=300)
    categories = (0, 44, *[0] * 45, *range(1, 44), 90)
    found = make(network=network, categories=categories).predict(scenes["image"])[0]
    own = network(list(scenes["image"]))[0]
    ids = torch.tensor(categories + (0,) * 91)[own["labels"]]
    assert torch.equal(found["labels"], ids[ids > 0][:100])
    assert torch.equal(found["scores"], own["scores"][ids > 0][:100])


def test_a_batch_without_any_box_has_a_loss(make, scenes):
    empty = {**scenes, "target": [scenes["target"][1]] * 2, "size": [(72, 60)] * 2}
    loss = make(loss="labels").distortion(moved(scenes["image"]), empty)
    assert torch.isfinite(loss.total)
    assert loss.parts["loss_box_reg"] == 0


class Annotated:
    """One scene as a dataset; `dataset` as wrapping datasets call what they wrap."""

    def __init__(self, scenes, categories, keys=("boxes", "labels", "masks")):
        self.sample = {"image": scenes["image"][0], "target": {key: scenes["target"][0][key] for key in keys}}
        self.dataset = type("Inner", (), {"categories": categories})()

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.sample


def test_data_that_the_label_loss_cannot_use_is_refused_at_once(make, scenes):
    known = {1: "person", 90: "toothbrush"}
    task = make(loss="labels")
    task.check_data(Annotated(scenes, known))
    with pytest.raises(DataError, match=r"unicorn \(91\)"):
        task.check_data(Annotated(scenes, {**known, 91: "unicorn"}))
    with pytest.raises(DataError, match="masks=True"):
        task.check_data(Annotated(scenes, known, ("boxes", "labels")))
    with pytest.raises(DataError, match="annotated pictures"):
        task.check_data([{"image": scenes["image"][0]}])
    make().check_data(Annotated(scenes, {91: "unicorn"}))
    with pytest.raises(DataError, match=r"background \(0\); ids of categories must be positive: add 1"):
        task.check_data(Annotated(scenes, {0: "background", 90: "toothbrush"}))
    with pytest.raises(DataError, match="'boxes' and 'labels'"):
        task.distortion(scenes["image"], {**scenes, "target": [3, 4]})


def test_categories_are_looked_for_in_every_data_set_within(make, scenes, caplog):
    task, known = make(loss="labels"), {90: "toothbrush"}
    fitting, other = (Annotated(scenes, names) for names in (known, {**known, 95: "unicorn"}))
    with pytest.raises(DataError, match=r"unicorn \(95\)"):
        task.check_data(Wrapped(ConcatDataset([fitting, Subset(other, [0])])))
    other.used_categories = known  # declared, but no object has it
    task.check_data(Wrapped(ConcatDataset([fitting, Subset(other, [0])])))
    assert not caplog.messages
    task.check_data([fitting[0], fitting[0]])
    assert "list has no 'categories'" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": [[8, 10, 48, 40]]}, "boxes must be a tensor .*got list"),
        ({"boxes": torch.zeros(0)}, r"boxes must be a tensor \(n, 4\)"),
        ({"boxes": torch.full((2, 4), float("inf"))}, "NaN or infinite"),
        ({"labels": torch.tensor([1])}, "labels must be .* each of 2 boxes"),
        ({"labels": torch.tensor([1.0, 2.0])}, "labels must be integers"),
    ],
)
def test_targets_that_do_not_fit_together_are_refused_everywhere(make, scenes, change, message):
    target = {**scenes["target"][0], **change}
    sample, task = {"image": scenes["image"][0], "name": "p.png", "target": target}, make(loss="labels")
    with pytest.raises(DataError, match=message):
        task.check_data([sample])
    with pytest.raises(DataError, match=f"p.png.*{message}"):
        task.check_targets(sample, ["box-AP"])
    with pytest.raises(DataError, match=message):
        task.distortion(scenes["image"], {**scenes, "target": [scenes["target"][1], target]})
    task.check_targets(sample, [])


@pytest.mark.parametrize("target", [7, None, {"boxes": torch.zeros(0, 4)}, [1, 2]])
def test_targets_of_another_kind_are_refused_with_the_remedy(make, scenes, target):
    sample = {"image": scenes["image"][0], "name": "p.png", "target": target}
    with pytest.raises(DataError, match=r"p\.png.*coco:FOLDER,ANNOTATIONS\.json"):
        make().check_targets(sample, ["box-AP50"])


def test_masks_are_needed_only_for_their_metrics(make, scenes):
    task, batch = make("instance-segmentation"), {**scenes, "target": [{**t} for t in scenes["target"]]}
    for target in batch["target"]:
        del target["masks"]
    sample = {"name": "p.png", "target": batch["target"][0]}
    task.check_targets(sample, ["box-AP", "box-AP50"])
    with pytest.raises(DataError, match=r"p\.png.*without masks.*coco-masks"):
        task.check_targets(sample, ["box-AP", "mask-AP75"])
    prediction = task.predict([image[:, :h, :w] for image, (h, w) in zip(batch["image"], batch["size"], strict=True)])
    boxes = task.metrics_for(["box-AP"])
    boxes.update(prediction, batch)
    assert set(boxes.compute()) == {name for name in task.higher_is_better if name.startswith("box-")}
    with pytest.raises(DataError, match="without masks"):
        task.metrics().update(prediction, batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": ["corse"]}, "Did you mean 'coarse'"),
        ({"level_weights": (1.0,)}, "1 values for the levels fine, coarse"),
        ({"level_weights": (0.0, 0.0)}, "not all zero"),
        ({"categories": (0, 1, 1)}, "an id twice"),
        ({"network_options": {"min_size": 3}}, "a finished module has its own"),
        ({"los": "labels"}, "Did you mean 'loss'"),
    ],
)
def test_options_that_do_not_fit_are_refused(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_instance_segmentation_needs_masks(make):
    with pytest.raises(ConfigError, match="gives no masks"):
        make("instance-segmentation", masks=False)


def test_modules_of_another_kind_are_refused(make, tiny_net):
    with pytest.raises(ConfigError, match="not built like torchvision's detectors"):
        make(network=tiny_net)
    with pytest.raises(ConfigError, match="'torchvision:<builder>'"):
        create_task("detection", network="yolo")


class Bright(Detector):
    """A detector that finds one box over the whole picture, as likely as it is bright."""

    def features(self, pictures):
        return [{"picture": picture} for picture in pictures]

    def detect(self, pictures, sizes=None):
        return [
            {
                "boxes": torch.tensor([[0.0, 0.0, width, height]]),
                "labels": torch.tensor([0]),
                "scores": picture.mean()[None],
            }
            for picture, (height, width) in zip(pictures, sizes or [p.shape[1:] for p in pictures], strict=True)
        ]


def test_a_detector_of_another_kind_joins_by_three_methods(make, scenes):
    task = make(network=Bright((7,)))
    x_hat = moved(scenes["image"])
    loss = task.distortion(x_hat, scenes)
    errors = [(x_hat - scenes["image"])[i, :, :h, :w].square().mean() for i, (h, w) in enumerate(scenes["size"])]
    assert torch.isclose(loss.total, sum(errors) / 2)
    found = task.predict(scenes["image"])
    assert [each["labels"].tolist() for each in found] == [[7], [7]]
    assert found[0]["boxes"].tolist() == [[0, 0, 64, 80]]
    with pytest.raises(NotImplementedError, match="loss='features'"):
        make(network=Bright((7, 90)), loss="labels").distortion(x_hat, scenes)
    with pytest.raises(ConfigError, match="takes no categories"):
        make(network=Bright((7,)), categories=(1,))


def test_cells_that_lie_in_the_picture_count():
    levels = {"a": torch.arange(2 * 16.0).view(2, 1, 4, 4), "b": torch.ones(2, 3, 1, 2)}
    cut = levels_of_pictures(levels, [(32, 17), (9, 32)], (32, 32))
    assert torch.equal(cut[0]["a"], levels["a"][0, :, :, :3])
    assert torch.equal(cut[1]["a"], levels["a"][1, :, :2])
    assert [each["b"].shape for each in cut] == [(3, 1, 2), (3, 1, 2)]
