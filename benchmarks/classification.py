"""SFMA on frozen codecs for classification, measured by real streams.

    python benchmarks/classification.py train   --out runs/classification [--method sfma ...]
    python benchmarks/classification.py measure --out runs/classification [--method sfma ...]
    python benchmarks/classification.py report  --out runs/classification

Trains on ImageNet training, BSDS500 training and COCO training pictures, for timm's mobilenetv2_100; reports on the
650 ImageNet validation pictures. Every method has the same steps, batches and schedule: q3 first, then q4, q2 and q1,
each from the adapter of a rate before it; in the long schedule every rate then goes on. The method "sfma-faithful" goes
on from SFMA's last runs, with the picture itself as one more term. Each stage can be stopped and called again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from measuring import (
    CODECS,
    RESULTS,
    classifiers,
    copy_adapter,
    imagenet_val,
    mobilenetv2,
    read_options,
    stages,
    training_pictures,
)
from torch import nn

import icmh_plugins as icmh
from icmh_plugins.evaluation.compare import compare
from icmh_plugins.evaluation.curves import RateCurve, join
from icmh_plugins.viz.curves import plot_curves


class Method(NamedTuple):
    """What is trained: an adapter with its options, or the whole codec (None); and what it adds to `LOSS`."""

    adapter: str | None
    options: Mapping[str, Any]
    loss: Mapping[str, Any]


METHODS = {
    "sfma": Method("sfma", {"middle_dim": 32}, {}),
    "sfma-faithful": Method("sfma", {"middle_dim": 32}, {"pixel_weight": 0.5}),
    "sma": Method("sfma", {"middle_dim": 32, "variant": "sma"}, {}),
    "fma": Method("sfma", {"middle_dim": 32, "variant": "fma"}, {}),
    "bottleneck": Method("bottleneck", {"middle_dim": 96}, {}),
    "full": Method(None, {}, {}),
}

LAMBDAS = {1: 0.27, 2: 0.52, 3: 1.0, 4: 1.94}
"""Weight of the distortion by rate: the ratios of the published ones (1.8, 3.5, 6.7, 13)."""

SCHEDULES: dict[str, dict[str, tuple[int, str | None, int, float]]] = {
    "short": {
        "q3": (3, None, 600, 1.5e-3),
        "q4": (4, "q3", 200, 1.5e-3),
        "q2": (2, "q3", 200, 1.5e-3),
        "q1": (1, "q2", 200, 1.5e-3),
    },
    "faithful": {
        "q3": (3, "sfma/q3-third", 2500, 1.5e-3),
        "q2": (2, "sfma/q2-third", 2500, 1.5e-3),
        "q4": (4, "sfma/q4-third", 2500, 1.5e-3),
        "q1": (1, "sfma/q1-third", 2500, 1.5e-3),
    },
    "long": {
        "q3": (3, None, 1600, 1.5e-3),
        "q4": (4, "q3", 600, 1.5e-3),
        "q2": (2, "q3", 600, 1.5e-3),
        "q1": (1, "q2", 600, 1.5e-3),
        "q3-refined": (3, "q3", 1600, 8e-4),
        "q4-refined": (4, "q4", 800, 8e-4),
        "q2-refined": (2, "q2", 1200, 8e-4),
        "q1-refined": (1, "q1", 800, 8e-4),
        "q3-third": (3, "q3-refined", 2500, 1.5e-3),
        "q4-third": (4, "q4-refined", 2500, 1.5e-3),
        "q2-third": (2, "q2-refined", 2500, 1.5e-3),
        "q1-third": (1, "q1-refined", 2500, 1.5e-3),
    },
}
"""Runs in order: rate, the run it starts from, steps, learning rate. Of the finished runs of a rate the last counts.

"short" compares methods at equal budgets; "long" then "faithful" made the adapters that ship."""

LOSS = {
    "normalise": "relative",
    "layers": ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6", "classifier"),
}
"""Label-free: the last layer of each resolution and the logits, each relative to its reference."""

FIT = {
    "crop": 192, "batch_size": 4, "warmup": 20, "amp": "bf16", "full_precision_tail": 0.1, "checkpoint_every": 100,
    "log_every": 100,
}  # fmt: skip


def train(method: str, schedule: str, runs: list[str] | None, out: Path) -> None:
    """Train one method by a schedule; finished runs are left alone."""
    pictures, task = training_pictures(), mobilenetv2(**LOSS, **METHODS[method].loss)
    for run in runs or SCHEDULES[schedule]:
        quality, start, steps, lr = SCHEDULES[schedule][run]
        folder = out / method / run
        if not _finished(folder, method):
            codec, target = _prepared(method, quality, start and out / (start if "/" in start else f"{method}/{start}"))
            icmh.fit(
                codec, task, pictures, lmbda=LAMBDAS[quality], out=folder, trainable=target, steps=steps, lr=lr, **FIT,
            )  # fmt: skip


def _finished(folder: Path, method: str) -> bool:
    return (folder / method / "adapter_config.json").is_file() or (folder / "codec.safetensors").is_file()


def _prepared(method: str, quality: int, start: Path | None) -> tuple[nn.Module, str]:
    """A codec ready to train, from the start or from the same method at another rate, and what of it trains."""
    adapter, config, _ = METHODS[method]
    if adapter is None:
        codec = icmh.load_codec(CODECS[quality - 1]) if start is None else _tuned_codec(start)
        return codec.requires_grad_(True), "codec"
    codec = icmh.attach_adapter(icmh.load_codec(CODECS[quality - 1]), adapter, name=method, **config)
    if start is not None:
        copy_adapter(codec, method, start / start.parent.name)
    return codec, "adapter"


def _tuned_codec(folder: Path) -> nn.Module:
    return icmh.load_codec("mbt2018-mean", checkpoint=folder / "codec.safetensors")


def measure(method: str, out: Path, rates: list[int], rows: slice, transfer: bool) -> None:
    """Code the validation pictures at the given rates and let the training network, or all three, judge them.

    The curve is saved once all four are asked for; what other processes have measured is then not measured again.
    """
    tasks, results = classifiers(transfer), []
    for quality in rates:
        codec, folder = _trained(method, quality, out), out / method
        folder.mkdir(parents=True, exist_ok=True)
        views = ("human",) if transfer and method.startswith("sfma") else ()
        result = icmh.evaluate(
            codec, tasks, imagenet_val(rows), views=views, name=method, label=f"q{quality}",
            protocol="native", resume=folder / f"records-q{quality}.jsonl",
        )  # fmt: skip
        print(result)
        results.append(result.curve)
    if len(results) == len(CODECS):
        join(method, results).save(out / f"{method}.json")


def _trained(method: str, quality: int, out: Path) -> nn.Module:
    codec = icmh.load_codec(CODECS[quality - 1])
    if method == "base":
        return codec
    folder = last_run(out / method, quality)
    if method == "full":
        return _tuned_codec(folder)
    icmh.load_adapter(codec, folder / method)
    return codec


def last_run(folder: Path, quality: int) -> Path:
    """The last finished run of a rate of the method that trains in `folder`."""
    runs = [run for schedule in SCHEDULES.values() for run, (rate, *_) in schedule.items() if rate == quality]
    finished = [folder / run for run in runs if _finished(folder / run, folder.name)]
    if not finished:
        raise SystemExit(f"no finished run of q{quality} in {folder}: train first")
    return finished[-1]


def report(out: Path, name: str) -> None:
    """Compare every measured method with the base codec: JSON, a plot, and a Markdown table on standard output."""
    curves = {path.stem: RateCurve.load(path) for path in sorted(out.glob("*.json"))}
    base, others = curves["base"], [curves[method] for method in METHODS if method in curves]
    base = _on_images_of(base, others[0])
    shared = set(base.metrics).intersection(*(curve.metrics for curve in others))
    metrics = [metric for metric in base.metrics if metric in shared and metric.endswith(("/top1", "/agreement"))]
    compared = {metric: [compare(base, curve, metric) for curve in others] for metric in metrics}
    columns = ("bpp", "bpp-with-header", "psnr-rgb", *metrics)
    points = {c.name: {column: c.values(column).tolist() for column in columns} for c in (base, *others)}
    deltas = {metric: [each.to_dict() for each in rows] for metric, rows in compared.items()}
    results = {"images": len(base.images), "points": points, "comparisons": deltas}
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    top1 = "mobilenetv2/top1"
    plot_curves([base, *others], top1, RESULTS / f"{name}.png", comparisons=compared[top1])
    print("| method | network | BD-rate at equal top-1 | top-1 at equal rate | BD-rate at equal agreement |")
    print("|---|---|---|---|---|")
    for index, curve in enumerate(others):
        for network in dict.fromkeys(metric.partition("/")[0] for metric in metrics):
            first, second = compared[f"{network}/top1"][index], compared[f"{network}/agreement"][index]
            cells = (first.rate.text("%"), first.quality.text("points", 100), second.rate.text("%"))
            print("|", " | ".join((curve.name, network, *cells)), "|")


def _on_images_of(base: RateCurve, other: RateCurve) -> RateCurve:
    """The base curve on the pictures that another curve was measured on."""
    if base.images == other.images:
        return base
    rows = [base.images.index(image) for image in other.images]
    points = []
    for point in base.points:
        per_image = {key: values[rows] for key, values in point.per_image.items()}
        points.append(replace(point, per_image=per_image, values={k: float(v.mean()) for k, v in per_image.items()}))
    return replace(base, points=tuple(points), images=other.images)


def main() -> None:
    """Run one stage."""
    parser = stages(__doc__, "runs/classification", threads=2)
    parser.add_argument("--method", nargs="*", default=list(METHODS), choices=["base", *METHODS])
    parser.add_argument("--schedule", choices=tuple(SCHEDULES), default="long")
    parser.add_argument("--run", nargs="*", help="some runs of the schedule only, for several processes side by side")
    parser.add_argument("--rate", nargs="*", type=int, default=[1, 2, 3, 4], help="measure these only, for the same")
    parser.add_argument("--every", type=int, default=1, help="measure every n-th picture only")
    parser.add_argument("--transfer", action="store_true", help="measure with networks that training never saw, too")
    parser.add_argument("--name", default="classification", help="name of the reported files")
    args = read_options(parser)
    if args.stage == "report":
        report(args.out, args.name)
        return
    for method in args.method:
        if args.stage == "measure":
            measure(method, args.out, args.rate, slice(None, None, args.every), args.transfer)
        elif method != "base":
            train(method, args.schedule, args.run, args.out)


if __name__ == "__main__":
    main()
