"""``icmh export``: a codec with its adapters as files that run without this package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from icmh_plugins.cli.models import Adapters, Checkpoint, Codec, load_model
from icmh_plugins.cli.output import Json, claim_folder, print_fields, print_json, table
from icmh_plugins.errors import ConfigError


def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")],
    codec: Codec,
    checkpoint: Checkpoint = None,
    adapter: Adapters = None,
    size: Annotated[
        str | None, typer.Option("--size", help="HEIGHTxWIDTH of the pictures. Default: every size the codec takes.")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="ONNX files too (extra 'export').")] = False,
    json: Json = False,
) -> None:
    """Write encoder.pt2 (picture to latents) and decoder.pt2 (latents to picture), adapters built in."""
    pixels = None if size is None else _pixels(size)
    claim_folder(output)
    model = load_model(codec, checkpoint, adapter or [])
    from icmh_plugins.adapters.export import export as export_model

    report = export_model(model, output, size=pixels, formats=("pt2", "onnx") if onnx else ("pt2",))
    if json:
        print_json(report.to_dict())
        return
    sizes = f"{size}" if size else f"multiples of {report.multiple}, from {report.minimum}"
    print_fields({"folder": report.folder, "codec": report.codec, "adapters": tuple(report.adapters), "sizes": sizes})
    table("Files", ("file", "difference"), ((name, f"{value:.1e}") for name, value in report.files.items()))


def _pixels(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size)
    if match is None:
        raise ConfigError(f"--size is HEIGHTxWIDTH, for example 512x768, got {size!r}")
    return int(match[1]), int(match[2])
