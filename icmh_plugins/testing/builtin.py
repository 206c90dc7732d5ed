"""How the built-in adapters, tasks and codec profiles are checked: small, offline, with random weights."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import torch
from torch import nn

from icmh_plugins.testing.suites import (
    AdapterConformance,
    CodecProfileConformance,
    PackageConformance,
    TaskConformance,
)

_SMALL: Final = {"min_size": 64, "max_size": 96, "box_score_thresh": 0.0, "box_detections_per_img": 5}


class TestPackage(PackageConformance):
    """The package."""

    distribution = "icmh-plugins"


class TestSFMA(AdapterConformance):
    """`sfma`."""

    adapter = "icmh-plugins:sfma"
    config: ClassVar = {"middle_dim": 4}


class TestBottleneck(AdapterConformance):
    """`bottleneck`."""

    adapter = "icmh-plugins:bottleneck"
    config: ClassVar = {"middle_dim": 4}


class TestConvLoRA(AdapterConformance):
    """`conv-lora`."""

    adapter = "icmh-plugins:conv-lora"


class TestChannelGate(AdapterConformance):
    """`channel-gate`."""

    adapter = "icmh-plugins:channel-gate"


class TestScale(AdapterConformance):
    """`scale`."""

    adapter = "icmh-plugins:scale"


class TestDynamic(AdapterConformance):
    """`dynamic`, and `dan`, which is the same."""

    adapter = "icmh-plugins:dynamic"
    config: ClassVar = {"width": 8}


class TestLLICM(AdapterConformance):
    """`ll-icm` with the CLIP that the package carries."""

    adapter = "icmh-plugins:ll-icm"
    config: ClassVar = {"width": 8, "levels": 1, "condition_dim": 8}


class TestHuman(TaskConformance):
    """`human`."""

    task = "icmh-plugins:human"


class TestClassification(TaskConformance):
    """`classification`."""

    task = "icmh-plugins:classification"
    options: ClassVar = {"network": "resnet10t", "pretrained": False}


class TestRestoration(TaskConformance):
    """`restoration`."""

    task = "icmh-plugins:restoration"

    def batch(self) -> dict[str, Any]:
        """Pictures, and clean ones."""
        clean = super().batch()["image"]
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        return {"image": (clean + 0.1 * noise).clamp(0, 1), "clean": clean}


class TestDetection(TaskConformance):
    """`detection`."""

    task = "icmh-plugins:detection"
    options: ClassVar = {
        "network": "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn",
        "network_options": _SMALL,
    }

    def batch(self) -> dict[str, Any]:
        """Pictures with a box each."""
        box = {"boxes": torch.tensor([[8.0, 10.0, 48.0, 40.0]]), "labels": torch.tensor([1])}
        return {**super().batch(), "target": [{**box, "iscrowd": torch.tensor([False])} for _ in range(2)]}


class TestInstanceSegmentation(TestDetection):
    """`instance-segmentation`."""

    task = "icmh-plugins:instance-segmentation"
    options: ClassVar = {"network": "torchvision:maskrcnn_resnet50_fpn", "network_options": _SMALL}

    def batch(self) -> dict[str, Any]:
        """Pictures with a box and its mask each."""
        batch = super().batch()
        masks = torch.zeros(1, 64, 64, dtype=torch.bool)
        masks[0, 10:40, 8:48] = True
        return {**batch, "target": [{**target, "masks": masks} for target in batch["target"]]}


class TestAdaptICMH(CodecProfileConformance):
    """`adapt-icmh` on a codec laid out like TIC."""

    profile = "icmh-plugins:adapt-icmh"

    def codec(self) -> nn.Module:
        """The toy of that shape."""
        from icmh_plugins.testing.toys import tuple_codec

        return tuple_codec()


class TestPillow(CodecProfileConformance):
    """`pillow` on JPEG."""

    profile = "icmh-plugins:pillow"

    def codec(self) -> nn.Module:
        """JPEG of quality 30."""
        from icmh_plugins.codecs.classical import JPEG

        return JPEG(30)
