"""A codec with its active adapters as files that run without this package: pictures to latents, latents to pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.bake import bake
from icmh_plugins.adapters.export_files import FORMATS, check_formats, replacing, write_half
from icmh_plugins.adapters.export_program import LARGEST
from icmh_plugins.adapters.export_sides import Half, check_transforms, halves, run_transform
from icmh_plugins.adapters.host import host_of, unwrap
from icmh_plugins.adapters.store import adapter_digest
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.modes import evaluating
from icmh_plugins.codecs.padding import min_size, pad_multiple
from icmh_plugins.errors import ConfigError

MANIFEST: Final = "export.json"

_TILED: Final = 1024  # pixels; adapters of the picture have tiles of 512 by default
_SIDES: Final = ("encoder", "decoder")


@dataclass(frozen=True)
class ExportReport:
    """What was exported; ``export.json`` in the folder says the same.

    Attributes:
        folder: Where the files are.
        codec: Class name of the codec.
        base: Fingerprint of the codec without its adapters.
        adapters: Active adapters: name to digest.
        size: Height and width of the pictures, or None for any multiples of `multiple` from `minimum`.
        multiple: What height and width must be multiples of.
        minimum: Smallest height and width.
        dtype: Number format of pictures and latents.
        latent_channels: Channels M of the latents.
        latent_stride: Pixels per element of the latents.
        files: For each file how far its output is from the codec's, at most, as a fraction of the largest value.
    """

    folder: Path
    codec: str
    base: str
    adapters: dict[str, str]
    size: tuple[int, int] | None
    multiple: int
    minimum: int
    dtype: str
    latent_channels: int
    latent_stride: int
    files: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form."""
        return asdict(self) | {"folder": str(self.folder)}


def export(
    model: nn.Module,
    folder: str | Path,
    *,
    size: tuple[int, int] | None = None,
    formats: Sequence[str] = ("pt2",),
    transforms: tuple[str, str] = ("g_a", "g_s"),
) -> ExportReport:
    """Write a codec's encoder and decoder, active adapters included, as files for other runtimes.

    ``encoder.pt2`` maps a picture (1, 3, H, W) in [0, 1] to the latents y (1, M, h, w) before entropy coding,
    ``decoder.pt2`` maps decoded latents to the picture, not clamped. Entropy coding stays with the codec. Every file is
    loaded again and compared with the codec before it takes its place; the report says how near it is.

    Args:
        model: A codec.
        folder: Where to write; an earlier export there is replaced.
        size: Height and width of the pictures; None for files that take every size that the codec takes.
        formats: "pt2" (torch.export) and "onnx" (needs the extra ``export``).
        transforms: The codec's encoder and decoder, by the names of its modules or methods.

    Raises:
        ConfigError: A wrong format or size.
        AdapterError: An active adapter cannot be a part of either file; the message says why.
        CodecError: The codec has no such transforms, or a format cannot express them.
        MissingDependencyError: A package for ONNX is absent.
        DataError: The folder cannot be written.
    """
    root, folder = unwrap(model), Path(folder)
    check_formats(formats)
    check_transforms(root, transforms)
    multiple = pad_multiple(root)
    minimum = _smallest(root, transforms[0]) if size is None else min_size(root)
    pictures = _pictures(root, size, multiple, minimum)
    encoder, decoder = halves(root, bake(root), transforms, pictures)
    units = None if size else (minimum // multiple, LARGEST // multiple)
    with replacing(folder, [MANIFEST, *(f"{side}.{kind}" for side in _SIDES for kind in FORMATS)]) as scratch:
        files: dict[str, float] = {}
        for half in (encoder, decoder):
            unit = multiple * half.inputs[0].shape[-1] // pictures[0].shape[-1]
            files |= write_half(half, scratch, formats, unit, units)
        report = _report(root, folder, size, minimum, encoder, files)
        facts = {key: value for key, value in report.to_dict().items() if key != "folder"}
        (scratch / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return report


def _smallest(root: nn.Module, encoder: str) -> int:
    """Height and width from which programs of any size work: latents 1 wide are taken for constants by torch.export."""
    side, multiple = min_size(root), pad_multiple(root)
    with evaluating(root):
        latents = run_transform(root, encoder, _picture(root, (side, side)))
    stride = side // latents.shape[-1]
    return max(side, -(-2 * stride // multiple) * multiple)


def _pictures(root: nn.Module, size: tuple[int, int] | None, multiple: int, minimum: int) -> list[Tensor]:
    """Seeded pictures: of the size asked, else of several, the smallest and one worked on in tiles among them."""
    least, tiled = minimum // multiple, -(-_TILED // multiple)
    units = [(least + 1, least + 2), (least, least), (least, max(tiled, least + 3))]
    sizes = [(multiple * height, multiple * width) for height, width in units]
    if size is not None:
        if any(side < minimum or side % multiple for side in size) or len(size) != 2:
            raise ConfigError(
                f"{type(root).__name__} takes heights and widths that are multiples of {multiple}, from {minimum}, got "
                f"{size}. Remedy: pad pictures at the right and bottom, and size=(height, width) of the padded ones"
            )
        sizes = [size]
    return [_picture(root, each) for each in sizes]


def _picture(root: nn.Module, size: tuple[int, int]) -> Tensor:
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    return picture.to(next(root.parameters(), torch.empty(0)))


def _report(
    root: nn.Module,
    folder: Path,
    size: tuple[int, int] | None,
    minimum: int,
    encoder: Half,
    files: dict[str, float],
) -> ExportReport:
    picture, latents = encoder.inputs[0], encoder.expected[0]
    names = host_of(root).active if host_of(root) else ()
    return ExportReport(
        folder=folder,
        codec=type(root).__name__,
        base=base_fingerprint(root),
        adapters={name: adapter_digest(root, name) for name in names},
        size=size,
        multiple=pad_multiple(root),
        minimum=minimum,
        dtype=str(latents.dtype).removeprefix("torch."),
        latent_channels=latents.shape[1],
        latent_stride=picture.shape[-1] // latents.shape[-1],
        files=files,
    )
