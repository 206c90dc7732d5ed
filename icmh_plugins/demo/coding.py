"""Coding pictures to real stream files, decoding the files, and asking the classifier what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from icmh_plugins.adapters.host import host_of
from icmh_plugins.bitstream.coding import decode
from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.images import write_image
from icmh_plugins.demo.classifier import DISTANCE, Answer, EfficientNetLite0
from icmh_plugins.evaluation.curves import RateCurve
from icmh_plugins.evaluation.evaluate import evaluate
from icmh_plugins.evaluation.result import EvaluationResult

HUMAN, MACHINE = "human", "machine"
_PSNR = "psnr-rgb"


@dataclass(frozen=True)
class Coded:
    """One picture, coded once.

    Attributes:
        picture: Its name.
        rate: Label of the base codec ("q1").
        codec: What coded it ("base", "sfma").
        stream: The file.
        bits: All bits of the file, header included.
        bpp: The same over the pixels of the picture.
        psnr: Of what the classifier sees, dB.
        psnr_human: Of the stream decoded for people, dB; for the base codec the same.
        distance: Feature distance of what the classifier sees.
        answer: What it says.
        wanted: What it says about the uncompressed picture.
        views: Decoded pictures by view: "human" (decoded without adapter), and "machine" where an adapter is on.
    """

    picture: str
    rate: str
    codec: str
    stream: Path
    bits: int
    bpp: float
    psnr: float
    psnr_human: float
    distance: float
    answer: Answer
    wanted: Answer
    views: dict[str, Path]

    @property
    def same(self) -> bool:
        """The answer is the one on the uncompressed picture."""
        return self.answer.label == self.wanted.label


def code(
    model: nn.Module,
    classifier: EfficientNetLite0,
    pictures: Sequence[Sample],
    out: Path,
    *,
    rate: str,
    codec: str,
    name: str,
    progress: bool,
) -> tuple[RateCurve, list[Coded]]:
    """Code every picture into ``out/streams`` with the active adapters, decode the files into ``out/views``.

    Args:
        model: A codec with tables.
        classifier: Looks at the decoded pictures.
        pictures: What to code.
        out: Folder of the demo.
        rate: Label of the rate.
        codec: Short name of what codes, for files.
        name: The same for people, for legends.
        progress: Show a progress bar.

    Returns:
        The means as a curve of one point, and one row a picture.
    """
    folder = out / "streams" / rate / codec
    views = (HUMAN,) if _active(model) else ()
    result = evaluate(
        model, classifier, pictures, views=views, name=name, label=rate, save_streams=folder, progress=progress
    )
    streams = sorted(folder.glob("*.icmh"))
    rows = [_look(model, classifier, result, i, pictures[i]["image"], stream, out) for i, stream in enumerate(streams)]
    return result.curve, rows


def _look(
    model: nn.Module,
    classifier: EfficientNetLite0,
    result: EvaluationResult,
    index: int,
    image: Tensor,
    stream: Path,
    out: Path,
) -> Coded:
    views = _decoded(model, stream)
    picture, rate, codec = result.images[index], result.point.label, stream.parent.name
    bits = 8 * stream.stat().st_size
    scores = {key: float(values[index]) for key, values in result.per_image.items()}
    return Coded(
        picture=picture,
        rate=rate,
        codec=codec,
        stream=stream,
        bits=bits,
        bpp=bits / (image.shape[-2] * image.shape[-1]),
        psnr=scores[_PSNR],
        psnr_human=scores.get(f"{_PSNR}@{HUMAN}", scores[_PSNR]),
        distance=scores[DISTANCE],
        answer=classifier.answer(views.get(MACHINE, views[HUMAN])),
        wanted=classifier.answer(image),
        views=_written(views, out / "views" / rate, f"{picture}-{codec}"),
    )


def _decoded(model: nn.Module, stream: Path) -> dict[str, Tensor]:
    """The views of a stream file, (3, H, W) in [0, 1]."""
    names = dict(zip((HUMAN, MACHINE), (HUMAN, *_active(model)), strict=False))
    decoded = decode(model, stream.read_bytes(), views=list(names.values()))
    return {view: decoded[name][0].clamp(0, 1) for view, name in names.items()}


def _written(views: dict[str, Tensor], folder: Path, stem: str) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {view: folder / f"{stem}-{view}.png" for view in views}
    for view, path in paths.items():
        write_image(path, views[view])
    return paths


def _active(model: nn.Module) -> tuple[str, ...]:
    host = host_of(model)
    return host.active if host else ()
