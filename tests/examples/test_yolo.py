"""The example of a task package: installed, found by its entry point, on small inputs and with real weights."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from icmh_plugins.data.coco import CocoImages
from icmh_plugins.errors import DataError

PACKAGE = Path(__file__).parents[2] / "examples" / "icmh-yolo"
RUN = """
import sys, torch, icmh_plugins as icmh
from icmh_plugins.testing.toys import COMPRESSAI_MODELS
codec = COMPRESSAI_MODELS["mbt2018-mean"]()
icmh.attach_adapter(codec, "sfma", middle_dim=4)
pictures = [torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(i)) for i in range(4)]
task = icmh.create_task("yolo-segmentation", folder=sys.argv[1])
result = icmh.fit(codec, task, pictures, lmbda=1.0, steps=2, batch_size=4, crop=64, log_every=1, progress=False)
print(sorted(result.history[-1]))
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(PACKAGE)


@pytest.fixture(scope="module")
def ask(install_distributions, python_with):
    return python_with(install_distributions(PACKAGE))


def test_its_entry_point_is_found(ask):
    done = ask("-m", "icmh_plugins", "tasks", "list", "--json")
    assert done.returncode == 0, done.stderr
    [found] = [each for each in json.loads(done.stdout) if each["name"] == "yolo-segmentation"]
    assert "icmh-yolo" in json.dumps(found)


def test_missing_weights_are_named(ask, tmp_path):
    done = ask("-c", RUN, str(tmp_path))
    assert "graph_reader.py are" in done.stderr
    assert "DataError" in done.stderr


@pytest.mark.data
def test_an_adapter_trains_for_it(ask, measuring_data):
    done = ask("-c", RUN, str(measuring_data / "weights"))
    assert done.returncode == 0, done.stderr
    assert {"p3", "p4", "p5"} <= set(eval(done.stdout))


@pytest.mark.data
def test_another_graph_is_refused(measuring_data):
    from icmh_yolo.graph import YoloGraph

    with pytest.raises(DataError, match="not the graph"):
        YoloGraph(measuring_data / "weights", "detect/fastestdet_coco.pth")


@pytest.mark.data
def test_the_network_can_be_copied_and_pickled(measuring_data):
    from icmh_yolo.graph import YoloGraph

    graph = YoloGraph(measuring_data / "weights", "detect/yolov8n_seg_int8.pth")
    copies, x = (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))), torch.rand(1, 3, 640, 640)
    with torch.no_grad():
        levels = [each.levels(x)["p5"] for each in (graph, *copies)]
    assert torch.equal(levels[0], levels[1])
    assert torch.equal(levels[0], levels[2])


@pytest.mark.data
def test_it_finds_what_the_annotations_say(measuring_data):
    from icmh_yolo.task import YoloConfig, YoloSegmentation

    coco = measuring_data / "coco"
    data = CocoImages(coco / "images" / "val2017", coco / "instances_val2017.json", masks=True, rows=slice(0, 3))
    task = YoloSegmentation(YoloConfig(folder=str(measuring_data / "weights")))
    metric = task.metrics()
    for sample in data:
        metric.update(
            task.predict(sample["image"][None]), {"image": sample["image"][None], "target": [sample["target"]]}
        )
    values = metric.compute()
    assert values["box-AP50"] > 0.4
    assert values["mask-AP50"] > 0.4


class Pooled(nn.Module):
    """Stands in for the graph: mean colours at strides 8, 16 and 32."""

    side = 128

    def levels(self, x):
        return {name: F.avg_pool2d(x, stride) for name, stride in (("p3", 8), ("p4", 16), ("p5", 32))}

    def scored_levels(self, x):
        levels = self.levels(x)
        return levels, {name: level.mean(1, keepdim=True).expand(-1, 80, -1, -1) for name, level in levels.items()}


@pytest.mark.parametrize("size", [(64, 64), (50, 60), (33, 90)])
def test_small_pictures_share_a_square_and_get_their_own_features(size):
    from icmh_yolo.network import YoloSegmenter

    network, pictures = YoloSegmenter(Pooled()), list(torch.rand(5, 3, *size))
    together = network.features(pictures)
    for picture, levels in zip(pictures, together, strict=True):
        [alone] = network.features([picture])
        for name, level in levels.items():
            assert torch.allclose(level, alone[name], atol=1e-6), name


def test_scores_of_a_picture_are_those_of_its_own_cells():
    from icmh_yolo.network import YoloSegmenter

    network, pictures = YoloSegmenter(Pooled(), scores=True), list(torch.rand(2, 3, 64, 32))
    for picture, levels in zip(pictures, network.features(pictures), strict=True):
        assert levels["scores"].shape == (80, 8 * 4 + 4 * 2 + 2 * 1, 1)
        expected = torch.cat([F.avg_pool2d(picture, stride).mean(0).flatten() for stride in (8, 16, 32)])
        assert torch.allclose(levels["scores"][7, :, 0], expected, atol=1e-6)


@pytest.mark.data
def test_scores_are_those_of_the_candidates(measuring_data):
    from icmh_yolo.task import YoloConfig, YoloSegmentation

    folder, x = str(measuring_data / "weights"), torch.rand(1, 3, 640, 640, generator=torch.Generator().manual_seed(0))
    task = YoloSegmentation(YoloConfig(folder=folder, levels=("p5", "scores")))
    with torch.no_grad():
        levels, candidates = task.reference(x)[0], task.network.graph(x)[0]
    assert list(levels) == ["p5", "scores"]
    assert torch.equal(levels["scores"][..., 0], candidates[0, 4:84])
    assert "scores" in task.distortion(x, {"image": x}).parts


def test_a_picture_beyond_the_square_is_refused():
    from icmh_yolo.network import YoloSegmenter

    with pytest.raises(DataError, match="do not fit into 128"):
        YoloSegmenter(Pooled()).features([torch.rand(3, 140, 60)])


def test_candidates_become_boxes_and_masks_of_the_picture():
    from icmh_yolo.decode import detections

    candidates = torch.zeros(4 + 80 + 2, 3)
    candidates[:4, 0] = candidates[:4, 1] = torch.tensor([0.25, 0.25, 0.2, 0.1])  # twice the same: one is suppressed
    candidates[:4, 2] = torch.tensor([0.25, 0.25, 0.9, 0.9])  # reaches out of the picture
    candidates[4 + 7, 0], candidates[4 + 7, 1], candidates[4 + 9, 2] = 0.9, 0.8, 0.7
    candidates[84] = 1.0
    prototypes = torch.stack([torch.ones(20, 20), torch.zeros(20, 20)])
    found = detections(candidates, prototypes, (40, 80), (80, 160))  # the picture was halved to fit a square of 80
    assert found["labels"].tolist() == [7, 9]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7])
    assert torch.allclose(found["boxes"], torch.tensor([[24.0, 32, 56, 48], [0, 0, 112, 80]]), atol=1e-4)
    assert found["masks"][0].nonzero().amin(0).tolist() == [32, 24]
    assert found["masks"][0].nonzero().amax(0).tolist() == [47, 55]
    assert found["masks"].sum((1, 2)).tolist() == [16 * 32, 112 * 80]


def test_the_package_imports_nothing_heavy_where_it_is_listed(ask):
    code = "import sys, icmh_yolo.plugin; print('torch' in sys.modules)"
    assert ask("-c", code).stdout.strip() == "False"
