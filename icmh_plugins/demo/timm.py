"""What the demo takes from timm: the architecture of its classifier, and the names of ImageNet's classes."""

from __future__ import annotations

from torch import nn

from icmh_plugins._deps import require


def network() -> nn.Module:
    """EfficientNet-Lite0 without its weights."""
    return require("timm", "the demo's classifier").create_model("tf_efficientnet_lite0", pretrained=False)


def class_names() -> list[str]:
    """The 1000 classes of ImageNet in their usual order, each by its first name: ``"Egyptian cat"``."""
    info = require("timm.data", "the names of ImageNet's classes").ImageNetInfo("imagenet-1k")
    return [description.partition(",")[0] for description in info.label_descriptions()]
