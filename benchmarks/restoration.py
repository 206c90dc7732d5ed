"""Restoration behind frozen and jointly trained codecs, measured by real streams.

    python benchmarks/restoration.py train   --out runs/restoration [--method multi ...] [--scale 1]
    python benchmarks/restoration.py measure --out runs/restoration [--word noisy ...] [--every 2] [--niqe]
    python benchmarks/restoration.py report  --out runs/restoration

Trains on BSDS500 training pictures, degraded as they are read; reports on Kodak. The LL-ICM adapter has a small head
and is trained at q3 first, then at q2, q1 and q4, each from the rate before it. Compared are:

    base          the codec alone, which codes the degraded picture
    base+net      the same stream, decoded and then restored by a fixed network (FFDNet, PReNet, IAT)
    net+base      restored by that network first, then coded
    multi         one adapter for all degradations, with the condition from CLIP, on the frozen codec
    hint          the same, with the condition computed before coding and sent as a byte of the stream
    no-clip       the same head without a condition, everything else equal
    single-WORD   an adapter for one degradation, with a third of the steps: three of them cost what one "multi" costs
    joint         "multi", and then codec and adapter trained together

On "clean" pictures, which nothing was wrong with, an adapter should change nothing. Each stage can be stopped and
called again. Pictures and HTML stay in the output folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measuring import CODECS, RESULTS, copy_adapter, data_folder, in_view, read_options, stages
from PIL import Image
from restorers import restorer
from torch import nn

import icmh_plugins as icmh
from icmh_plugins.data.datasets import ImageFolder, Sample
from icmh_plugins.data.degradations import CLEAN
from icmh_plugins.data.degradations_dataset import Degrade
from icmh_plugins.data.paired import PairedImages, match_words
from icmh_plugins.data.paired_writing import write_pairs
from icmh_plugins.data.transforms import RandomCrop
from icmh_plugins.evaluation.compare import Comparison, compare
from icmh_plugins.evaluation.curves import RateCurve, join
from icmh_plugins.tasks.restoration_networks import Restorer
from icmh_plugins.viz.perception import plot_perception
from icmh_plugins.viz.report import Picture, write_report
from icmh_plugins.viz.strips import plot_strips, restoration_strip

WORDS = ("noisy", "rainy", "low-light")

HEAD = {"width": 16, "levels": 2, "blocks": 1, "condition_dim": 64}
METHODS: dict[str, tuple[tuple[str, ...], str]] = {
    "multi": (WORDS, "x_hat"),
    "hint": (WORDS, "hint"),
    "no-clip": (WORDS, "none"),
    **{f"single-{word}": ((word,), "x_hat") for word in WORDS},
    "joint": (WORDS, "x_hat"),
}
"""Degradations and source of the condition by method."""

OWN_STREAMS = ("hint", "joint")
"""Methods whose streams are not those of the codec alone."""

SCHEDULE = ((3, None, 450), (2, 3, 150), (1, 2, 150), (4, 3, 150))
"""Rate, the rate it starts from, and steps, in order. "single-WORD" has a third of the steps."""

JOINT_STEPS = 100
CODEC_LAMBDAS = {1: 0.0018, 2: 0.0035, 3: 0.0067, 4: 0.013}
"""What the base codecs were trained with, on 255^2 MSE."""

FIT = {"crop": 128, "batch_size": 4, "warmup": 20, "lr": 1e-3, "checkpoint_every": 100, "log_every": 50}
CLEAN_SHARE = 0.15


def train(method: str, out: Path, scale: float) -> None:
    """Train one method at every rate; finished runs are left alone."""
    words, condition = METHODS[method]
    share = 1 / 3 if len(words) == 1 else 1.0
    data = Degrade(_training_pictures(), list(words), clean_share=CLEAN_SHARE, transform=RandomCrop(FIT["crop"]))
    for quality, start, steps in SCHEDULE:
        folder = _folder(out, method, quality)
        if (folder / method / "adapter_config.json").is_file():
            continue
        codec = icmh.load_codec(CODECS[quality - 1])
        icmh.attach_adapter(codec, "ll-icm", name=method, condition=condition, **HEAD)
        if method == "joint":
            copy_adapter(codec, method, _folder(out, "multi", quality) / "multi")
            options, steps = _joint(quality), JOINT_STEPS
        else:
            if start is not None:
                copy_adapter(codec, method, _folder(out, method, start) / method)
            options = {"mode": "frozen", "lmbda": 1.0}
        steps = max(2, round(scale * share * steps))
        icmh.fit(codec, "restoration", data, out=folder, steps=steps, **{**FIT, **options})


def _joint(quality: int) -> dict[str, Any]:
    """Near the optimum the Charbonnier loss pulls about as much as 255^2 MSE does when it weighs 4000 times as much.

    A tenth of the codec's own lambda keeps the human view a picture of what was coded.
    """
    lmbda = CODEC_LAMBDAS[quality]
    return {"mode": "joint", "lmbda": 4000 * lmbda, "lmbda_h": 0.1 * lmbda, "codec_lr": 1e-4, "lr": 5e-4}


def _training_pictures() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted((data_folder() / "bsds500_train").glob("*.jpg"))]


def _folder(out: Path, method: str, quality: int) -> Path:
    return out / method / f"q{quality}"


def measure(word: str, out: Path, every: int, niqe: bool) -> None:
    """Code the Kodak pictures under one degradation at all rates; one curve for each method."""
    metrics = ("psnr", "ssim", *(("basicsr:niqe",) if niqe else ()))
    pictures, log = _pictures(word, out, every), out / "records" / f"{word}-{every}"
    log.mkdir(parents=True, exist_ok=True)
    plain = icmh.create_task("restoration", metrics=metrics)
    trained = [m for m in METHODS if word in (CLEAN, *METHODS[m][0]) and _trained(out, m)]
    frozen = [method for method in trained if method not in OWN_STREAMS]
    runs: dict[str, list[RateCurve]] = {}
    for quality in (1, 2, 3, 4):
        shared = {"label": f"q{quality}"}
        codec = icmh.load_codec(CODECS[quality - 1])
        for method in frozen:
            icmh.load_adapter(codec, _folder(out, method, quality) / method)
        with icmh.disable_adapters(codec):
            result = icmh.evaluate(
                codec, plain, pictures, views=frozen, resume=log / f"frozen-q{quality}.jsonl", **shared
            )
        for name in ("base", *frozen):
            runs.setdefault(name, []).append(in_view(result.curve, "" if name == "base" else name))
        codec = icmh.load_codec(CODECS[quality - 1])
        for name, (task, source) in _with_networks(word, out, every, metrics).items():
            result = icmh.evaluate(codec, task, source, resume=log / f"{name}-q{quality}.jsonl", **shared)
            runs.setdefault(name, []).append(result.curve)
        for method in (each for each in trained if each in OWN_STREAMS):
            codec = _with_own_streams(out, method, quality)
            result = icmh.evaluate(codec, plain, pictures, resume=log / f"{method}-q{quality}.jsonl", **shared)
            runs.setdefault(method, []).append(result.curve)
    folder, degraded = out / "curves" / word, {"degraded": _scores_uncoded(plain, pictures)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, curves in runs.items():
        curve = join("single" if name == f"single-{word}" else name, curves)
        replace(curve, extra=degraded).save(folder / f"{name}.json")


def _scores_uncoded(task: icmh.Task, pictures: PairedImages) -> dict[str, float]:
    """What the degraded pictures score before they are coded."""
    metric = task.metrics()
    for sample in pictures:
        metric.update(sample["image"][None], {"clean": sample["clean"][None]})
    return {name: value for name, value in metric.compute().items() if math.isfinite(value)}


def _pictures(word: str, out: Path, every: int) -> PairedImages:
    """Degraded Kodak pictures with their originals, as files of 8 bits."""
    split = f"val-{every}-{word}"
    if not (out / "pictures" / split).is_dir():
        kodak = ImageFolder(data_folder() / "kodak").take(slice(None, None, every))
        clean = word == CLEAN
        write_pairs(
            Degrade(kodak, WORDS[0] if clean else word, clean_share=float(clean), seed=1), out / "pictures", split
        )
    return PairedImages(match_words(out / "pictures", split))


def _with_networks(word: str, out: Path, every: int, metrics: Sequence[str]) -> dict[str, tuple[icmh.Task, Any]]:
    """The comparisons with fixed restoration networks: task and pictures by name."""
    if word == CLEAN:
        return {}
    pictures, network, split = _pictures(word, out, every), restorer(word), f"restored-{every}-{word}"
    if not (out / "pictures" / split).is_dir():
        write_pairs(_restored(pictures, Restorer(network)), out / "pictures", split)
    return {
        "base+net": (icmh.create_task("restoration", metrics=metrics, network=network), pictures),
        "net+base": (
            icmh.create_task("restoration", metrics=metrics),
            PairedImages(match_words(out / "pictures", split)),
        ),
    }


@torch.no_grad()
def _restored(pictures: PairedImages, network: nn.Module) -> Iterator[Sample]:
    for sample in pictures:
        name = sample["name"].rpartition("-")[2]  # without the number, so that it is numbered like its original
        yield {**sample, "name": name, "image": network(sample["image"][None])[0].clamp(0, 1)}


def _trained(out: Path, method: str) -> bool:
    return all((_folder(out, method, quality) / method / "adapter_config.json").is_file() for quality in (1, 2, 3, 4))


def _with_own_streams(out: Path, method: str, quality: int) -> nn.Module:
    folder, codec = _folder(out, method, quality), icmh.load_codec(CODECS[quality - 1])
    if method == "joint":
        codec = icmh.load_codec("mbt2018-mean", checkpoint=folder / "codec.safetensors")
    icmh.load_adapter(codec, folder / method)
    return codec


def report(out: Path) -> None:
    """JSON and a plot in the results, HTML with strips in the output folder, Markdown on standard output."""
    words = [word for word in (*WORDS, CLEAN) if (out / "curves" / word).is_dir()]
    curves = {word: _curves(out / "curves" / word) for word in words}
    compared = {word: _compared(each) for word, each in curves.items()}
    results = {word: _result(each, compared[word]) for word, each in curves.items()}
    (RESULTS / "restoration.json").write_text(json.dumps(results, indent=1) + "\n")
    _print_table(curves, compared)
    degraded = {word: each for word, each in curves.items() if word != CLEAN}
    inputs = {word: {"not coded": each[0].extra["degraded"]["psnr"]} for word, each in degraded.items()}
    plot_perception(degraded, "psnr", RESULTS / "restoration.png", references=inputs)
    strips = _strips(out, list(degraded))
    plot_strips(strips, out / "strips.png")
    caption = "Ideal picture; what was coded; what the codec decodes; what the adapter makes of it (multi, q3)"
    for word, each in curves.items():
        write_report(each, out / f"report-{word}.html", pictures=[Picture(out / "strips.png", caption)], title=word)


def _curves(folder: Path) -> list[RateCurve]:
    """In the order of the text above."""
    order = ("base", "base+net", "net+base", *METHODS)
    return [RateCurve.load(folder / f"{name}.json") for name in order if (folder / f"{name}.json").is_file()]


def _compared(curves: Sequence[RateCurve]) -> list[Comparison]:
    """PSNR of every method against the codec alone and with a fixed network; of "multi" and its variants."""
    named = {curve.name: curve for curve in curves}
    pairs = [(anchor, test) for anchor in ("base", "base+net") for test in named if test != anchor]
    pairs += [("no-clip", "multi"), ("single", "multi"), ("multi", "joint"), ("multi", "hint")]
    return [compare(named[a], named[t], "psnr") for a, t in pairs if a in named and t in named]


def _result(curves: Sequence[RateCurve], compared: Sequence[Comparison]) -> dict[str, Any]:
    metrics = [metric for metric in ("psnr", "ssim", "niqe") if metric in curves[0].metrics]
    columns = ("bpp", "bpp-with-header", *metrics)
    return {
        "images": len(curves[0].images),
        "degraded": curves[0].extra["degraded"],
        "points": {curve.name: {column: curve.values(column).tolist() for column in columns} for curve in curves},
        "comparisons": [each.to_dict() for each in compared],
    }


def _strips(out: Path, words: Sequence[str]) -> dict[str, Any]:
    codec = icmh.load_codec(CODECS[2])
    icmh.load_adapter(codec, _folder(out, "multi", 3) / "multi")
    split = {word: sorted((out / "pictures").glob(f"val-*-{word}"))[0].name for word in words}
    return {
        word: restoration_strip(codec, PairedImages(match_words(out / "pictures", split[word]))[index])
        for index, word in enumerate(words)
    }


def _print_table(curves: dict[str, list[RateCurve]], compared: dict[str, list[Comparison]]) -> None:
    print("| degradation | method | bpp | PSNR, dB | against base at equal rate | against base+net | BD-rate to base |")
    print("|---|---|---|---|---|---|---|")
    for word, each in curves.items():
        found = {(c.anchor, c.test): c for c in compared[word]}
        for curve in each:
            versus = [found.get((anchor, curve.name)) for anchor in ("base", "base+net")]
            gains = ["" if c is None else c.quality.text("dB") for c in versus]
            rate = "" if versus[0] is None else versus[0].rate.text("%")
            columns = (" / ".join(f"{v:.{d}f}" for v in curve.values(k)) for k, d in (("bpp", 3), ("psnr", 2)))
            print("|", " | ".join((word, curve.name, *columns, *gains, rate)), "|")


def main() -> None:
    """Run one stage."""
    parser = stages(__doc__, "runs/restoration", threads=1)
    parser.add_argument("--method", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--word", nargs="*", default=[*WORDS, CLEAN], choices=[*WORDS, CLEAN])
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all numbers of steps")
    parser.add_argument("--every", type=int, default=2, help="measure every n-th Kodak picture")
    parser.add_argument("--niqe", action="store_true", help="measure NIQE, too (needs basicsr, a second a picture)")
    args = read_options(parser)
    if args.stage == "report":
        report(args.out)
    elif args.stage == "train":
        for method in args.method:
            train(method, args.out, args.scale)
    else:
        for word in args.word:
            measure(word, args.out, args.every, args.niqe)


if __name__ == "__main__":
    main()
