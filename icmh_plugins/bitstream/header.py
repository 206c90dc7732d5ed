"""The head of a stream: what it was made with and how to undo the padding. No torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from icmh_plugins.bitstream.nested import MAX_ITEMS, Nested, count_strings, read_nested, write_nested
from icmh_plugins.bitstream.varint import ByteReader, ByteWriter
from icmh_plugins.codecs.sizes import padded_side
from icmh_plugins.errors import ConfigError, StreamError

MAGIC = b"ICMH"
VERSION = 1
DIGEST = 8
MAX_SIDE = 2**17
MAX_PIXELS = 2**28
MAX_PADDING = 2**15
MAX_IMAGES = 2**16
MAX_CHANNELS = 64
MAX_ADAPTERS = 16
MAX_NAME = 64

_CODECS = (  # append only: the position is what a stream holds
    *("FactorizedPrior", "FactorizedPriorReLU", "ScaleHyperprior", "MeanScaleHyperprior"),
    *("JointAutoregressiveHierarchicalPriors", "Cheng2020Anchor", "Cheng2020Attention", "Cheng2020AnchorCheckerboard"),
    *("Elic2022Official", "Elic2022Chandelier", "ScaleHyperpriorVbr", "MeanScaleHyperpriorVbr"),
    *("JointAutoregressiveHierarchicalPriorsVbr", "TIC", "TCM", "DCAE", "SymmetricalTransFormer", "WACNN"),
)
_NAMED = 255  # in place of a position: the class name follows
_SEVERAL_IMAGES, _ADAPTERS, _OTHER_CHANNELS, _MESSAGES = 1, 2, 4, 8
_ENCODER, _DECODER, _REQUIRED = 1, 2, 4
_ODD_PADDING = 255


@dataclass(frozen=True)
class AdapterId:
    """An adapter that was on when a stream was made.

    Attributes:
        name: Its name then; informative, the digest decides.
        digest: First 8 bytes of the SHA-256 of its content.
        encoder: It changed the encoder; decoding does not need it.
        decoder: It belongs to the stream's own view.
        required: It sits on the entropy side; nothing can be decoded without it.
    """

    name: str
    digest: bytes
    encoder: bool = False
    decoder: bool = False
    required: bool = False


@dataclass(frozen=True)
class Header:
    """Everything of a stream but the coded strings.

    Attributes:
        base: First 8 bytes of the base codec's fingerprint.
        tables: First 8 bytes of the fingerprint of its entropy tables.
        codec: Class name of the codec, for messages.
        height: Rows of the original images.
        width: Columns of the original images.
        multiple: Padded sizes are multiples of this.
        minimum: Padded sizes are at least this.
        shape: The ``shape`` that the codec's ``decompress`` takes; sizes as tuples.
        layout: Structure of ``strings``, None standing for a string.
        channels: Channels of the images.
        images: Images in the stream, all of one size.
        adapters: Adapters that were on.
        sender: Position in `adapters` of the one whose message follows each image's strings; None without messages.
        version: Format version.
    """

    base: bytes
    tables: bytes
    codec: str
    height: int
    width: int
    multiple: int
    minimum: int
    shape: Nested
    layout: Nested
    channels: int = 3
    images: int = 1
    adapters: tuple[AdapterId, ...] = ()
    sender: int | None = None
    version: int = VERSION

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the padded images."""
        height, width = (padded_side(side, self.multiple, self.minimum) for side in (self.height, self.width))
        return height, width


def write_header(header: Header) -> bytes:
    """Header as bytes.

    Raises:
        ConfigError, CodecError: A value is beyond the format's limits.
    """
    _check_limits(header)
    out = ByteWriter()
    flags = _SEVERAL_IMAGES * (header.images != 1) | _ADAPTERS * bool(header.adapters)
    flags |= _OTHER_CHANNELS * (header.channels != 3) | _MESSAGES * (header.sender is not None)
    out.raw(MAGIC + bytes([header.version << 4 | flags]) + header.base + header.tables)
    _write_codec(out, header.codec)
    out.varint(header.height)
    out.varint(header.width)
    _write_padding(out, header.multiple, header.minimum)
    if header.channels != 3:
        out.varint(header.channels)
    if header.images != 1:
        out.varint(header.images)
    if header.adapters:
        out.varint(len(header.adapters))
    for adapter in header.adapters:
        _write_adapter(out, adapter)
    if header.sender is not None:
        out.varint(header.sender)
    write_nested(out, header.shape, header.padded)
    write_nested(out, header.layout, header.padded)
    return bytes(out)


def read_header(data: ByteReader) -> Header:
    """Read what `write_header` wrote; `data` is left at the first byte after it.

    Raises:
        StreamError: Not a stream, of another version, damaged or beyond the format's limits.
    """
    if data.left < len(MAGIC) or data.raw(len(MAGIC), "magic") != MAGIC:
        raise StreamError("this is not an .icmh stream: it does not begin with 'ICMH'")
    (first,) = data.raw(1, "version")
    version, flags = first >> 4, first & 15
    if version != VERSION:
        raise StreamError(f"stream has format version {version}, this package reads {VERSION}; update icmh-plugins")
    if flags & _MESSAGES and not flags & _ADAPTERS:
        raise StreamError("stream is damaged: it has side information of an adapter, but no adapters")
    base, tables = data.raw(DIGEST, "base fingerprint"), data.raw(DIGEST, "table fingerprint")
    codec = _read_codec(data)
    height, width = data.varint("height", MAX_SIDE, 1), data.varint("width", MAX_SIDE, 1)
    multiple, minimum = _read_padding(data)
    channels = data.varint("channels", MAX_CHANNELS, 1) if flags & _OTHER_CHANNELS else 3
    images = data.varint("number of images", MAX_IMAGES, 1) if flags & _SEVERAL_IMAGES else 1
    count = data.varint("number of adapters", MAX_ADAPTERS, 1) if flags & _ADAPTERS else 0
    adapters = tuple(_read_adapter(data) for _ in range(count))
    sender = data.varint("sender of side information", count - 1) if flags & _MESSAGES else None
    padded = padded_side(height, multiple, minimum), padded_side(width, multiple, minimum)
    if padded[0] * padded[1] > MAX_PIXELS:
        raise StreamError(f"stream is damaged: {padded[0]}x{padded[1]} pixels exceed the limit of {MAX_PIXELS}")
    shape, layout = read_nested(data, padded), read_nested(data, padded)
    if not _only_strings(layout) or not 1 <= count_strings(layout) <= MAX_ITEMS:
        raise StreamError("stream is damaged: its list of strings holds something else or nothing")
    return Header(
        base=base,
        tables=tables,
        codec=codec,
        height=height,
        width=width,
        multiple=multiple,
        minimum=minimum,
        shape=shape,
        layout=layout,
        channels=channels,
        images=images,
        adapters=adapters,
        sender=sender,
        version=version,
    )


def _check_limits(header: Header) -> None:
    if max(header.height, header.width) > MAX_SIDE or header.padded[0] * header.padded[1] > MAX_PIXELS:
        raise ConfigError(
            f"an image of {header.height}x{header.width} is too large for one stream (at most {MAX_SIDE} a side and "
            f"{MAX_PIXELS} pixels, padding included). Remedy: cut it into tiles"
        )
    if header.multiple > MAX_PADDING or header.minimum > MAX_PADDING:
        raise ConfigError(
            f"padding to multiples of {header.multiple}, at least {header.minimum}, exceeds {MAX_PADDING}"
        )
    if header.images > MAX_IMAGES or len(header.adapters) > MAX_ADAPTERS:
        raise ConfigError(f"a stream holds up to {MAX_IMAGES} images and {MAX_ADAPTERS} adapters")


def _only_strings(layout: Nested) -> bool:
    if isinstance(layout, list | dict):
        return all(map(_only_strings, layout.values() if isinstance(layout, dict) else layout))
    return layout is None


def _write_codec(out: ByteWriter, codec: str) -> None:
    if codec in _CODECS:
        out.raw(bytes([_CODECS.index(codec)]))
        return
    out.raw(bytes([_NAMED]))
    out.text(re.sub(r"\W", "_", codec, flags=re.ASCII)[:MAX_NAME])


def _read_codec(data: ByteReader) -> str:
    (code,) = data.raw(1, "codec")
    if code == _NAMED:
        return _checked_name(data.text("codec name", MAX_NAME), "codec name")
    if code >= len(_CODECS):
        raise StreamError(f"stream is damaged: codec number {code} is unknown")
    return _CODECS[code]


def _write_padding(out: ByteWriter, multiple: int, minimum: int) -> None:
    powers = multiple.bit_length() - 1, minimum.bit_length() - 1
    if (1 << powers[0], 1 << powers[1]) == (multiple, minimum) and max(powers) < 15:
        out.raw(bytes([powers[0] << 4 | powers[1]]))
        return
    out.raw(bytes([_ODD_PADDING]))
    out.varint(multiple)
    out.varint(minimum)


def _read_padding(data: ByteReader) -> tuple[int, int]:
    (code,) = data.raw(1, "padding")
    if code == _ODD_PADDING:
        return data.varint("padding", MAX_PADDING, 1), data.varint("minimum size", MAX_PADDING, 1)
    return 1 << (code >> 4), 1 << (code & 15)


def _write_adapter(out: ByteWriter, adapter: AdapterId) -> None:
    name = adapter.name.encode()
    if not _is_name(adapter.name):
        raise ConfigError(f"{adapter.name!r} cannot name an adapter in a stream")
    roles = _ENCODER * adapter.encoder | _DECODER * adapter.decoder | _REQUIRED * adapter.required
    out.varint(len(name) << 3 | roles)
    out.raw(name + adapter.digest)


def _read_adapter(data: ByteReader) -> AdapterId:
    code = data.varint("adapter", MAX_NAME << 3 | 7)
    name = _checked_name(data.text("adapter name", MAX_NAME, code >> 3), "adapter name")
    digest = data.raw(DIGEST, "adapter digest")
    return AdapterId(name, digest, bool(code & _ENCODER), bool(code & _DECODER), bool(code & _REQUIRED))


def _checked_name(name: str, field: str) -> str:
    if not _is_name(name):
        raise StreamError(f"stream is damaged: {field} {name!r} has characters that a name cannot have")
    return name


def _is_name(name: str) -> bool:
    return re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{MAX_NAME}}}", name) is not None
