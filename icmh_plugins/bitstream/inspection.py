"""`inspect`: everything a stream tells without the codec it was made with. No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from icmh_plugins.bitstream.container import unpack
from icmh_plugins.bitstream.header import AdapterId
from icmh_plugins.errors import StreamError


@dataclass(frozen=True)
class AdapterInfo:
    """An adapter named in a stream.

    Attributes:
        name: Its name when the stream was made.
        digest: First 8 bytes of the SHA-256 of its content, hexadecimal.
        roles: "encoder" (informative), "decoder" (part of the stream's own view), "required" (nothing decodes without),
            "sender" (the stream carries side information of it).
    """

    name: str
    digest: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class StreamInfo:
    """What a stream holds.

    Attributes:
        version: Format version.
        codec: Class name of the codec.
        base: First 8 bytes of the base's fingerprint, hexadecimal.
        tables: First 8 bytes of the fingerprint of its entropy tables, hexadecimal.
        images: Number of images.
        height: Rows of each image.
        width: Columns of each image.
        channels: Channels of each image.
        padded: Height and width after padding.
        padding: The multiple that padded sizes are of, and their minimum.
        adapters: Adapters that were on.
        shape: The codec's ``shape`` value.
        string_bytes: For each image the lengths of its coded strings; last that of an adapter's side information, if
            there is any.
        message_bytes: Length of that side information, all images together.
        bytes: Size of the whole stream.
        header_bits: All other bits: header, lengths, checksums.
        payload_bits: Bits of the coded strings and of side information.
        bpp: All bits per pixel of the unpadded images.
        bpp_payload: Payload bits alone per pixel, as CompressAI's tools count.
    """

    version: int
    codec: str
    base: str
    tables: str
    images: int
    height: int
    width: int
    channels: int
    padded: tuple[int, int]
    padding: tuple[int, int]
    adapters: tuple[AdapterInfo, ...]
    shape: Any
    string_bytes: tuple[tuple[int, ...], ...]
    message_bytes: int
    bytes: int
    header_bits: int
    payload_bits: int
    bpp: float
    bpp_payload: float

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return asdict(self)


def inspect(data_or_path: bytes | bytearray | memoryview | str | PathLike[str]) -> StreamInfo:
    """Read a stream without its codec; checksums are verified.

    Args:
        data_or_path: A stream, or the path of a file that holds one.

    Raises:
        StreamError: Not a stream, damaged, or the file cannot be read.
    """
    data = _read(data_or_path)
    stream = unpack(data)
    header = stream.header
    payload = 8 * sum(len(string) for strings in stream.images for string in strings)
    pixels = header.images * header.height * header.width
    return StreamInfo(
        version=header.version,
        codec=header.codec,
        base=header.base.hex(),
        tables=header.tables.hex(),
        images=header.images,
        height=header.height,
        width=header.width,
        channels=header.channels,
        padded=header.padded,
        padding=(header.multiple, header.minimum),
        adapters=tuple(
            AdapterInfo(adapter.name, adapter.digest.hex(), _roles(adapter, position == header.sender))
            for position, adapter in enumerate(header.adapters)
        ),
        shape=header.shape,
        string_bytes=tuple(tuple(map(len, strings)) for strings in stream.images),
        message_bytes=sum(len(strings[-1]) for strings in stream.images if header.sender is not None),
        bytes=len(data),
        header_bits=8 * len(data) - payload,
        payload_bits=payload,
        bpp=8 * len(data) / pixels,
        bpp_payload=payload / pixels,
    )


def _roles(adapter: AdapterId, sends: bool) -> tuple[str, ...]:
    roles = tuple(role for role in ("encoder", "decoder", "required") if getattr(adapter, role))
    return (*roles, "sender") if sends else roles


def _read(data_or_path: bytes | bytearray | memoryview | str | PathLike[str]) -> bytes:
    if isinstance(data_or_path, bytes | bytearray | memoryview):
        return bytes(data_or_path)
    if not isinstance(data_or_path, str | PathLike):
        raise StreamError(f"a stream is bytes or the path of a file, got {type(data_or_path).__name__}")
    try:
        return Path(data_or_path).read_bytes()
    except OSError as error:
        raise StreamError(f"{str(data_or_path)!r} cannot be read: {error.strerror or error}") from error
