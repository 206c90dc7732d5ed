from __future__ import annotations

import pytest
import torch
from torch import nn


class TinyNet(nn.Module):
    """Two layers with an in-place activation between, one that returns a tuple, one that never runs; ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(4)
        self.pair = Doubling()
        self.unused = nn.Identity()
        self.head = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.act(self.first(x)))
        x, _ = self.pair(x)
        return self.head(x.mean((2, 3)))


class Doubling(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, int]:
        return 2 * x, 1


@pytest.fixture
def tiny_net() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class TinyPyramid(nn.Module):
    """Two levels of eight channels, strides 4 and 8, with batch normalisation and dropout on the way."""

    out_channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1)), nn.Dropout(0.5))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = self.first(x)
        return {"fine": fine, "coarse": self.second(fine)}


@pytest.fixture
def make_detector():
    """Builds a tiny Mask R-CNN of torchvision's parts for inputs of 64 to 96 pixels, or a Faster R-CNN."""
    detection = pytest.importorskip("torchvision.models.detection", reason="torchvision is not installed")
    faster_rcnn, mask_rcnn = detection.faster_rcnn, detection.mask_rcnn
    from torchvision.ops import MultiScaleRoIAlign

    def build(masks=True, seed=0, **options):
        torch.manual_seed(seed)
        levels = ["fine", "coarse"]
        parts = {
            "rpn_anchor_generator": detection.rpn.AnchorGenerator(((16,), (32,)), ((0.5, 1.0, 2.0),) * 2),
            "box_roi_pool": MultiScaleRoIAlign(levels, 3, 2),
            "box_head": faster_rcnn.TwoMLPHead(8 * 9, 16),
            "box_predictor": faster_rcnn.FastRCNNPredictor(16, 91),
            "min_size": 64,
            "max_size": 96,
            "box_score_thresh": 0.0,
        }
        if not masks:
            return detection.FasterRCNN(TinyPyramid(), **{**parts, **options}).eval()
        parts |= {
            "mask_roi_pool": MultiScaleRoIAlign(levels, 6, 2),
            "mask_head": mask_rcnn.MaskRCNNHeads(8, (8,), 1),
            "mask_predictor": mask_rcnn.MaskRCNNPredictor(8, 8, 91),
        }
        return detection.MaskRCNN(TinyPyramid(), **{**parts, **options}).eval()

    return build


@pytest.fixture
def scenes() -> dict:
    """A batch of two pictures of 80 x 60 and 72 x 60 padded to 80 x 64: two boxes, one of them a crowd; and none."""
    masks = torch.zeros(2, 80, 60, dtype=torch.bool)
    masks[0, 10:40, 8:48] = True
    annotated = {
        "boxes": torch.tensor([[8.0, 10.0, 48.0, 40.0], [0.0, 0.0, 60.0, 30.0]]),
        "labels": torch.tensor([90, 1]),
        "iscrowd": torch.tensor([False, True]),
        "masks": masks,
    }
    empty = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "iscrowd": torch.zeros(0, dtype=torch.bool),
        "masks": torch.zeros(0, 72, 60, dtype=torch.bool),
    }
    image = torch.rand(2, 3, 80, 64, generator=torch.Generator().manual_seed(0))
    return {"image": image, "target": [annotated, empty], "size": [(80, 60), (72, 60)]}
