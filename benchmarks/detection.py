"""SFMA and the dynamic network for detection and instance segmentation, measured by real streams on COCO.

    pip install examples/icmh-yolo
    python benchmarks/detection.py train   --out runs/detection [--only sfma ...]
    python benchmarks/detection.py measure --out runs/detection [--only sfma ...]
    python benchmarks/detection.py report  --out runs/detection

The task network is YOLOv8n-seg through the plug-in package in `examples/icmh-yolo`, without labels, on COCO training
and BSDS500 training pictures. SFMA is trained on whole pictures, for the neck's features, the class scores and the
picture, from the shipped adapter for classification of the same rate; the dynamic network on crops, for the features,
from that of the rate before it. Reported on 100 pictures of COCO val2017. Measuring "dynamic" and "both" gives "base"
and "sfma" too: they are views of the same streams. Measured only: "uncompressed", what the detector scores on the
pictures themselves; "cls", that shipped adapter as it is; "base-on-imagenet" and "sfma-on-imagenet", what the adapter
for detection does for classifiers on the 650 ImageNet validation pictures. Each stage can be stopped and called again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from measuring import (
    CODECS,
    RESULTS,
    classifiers,
    copy_adapter,
    data_folder,
    imagenet_val,
    in_view,
    read_options,
    stages,
)
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

import icmh_plugins as icmh
from icmh_plugins.data.coco import CocoImages
from icmh_plugins.demo.assets import shipped_adapter
from icmh_plugins.evaluation.compare import Comparison, compare
from icmh_plugins.evaluation.curves import RateCurve, join
from icmh_plugins.viz.curves import plot_curves

SFMA = {"middle_dim": 32}
DYNAMIC = {"width": 64, "unshuffle": 2}


class Recipe(NamedTuple):
    """How a method is trained.

    Attributes:
        task: Options of the task.
        lmbda: Weight of its relative distortion by rate; where the bits cannot change, only its scale in clipping.
        steps: Optimiser steps by rate.
        fit: More options of `fit`.
    """

    task: dict[str, Any]
    lmbda: tuple[float, ...]
    steps: tuple[int, ...]
    fit: dict[str, Any]


_HEAD = {"mode": "head-only", "lr": 3e-4, "crop": 256, "batch_size": 4}
RECIPES = {
    "sfma": Recipe(
        {"levels": ("p3", "p4", "p5", "scores"), "pixel_weight": 1.0}, (0.6, 1.1, 2.0, 4.0), (250, 250, 250, 250),
        {"lr": 2e-4, "crop": None, "batch_size": 2},
    ),
    "dynamic": Recipe({}, (0.8, 1.6, 3.0, 6.0), (300, 150, 150, 150), _HEAD),
    "both": Recipe({}, (0.8, 1.6, 3.0, 6.0), (150, 150, 150, 150), _HEAD),
}  # fmt: skip

FIT = {"warmup": 20, "amp": "bf16", "full_precision_tail": 0.1, "checkpoint_every": 100, "log_every": 50}

VIEWS = {"dynamic": ("human", "base"), "both": ("sfma", "sfma")}
"""By method with a dynamic network: the view of its streams without that network, and the curve that this makes."""

START = "sfma-faithful"
ON_IMAGENET = {"base-on-imagenet": "base", "sfma-on-imagenet": "sfma"}
"""What is measured on ImageNet with classifiers, and which codec that is."""

UNCOMPRESSED = "uncompressed"
ONLY_MEASURED = ("base", "cls", UNCOMPRESSED, *ON_IMAGENET)

ORDER = ("base", "sfma", "dynamic", "both", "cls")
METRICS = ("box-AP", "mask-AP")


def train(method: str, rates: Sequence[int], out: Path) -> None:
    """Train one method; finished runs are left alone."""
    pictures, recipe = training_pictures(), RECIPES[method]
    task = yolo(**recipe.task)
    for quality in rates:
        folder = _folder(out, method, quality)
        if _finished(folder).is_file():
            continue
        codec = _prepared(method, quality, out)
        lmbda, steps = recipe.lmbda[quality - 1], recipe.steps[quality - 1]
        icmh.fit(codec, task, pictures, lmbda=lmbda, out=folder, steps=steps, **recipe.fit, **FIT)


def training_pictures() -> list[Image.Image]:
    """COCO training and BSDS500 training pictures, held in memory."""
    root = data_folder()
    folders = (root / "coco" / "images" / "train2017", root / "bsds500_train")
    return [Image.open(path).convert("RGB") for folder in folders for path in sorted(folder.glob("*.jpg"))]


def yolo(**options: Any) -> icmh.Task:
    """The task, found through its package's entry point."""
    return icmh.create_task("yolo-segmentation", folder=str(data_folder() / "weights"), **options)


def _folder(out: Path, method: str, quality: int) -> Path:
    return out / f"{method}-q{quality}"


def _adapter(method: str) -> str:
    return "sfma" if method == "sfma" else "dynamic"


def _finished(folder: Path) -> Path:
    return folder / _adapter(folder.name.partition("-")[0]) / "adapter_config.json"


def _prepared(method: str, quality: int, out: Path) -> nn.Module:
    """A codec ready to train one method."""
    codec = icmh.load_codec(CODECS[quality - 1])
    if method == "sfma":
        icmh.attach_adapter(codec, "sfma", **SFMA)
        copy_adapter(codec, "sfma", shipped_adapter(f"{START}-q{quality}"))
        return codec
    if method == "both":
        icmh.load_adapter(codec, _folder(out, "sfma", quality) / "sfma")
    icmh.attach_adapter(codec, "dynamic", **DYNAMIC)
    if method == "both":
        copy_adapter(codec, "dynamic", _folder(out, "dynamic", quality) / "dynamic")
        icmh.set_adapter(codec, ["sfma", "dynamic"])
    elif quality > 1:
        copy_adapter(codec, "dynamic", _folder(out, "dynamic", quality - 1) / "dynamic")
    return codec


def _trained(method: str, quality: int, out: Path) -> nn.Module:
    codec, method = icmh.load_codec(CODECS[quality - 1]), ON_IMAGENET.get(method, method)
    if method == "cls":
        icmh.load_adapter(codec, shipped_adapter(f"{START}-q{quality}"), name="cls")
    if method in ("sfma", "both"):
        icmh.load_adapter(codec, _folder(out, "sfma", quality) / "sfma")
    if method in VIEWS:
        icmh.load_adapter(codec, _folder(out, method, quality) / "dynamic")
    return codec


def measure(method: str, rates: Sequence[int], out: Path, curves: Path, rows: slice) -> None:
    """Code the validation pictures at the given rates; curves are saved in `curves` once all four are asked for."""
    view, without = VIEWS.get(method, ("", ""))
    tasks, pictures = _tasks_and_pictures(method, rows)
    (curves / "records").mkdir(parents=True, exist_ok=True)
    if method == UNCOMPRESSED:
        (curves / f"{method}.txt").write_text(json.dumps(_scores_uncoded(tasks, pictures)))
        return
    results = []
    for quality in rates:
        result = icmh.evaluate(
            _trained(method, quality, out), tasks, pictures, views=(view,) if view else (), name=method,
            label=f"q{quality}", resume=curves / "records" / f"{method}-q{quality}.jsonl",
        )  # fmt: skip
        print(result)
        results.append(result.curve)
    if len(results) < len(CODECS):
        return
    join(method, [in_view(curve, "") for curve in results]).save(curves / f"{method}.json")
    if view:
        join(without, [in_view(curve, view) for curve in results]).save(curves / f"{without}.json")


def _scores_uncoded(task: icmh.Task, pictures: Dataset) -> dict[str, float]:
    metric = task.metrics()
    for sample in pictures:
        image = sample["image"][None]
        metric.update(task.predict(image), {"image": image, "target": [sample["target"]]})
    return metric.compute()


def _tasks_and_pictures(method: str, rows: slice) -> tuple[Any, Dataset]:
    if method in ON_IMAGENET:
        return classifiers(transfer=True), imagenet_val(rows)
    root = data_folder() / "coco"
    return yolo(), CocoImages(root / "images" / "val2017", root / "instances_val2017.json", masks=True, rows=rows)


def report(out: Path) -> None:
    """Compare every measured method with the base codec: JSON, plots, and Markdown tables on standard output."""
    curves = [RateCurve.load(out / f"{name}.json") for name in ORDER if (out / f"{name}.json").is_file()]
    if not curves or curves[0].name != "base":
        raise SystemExit(f"no base.json in {out}: measure --only base, or dynamic, which measures it too")
    uncoded = json.loads((out / f"{UNCOMPRESSED}.txt").read_text())
    compared = {metric: [compare(curves[0], curve, metric) for curve in curves[1:]] for metric in METRICS}
    columns = ("bpp", "bpp-with-header", "psnr-rgb", *METRICS)
    results = {
        "images": len(curves[0].images),
        "uncompressed": uncoded,
        "points": {c.name: {column: c.values(column).tolist() for column in columns} for c in curves},
        "comparisons": {metric: [each.to_dict() for each in rows] for metric, rows in compared.items()},
    }
    other = _for_the_other_task(out, results)
    (RESULTS / "detection.json").write_text(json.dumps(results, indent=1) + "\n")
    for metric in METRICS:
        path, references = RESULTS / f"detection-{metric}.png", {"not coded": uncoded[metric]}
        plot_curves(curves, metric, path, comparisons=compared[metric], references=references)
    print("| method | bpp | box AP | mask AP | BD-rate, equal box AP | box AP, equal rate | BD-rate, equal mask AP |")
    print("|---|---|---|---|---|---|---|")
    for index, curve in enumerate(curves):
        scores = [" / ".join(f"{100 * value:.1f}" for value in curve.values(metric)) for metric in METRICS]
        cells = [curve.name, " / ".join(f"{value:.3f}" for value in curve.values("bpp")), *scores]
        if index:
            box, mask = (compared[metric][index - 1] for metric in METRICS)
            cells += [box.rate.text("%"), box.quality.text("points", 100), mask.rate.text("%")]
        print("|", " | ".join(cells), "|")
    for comparison in other:
        print("on ImageNet:", comparison.metric, comparison.rate.text("%"), comparison.quality.text("points", 100))


def _for_the_other_task(out: Path, results: dict[str, Any]) -> list[Comparison]:
    """What the adapter for detection does for classification."""
    files = [out / f"{name}.json" for name in ON_IMAGENET]
    if not all(file.is_file() for file in files):
        return []
    base, curve = map(RateCurve.load, files)
    compared = [compare(base, curve, metric) for metric in curve.metrics if metric.endswith("/top1")]
    results["on ImageNet"] = [each.to_dict() for each in compared]
    return compared


def main() -> None:
    """Run one stage."""
    parser = stages(__doc__, "runs/detection", threads=1)
    parser.add_argument("--only", nargs="*", default=list(RECIPES), choices=(*RECIPES, *ONLY_MEASURED))
    parser.add_argument("--rate", nargs="*", type=int, default=[1, 2, 3, 4], help="only these, for several processes")
    parser.add_argument("--every", type=int, default=1, help="measure every n-th picture only")
    args = read_options(parser)
    measured = args.out if args.every == 1 else args.out / f"every-{args.every}"
    if args.stage == "report":
        report(measured)
    for method in args.only if args.stage != "report" else ():
        if args.stage == "train":
            train(method, args.rate, args.out)
        else:
            measure(method, args.rate, args.out, measured, slice(None, None, args.every))


if __name__ == "__main__":
    main()
