"""Speed and memory, as ratios measured side by side in one run.

    python benchmarks/speed.py [--quick] [--threads N] [--only sfma coding training attaching files startup]

Writes benchmarks/results/speed.json and the tables of docs/speed.md; with --quick or --only it only prints them.
Under five minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import startup
import torch
from published import PlainLoop, PublishedSFMA, use_published_form
from speed_tables import fill_page, tables
from timing import Stopwatch, in_turns, medians, seconds
from torch import Tensor, nn

import icmh_plugins as icmh
from icmh_plugins.adapters.sfma import SFMA
from icmh_plugins.adapters.slot import slots
from icmh_plugins.bitstream import identity, views
from icmh_plugins.bitstream.runtime import coding_mode
from icmh_plugins.demo.assets import shipped_adapter
from icmh_plugins.demo.pictures import load_pictures

CODEC, ADAPTER = "mbt2018-mean-n64m96-q3", "sfma-classification-q3"
SIZES = ((512, 768), (224, 224))
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        repeats: Timed rounds.
        threads: Threads of everything but the SFMA section, which also runs on one.
        widths: (C, n) of the SFMA section.
        crop: Side of the training pictures.
        batch: Their number in a batch.
    """

    repeats: int
    threads: int
    widths: tuple[tuple[int, int], ...] = ((64, 32), (128, 64))
    crop: int = 192
    batch: int = 8


def sfma(effort: Effort) -> list[dict[str, Any]]:
    """Forward and backward, and forward alone, of one adapter against the published form, in both memory formats."""
    rows = []
    for threads in sorted({1, effort.threads}):
        torch.set_num_threads(threads)
        for channels, middle in effort.widths:
            for stride in (2, 4, 8):
                for memory_format in (torch.channels_last, torch.contiguous_format):
                    side = effort.crop // stride
                    facts = {"threads": threads, "channels": channels, "middle": middle, "stride": stride}
                    shape = (effort.batch, channels, side, side)
                    rows.append(facts | _sfma(shape, middle, memory_format, effort.repeats))
    torch.set_num_threads(effort.threads)
    return rows


def _sfma(shape: tuple[int, ...], middle: int, memory_format: torch.memory_format, repeats: int) -> dict[str, Any]:
    torch.manual_seed(0)
    site = icmh.Site("g_a.1", "analysis", shape[1], 2, "GDN")
    ours = SFMA(site, SFMA.make_config({"middle_dim": middle, "init": "paper"}))
    theirs = PublishedSFMA(ours)
    x, weights = (torch.randn(shape).to(memory_format=memory_format) for _ in range(2))
    x.requires_grad_()

    def step(module: nn.Module) -> list[Tensor]:
        out = module(x)
        return [out.detach(), *torch.autograd.grad(out, [x, *ours.parameters()], weights)]

    def forward(module: nn.Module) -> None:
        with torch.no_grad():
            module(x)

    pairs = zip(step(ours), step(theirs), strict=True)
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    forms = {"ours": ours, "published": theirs}
    return {
        "memory_format": str(memory_format).removeprefix("torch."),
        "largest_relative_difference": difference,
        "step": in_turns({name: partial(step, form) for name, form in forms.items()}, repeats),
        "forward": in_turns({name: partial(forward, form) for name, form in forms.items()}, repeats),
    }


def coding(effort: Effort) -> list[dict[str, Any]]:
    """Encoding and decoding: the codec's own methods, our streams with the base, our streams with SFMA at six sites."""
    base = icmh.load_codec(CODEC)
    adapted = copy.deepcopy(base)
    icmh.load_adapter(adapted, shipped_adapter(ADAPTER))
    return [_coding(base, adapted, _picture(*size), effort.repeats) for size in SIZES]


def _coding(base: nn.Module, adapted: nn.Module, image: Tensor, repeats: int) -> dict[str, Any]:
    streams = {"base": icmh.encode(base, image), "sfma": icmh.encode(adapted, image)}
    padded = nn.functional.pad(image, [0, -image.shape[-1] % 64, 0, -image.shape[-2] % 64], mode="replicate")
    with coding_mode(base):
        coded = base.compress(padded)

    def stock(method: str, *arguments: Any) -> None:
        with coding_mode(base):
            getattr(base, method)(*arguments)

    encoders = {
        "stock": partial(stock, "compress", padded),
        "base": partial(icmh.encode, base, image),
        "sfma": partial(icmh.encode, adapted, image),
    }
    decoders = {
        "stock": partial(stock, "decompress", coded["strings"], coded["shape"]),
        "base": partial(icmh.decode, base, streams["base"]),
        "sfma": partial(icmh.decode, adapted, streams["sfma"]),
    }
    return {
        "height": image.shape[-2],
        "width": image.shape[-1],
        "bytes": {name: len(stream) for name, stream in streams.items()},
        "encode": in_turns(encoders, repeats),
        "decode": in_turns(decoders, repeats),
        "encode_parts": _parts(adapted, encoders["sfma"], "entropy coding", repeats),
        "decode_parts": _parts(adapted, decoders["sfma"], "check: coding again", repeats),
    }


def _parts(codec: nn.Module, action: Callable[[], Any], coding_label: str, repeats: int) -> dict[str, float]:
    """Seconds of one call by what is being done."""
    from compressai.entropy_models.entropy_models import _EntropyCoder

    entropy = [
        (model, method, "entropy coding")
        for model in (codec.entropy_bottleneck, codec.gaussian_conditional)
        for method in ("compress", "decompress", "build_indexes")
        if hasattr(model, method)
    ]
    adapters = [
        (adapter, method, label)
        for _, slot in slots(codec)
        for adapter in slot.adapters.values()
        for method, label in (
            ("_spatial", "SFMA: spatial branch"),
            ("_frequency", "SFMA: frequency branch"),
            ("forward", "SFMA: projections"),
        )
    ]
    watch = Stopwatch()
    with watch.watching(
        *entropy,
        *adapters,
        *((getattr(codec, name), "forward", "base: g_a, g_s") for name in ("g_a", "g_s")),
        *((getattr(codec, name), "forward", "base: h_a, h_s") for name in ("h_a", "h_s")),
        (_EntropyCoder, "encode_with_indexes", coding_label),
        (identity, "base_fingerprint", "fingerprints"),
        (identity, "tables_fingerprint", "fingerprints"),
        (views, "adapter_digest", "fingerprints"),
    ):
        for _ in range(repeats):
            with watch.under("the rest"):
                action()
    return {label: total / repeats for label, total in watch.totals.items()}


def training(effort: Effort) -> dict[str, Any]:
    """A training step of `fit` against a plain loop: time in turns, memory in processes of their own."""
    loops = {kind: _loop(kind, effort) for kind in ("ours", "plain")}
    times = [{kind: loop(2) for kind, loop in loops.items()} for _ in range(effort.repeats + 1)][1:]
    return {
        "crop": effort.crop,
        "batch": effort.batch,
        "seconds": medians(times),
        "peak_bytes": {kind: _peak(kind, effort) for kind in loops},
    }


def _loop(kind: str, effort: Effort) -> Callable[[int], float]:
    """A function that trains for some steps and returns seconds a step."""
    codec = icmh.attach_adapter(icmh.load_codec(CODEC), "sfma", middle_dim=32)
    task = icmh.create_task("classification", network="mobilenetv2_100", pretrained=False)
    images = [picture["image"] for picture in load_pictures(None, None, effort.crop)]
    images = [image[:, : effort.crop, : effort.crop] for image in images[: effort.batch]]
    if kind == "plain":
        use_published_form(codec)
        network = task.network.network.requires_grad_(True)
        loop = PlainLoop(codec, network, task.network.layers, lmbda=1.0)
        return lambda steps: loop.run(images, effort.batch, steps)
    options = {"lmbda": 1.0, "batch_size": effort.batch, "crop": effort.crop, "progress": False}
    return lambda steps: icmh.fit(codec, task, images, steps=steps, **options).seconds / steps


def _peak(kind: str, effort: Effort) -> int:
    arguments = [sys.executable, __file__, "--peak", kind, "--threads", str(effort.threads), "--crop", str(effort.crop)]
    return int(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_peak(kind: str, effort: Effort) -> None:
    """Print by how many bytes two training steps raise this process's memory above what it has before."""
    loop = _loop(kind, effort)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    loop(2)
    print(_status("VmHWM") - before)


def _status(field: str) -> int:
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def attaching(effort: Effort) -> dict[str, float]:
    """Median seconds of the verbs around adapters, each on codecs loaded anew."""
    return medians([_attaching(icmh.load_codec(CODEC)) for _ in range(effort.repeats)])


def _attaching(codec: nn.Module) -> dict[str, float]:
    folder = shipped_adapter(ADAPTER)
    return {
        "attach_adapter, the codec is probed": seconds(lambda: icmh.attach_adapter(codec, "sfma", middle_dim=32)),
        "detach_adapter": seconds(lambda: icmh.detach_adapter(codec)),
        "attach_adapter, probed before": seconds(lambda: icmh.attach_adapter(codec, "sfma", middle_dim=32)),
        "load_adapter": seconds(lambda: icmh.load_adapter(codec, folder)),
        "verify_identity (256x384)": seconds(lambda: icmh.verify_identity(codec)),
    }


def files(effort: Effort) -> list[dict[str, Any]]:
    """Bytes of an adapter folder against those of the whole adapted codec's state dict."""
    from compressai.models import MeanScaleHyperprior

    published = MeanScaleHyperprior(128, 192)
    published.update(force=True)
    return [_files("mbt2018-mean N=64 M=96", icmh.load_codec(CODEC), 32), _files("mbt2018-mean q1-4", published, 64)]


def _files(name: str, codec: nn.Module, middle: int) -> dict[str, Any]:
    icmh.attach_adapter(codec, "sfma", middle_dim=middle)
    with tempfile.TemporaryDirectory() as scratch:
        folder = icmh.save_adapter(codec, Path(scratch) / "adapter")
        adapter = sum(path.stat().st_size for path in folder.iterdir())
        whole = {**codec.state_dict(), **{f"adapters.{i}": p for i, p in enumerate(icmh.adapter_parameters(codec))}}
        torch.save(whole, Path(scratch) / "whole.pth")
        size = (Path(scratch) / "whole.pth").stat().st_size
    return {"codec": name, "middle": middle, "adapter_folder": adapter, "state_dict": size}


def startup_times(effort: Effort) -> dict[str, Any]:
    """Start-up times of fresh processes."""
    return startup.measure(2 * effort.repeats + 1)


SECTIONS = {
    "sfma": sfma,
    "coding": coding,
    "training": training,
    "attaching": attaching,
    "files": files,
    "startup": startup_times,
}


def _picture(height: int, width: int) -> Tensor:
    picture = load_pictures(None, 1, 512)[0]["image"][None]
    return nn.functional.interpolate(picture, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def _machine(effort: Effort) -> dict[str, Any]:
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "threads": effort.threads,
        "torch": torch.__version__,
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="little work, to see that it runs")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--peak", choices=("ours", "plain"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    effort = Effort(5, args.threads, crop=args.crop)
    if args.quick:
        effort = Effort(2, args.threads, widths=((64, 32),), crop=128)
    torch.set_num_threads(effort.threads)
    if args.peak:
        print_peak(args.peak, effort)
        return
    results: dict[str, Any] = {"machine": _machine(effort)}
    for name in args.only:
        results[name] = SECTIONS[name](effort)
        print(f"{name} measured", flush=True)
    print(tables(results))
    if not args.quick and len(args.only) == len(SECTIONS):
        (HERE / "results" / "speed.json").write_text(json.dumps(results, indent=1) + "\n")
        fill_page(HERE.parent / "docs" / "speed.md", results)


if __name__ == "__main__":
    main()
