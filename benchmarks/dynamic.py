"""The dynamic adaptation network behind frozen codecs for classification, measured by real streams.

    python benchmarks/dynamic.py train   --out runs/dynamic [--only dynamic ...]
    python benchmarks/dynamic.py measure --out runs/dynamic [--only dynamic ...]
    python benchmarks/dynamic.py report  --out runs/dynamic

Three families: behind the four base codecs ("dynamic"), behind the same with their SFMA, which stays as it is
("both"), and behind JPEG ("jpeg"). The network never changes the bits, so with and without it are two views of one
stream. Trained on the pictures, network and loss of `classification.py`; reported on the 650 ImageNet validation
pictures. Each stage can be stopped and called again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from classification import FIT, LOSS, last_run
from measuring import (
    CODECS,
    RESULTS,
    classifiers,
    imagenet_val,
    in_view,
    mobilenetv2,
    read_options,
    stages,
    training_pictures,
)
from PIL import Image
from torch import nn

import icmh_plugins as icmh
from icmh_plugins.adapters.host import adapter_modules
from icmh_plugins.demo.assets import shipped_adapter
from icmh_plugins.evaluation.bootstrap import paired_difference
from icmh_plugins.evaluation.curves import RateCurve, RatePoint, join
from icmh_plugins.viz.curves import plot_curves

OPTIONS = {"width": 64, "unshuffle": 2}
"""Half the size and four times the channels: a training step takes less than half a second of one core."""

SETTINGS = {**FIT, "lr": 3e-4, "warmup": 100}
"""The first steps from nothing do harm at 1e-3: every weight of the last convolution moves at once."""


class Run(NamedTuple):
    """One training run.

    Attributes:
        quality: Rate of the base codec (1 to 4), or quality of JPEG.
        start: The run whose network it starts from; None: from nothing.
        steps: Optimiser steps.
    """

    quality: int
    start: str | None
    steps: int


RUNS = {
    "dynamic-1": Run(1, None, 1200),
    "dynamic-2": Run(2, "dynamic-1", 500),
    "dynamic-3": Run(3, "dynamic-2", 400),
    "dynamic-4": Run(4, "dynamic-3", 400),
    "both-1": Run(1, "dynamic-1", 350),
    "both-2": Run(2, "dynamic-2", 350),
    "both-3": Run(3, "dynamic-3", 350),
    "both-4": Run(4, "dynamic-4", 350),
    "jpeg-10": Run(10, "dynamic-1", 800),
    "jpeg-5": Run(5, "jpeg-10", 400),
    "jpeg-20": Run(20, "jpeg-10", 400),
    "jpeg-40": Run(40, "jpeg-20", 400),
}
"""In order; what stands before the dash is the family."""

WITHOUT = {"dynamic": "human", "both": "sfma", "jpeg": "human"}
"""The view without the network, by family."""

NAMES = {"dynamic": ("base", "dynamic"), "both": ("SFMA", "SFMA + dynamic"), "jpeg": ("JPEG", "JPEG + dynamic")}
"""Legends of the views without and with it."""


def family(run: str) -> str:
    """The family of a run."""
    return run.partition("-")[0]


def train(run: str, pictures: Sequence[Image.Image], out: Path, sfma: Path | None, steps: int | None) -> None:
    """Train one run; a finished one is left alone."""
    _, start, full = RUNS[run]
    if (out / run / "dynamic" / "adapter_config.json").is_file():
        return
    codec = with_sfma(run, sfma)
    torch.manual_seed(0)  # of the first values
    icmh.attach_adapter(codec, "dynamic", **OPTIONS)
    if start is not None:
        network(codec).load_state_dict(network(trained(start, out, sfma)).state_dict())
    icmh.set_adapter(codec, ["sfma", "dynamic"] if family(run) == "both" else "dynamic")
    icmh.fit(
        codec, mobilenetv2(**LOSS), pictures, lmbda=1.0, mode="head-only", out=out / run,
        steps=min(full, steps or full), **SETTINGS,
    )  # fmt: skip


def with_sfma(run: str, sfma: Path | None) -> nn.Module:
    """The codec of a run, with the SFMA of its rate in the family "both"."""
    quality = RUNS[run].quality
    if family(run) == "jpeg":
        return icmh.load_codec(f"jpeg:{quality}")
    codec = icmh.load_codec(CODECS[quality - 1])
    if family(run) == "both":
        folder = last_run(sfma, quality) / sfma.name if sfma else shipped_adapter(f"sfma-classification-q{quality}")
        icmh.load_adapter(codec, folder, name="sfma")
    return codec


def trained(run: str, out: Path, sfma: Path | None) -> nn.Module:
    """The codec of a finished run, everything active."""
    codec = with_sfma(run, sfma)
    icmh.load_adapter(codec, out / run / "dynamic", name="dynamic")
    return codec


def network(codec: nn.Module) -> nn.Module:
    """The dynamic adaptation network on a codec."""
    (module,) = adapter_modules(codec, "dynamic").values()
    return module


def measure(run: str, out: Path, sfma: Path | None, rows: slice, transfer: bool) -> None:
    """Code the validation pictures once and let the classifiers judge them with and without the network."""
    views, log = (WITHOUT[family(run)],), out / f"records-{run}.jsonl"
    codec, tasks = trained(run, out, sfma), classifiers(transfer)
    result = icmh.evaluate(codec, tasks, imagenet_val(rows), views=views, name=run, label=run, resume=log)
    print(result)
    result.curve.save(out / f"{run}.json")


def report(out: Path, name: str) -> None:
    """Gains with their intervals: JSON, a plot for the base codecs and one for JPEG, a Markdown table."""
    measured = {run: RateCurve.load(out / f"{run}.json") for run in RUNS if (out / f"{run}.json").is_file()}
    rows = [row for run, curve in measured.items() for row in gains(run, curve.points[0])]
    (RESULTS / f"{name}.json").write_text(json.dumps({"options": OPTIONS, "rows": rows}, indent=1) + "\n")
    curves: dict[str, list[RateCurve]] = {}
    for each in WITHOUT:
        found = [curve for run, curve in measured.items() if family(run) == each]
        if found:
            pair = zip(NAMES[each], (WITHOUT[each], ""), strict=True)
            curves[each] = [join(legend, [in_view(curve, view) for curve in found]) for legend, view in pair]
    learned = [curve for each in ("dynamic", "both") for curve in curves.get(each, [])]
    for suffix, drawn in (("", learned), ("-jpeg", curves.get("jpeg", []))):
        if drawn:
            plot_curves(drawn, "mobilenetv2/top1", RESULTS / f"{name}{suffix}.png")
    print_table(rows)


def gains(run: str, point: RatePoint) -> list[dict[str, Any]]:
    """What the network adds at one point, by metric, with 95 % intervals of the paired bootstrap."""
    view, rows = WITHOUT[family(run)], []
    for metric in point.values:
        if metric.endswith(("/top1", "/agreement")) or metric == "psnr-rgb":
            before, after = point.per_image[f"{metric}@{view}"], point.per_image[metric]
            rows.append({
                "run": run, "metric": metric, "bpp": point.bpp, "images": len(after),
                "without": float(np.mean(before)), "with": float(np.mean(after)),
                "gain": asdict(paired_difference(before, after)),
            })  # fmt: skip
    return rows


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Top-1 without and with the network, as Markdown."""
    print("| behind | bpp | network | top-1 without | with | gain, points | PSNR without | with |")
    print("|---|---|---|---|---|---|---|---|")
    psnr = {row["run"]: row for row in rows if row["metric"] == "psnr-rgb"}
    for row in rows:
        if not row["metric"].endswith("/top1"):
            continue
        low, high = 100 * row["gain"]["low"], 100 * row["gain"]["high"]
        fidelity = psnr[row["run"]]
        cells = (
            row["run"], f"{row['bpp']:.3f}", row["metric"].partition("/")[0], f"{100 * row['without']:.1f}",
            f"{100 * row['with']:.1f}", f"{100 * row['gain']['value']:+.1f} [{low:+.1f}, {high:+.1f}]",
            f"{fidelity['without']:.2f}", f"{fidelity['with']:.2f}",
        )  # fmt: skip
        print("|", " | ".join(cells), "|")


def main() -> None:
    """Run one stage."""
    parser = stages(__doc__, "runs/dynamic", threads=1)
    parser.add_argument("--only", nargs="*", default=list(WITHOUT), help="families or runs")
    parser.add_argument("--sfma", type=Path, help="folder of a method of classification.py instead of the shipped SFMA")
    parser.add_argument("--steps", type=int, help="at most so many steps a run, for a try")
    parser.add_argument("--every", type=int, default=1, help="measure every n-th picture only")
    parser.add_argument("--transfer", action="store_true", help="measure with networks that training never saw, too")
    parser.add_argument("--name", default="dynamic", help="name of the reported files")
    args = read_options(parser)
    if args.stage == "report":
        report(args.out, args.name)
        return
    chosen = [run for run in RUNS if run in args.only or family(run) in args.only]
    pictures = training_pictures() if args.stage == "train" else []
    for run in chosen:
        if args.stage == "train":
            train(run, pictures, args.out, args.sfma, args.steps)
        else:
            measure(run, args.out, args.sfma, slice(None, None, args.every), args.transfer)


if __name__ == "__main__":
    main()
