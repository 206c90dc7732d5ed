"""``icmh compress``, ``icmh decompress``, ``icmh inspect``: pictures to real streams and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from icmh_plugins.bitstream.files import refuse_clashes, whole_file
from icmh_plugins.bitstream.inspection import StreamInfo
from icmh_plugins.bitstream.inspection import inspect as inspect_stream
from icmh_plugins.cli.models import Adapters, Checkpoint, Codec, load_model
from icmh_plugins.cli.output import Json, error_console, print_fields, print_json, table
from icmh_plugins.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".icmh"
Item = TypeVar("Item")

Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]


def compress(
    images: Annotated[list[Path], typer.Argument(help="Pictures of any format and size.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File ending in .icmh (for one picture), or a folder.")
    ],
    codec: Codec,
    checkpoint: Checkpoint = None,
    adapter: Adapters = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Code pictures to .icmh streams, with the given adapters switched on."""
    _refuse_folders(images)
    targets = _stream_paths(images, output)
    refuse_clashes(targets, force)
    model = load_model(codec, checkpoint, adapter or [])
    from icmh_plugins.bitstream.coding import encode
    from icmh_plugins.data.images import read_image

    infos = []
    for image, target in _progress(list(zip(images, targets, strict=True)), "coding"):
        data = encode(model, read_image(image))
        with whole_file(target) as scratch:
            scratch.write_bytes(data)
        infos.append(inspect_stream(data))
    if json:
        rows = zip(images, targets, infos, strict=True)
        print_json([{"image": str(i), "stream": str(t), **info.to_dict()} for i, t, info in rows])
        return
    table(
        "Streams", ("stream", "size", "bytes", "bpp"), (_row(t, info) for t, info in zip(targets, infos, strict=True))
    )


def decompress(
    stream: Annotated[Path, typer.Argument(help="An .icmh stream.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures (PNG).")],
    codec: Codec,
    checkpoint: Checkpoint = None,
    adapter: Adapters = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            "--view", help="'human', or the name or folder of an adapter; may be repeated. Default: the stream's own."
        ),
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option("--max-pixels", min=1, help="Larger streams are refused. Default: 33 million.")
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Decode a stream to pictures, in one or several views."""
    info = inspect_stream(stream)
    targets = {name: _picture_paths(stream, output, name, info.images) for name in view or [None]}
    refuse_clashes((path for paths in targets.values() for path in paths), force)
    model = load_model(codec, checkpoint, adapter or [])
    from icmh_plugins.bitstream.coding import MAX_PIXELS, decode

    decoded: Any = decode(model, stream.read_bytes(), views=view, max_pixels=max_pixels or MAX_PIXELS)
    for name, paths in targets.items():
        _write_pictures(decoded if name is None else decoded[name], paths)
    names = [str(path) for paths in targets.values() for path in paths]
    if json:
        print_json({"stream": str(stream), "pictures": names, **info.to_dict()})
        return
    table("Pictures", ("picture",), ([name] for name in names))


def inspect(stream: Annotated[Path, typer.Argument(help="An .icmh stream.")], json: Json = False) -> None:
    """Show what a stream contains; the codec is not needed."""
    info = inspect_stream(stream)
    if json:
        print_json(info.to_dict())
        return
    adapters = tuple(f"{a.name} ({a.digest}; {', '.join(a.roles)})" for a in info.adapters)
    print_fields(
        {
            **info.to_dict(),
            "padded": "x".join(map(str, info.padded)),
            "padding": f"multiples of {info.padding[0]}, at least {info.padding[1]}",
            "adapters": adapters,
            "shape": str(info.shape),
            "string_bytes": tuple("+".join(map(str, lengths)) for lengths in info.string_bytes),
            "bpp": f"{info.bpp:.4f}",
            "bpp_payload": f"{info.bpp_payload:.4f}",
        }
    )


def _refuse_folders(images: Sequence[Path]) -> None:
    for image in images:
        if image.is_dir():
            raise DataError(f"{str(image)!r} is a folder. Remedy: give its files, for example {image}/*.png")


def _stream_paths(images: Sequence[Path], output: Path) -> list[Path]:
    if output.suffix == SUFFIX and not output.is_dir():
        return [output] * len(images)
    return [output / f"{image.stem}{SUFFIX}" for image in images]


def _picture_paths(stream: Path, folder: Path, view: str | None, images: int) -> list[Path]:
    stem = stream.stem if view is None else f"{stream.stem}-{Path(view).name}"
    return [folder / f"{stem}.png"] if images == 1 else [folder / f"{stem}-{number}.png" for number in range(images)]


def _write_pictures(pictures: Tensor, paths: Sequence[Path]) -> None:
    from icmh_plugins.data.images import write_image

    for picture, path in zip(pictures, paths, strict=True):
        with whole_file(path) as scratch:
            write_image(scratch, picture)


def _progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    from rich.progress import track

    return iter(track(items, what, console=error_console, disable=len(items) == 1))


def _row(path: Path, info: StreamInfo) -> tuple[object, ...]:
    return path, f"{info.width}x{info.height}", info.bytes, f"{info.bpp:.4f}"
