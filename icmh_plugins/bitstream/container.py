"""The `.icmh` container: pure bytes to a dataclass and back, safe on any input, without torch.

    magic "ICMH" | version and flags | fingerprints | codec | size | padding | [channels] | [images] | [adapters] |
    [sender] | shape | layout of the strings          (header.py: 30 bytes in the usual case)
    then for each image: length of each string | the strings | CRC32

An adapter's side information is one more string after the codec's.

Each image's checksum goes on from that of the header, so that one CRC32 a section protects the header as well.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from icmh_plugins.bitstream.header import Header, read_header, write_header
from icmh_plugins.bitstream.nested import count_strings
from icmh_plugins.bitstream.varint import ByteReader, ByteWriter
from icmh_plugins.errors import StreamError

_CRC = 4
_MAX_STRING = 2**31


@dataclass(frozen=True)
class Stream:
    """One parsed stream.

    Attributes:
        header: Its header.
        images: For each image its coded strings, in the order of `header.layout`, depth first; with a `header.sender`
            its side information is one more.
    """

    header: Header
    images: tuple[tuple[bytes, ...], ...]


def pack(stream: Stream) -> bytes:
    """A stream as bytes.

    Raises:
        ConfigError, CodecError: A value is beyond the format's limits.
    """
    head = write_header(stream.header)
    return head + b"".join(_pack_image(strings, zlib.crc32(head)) for strings in stream.images)


def unpack(data: bytes) -> Stream:
    """Parse and check a stream; any bytes whatsoever end in a `Stream` or a `StreamError`, in linear time.

    Raises:
        StreamError: Not a stream, cut short, damaged, or with bytes after its end.
    """
    reader = ByteReader(data)
    header = read_header(reader)
    count = count_strings(header.layout) + (header.sender is not None)
    seed = zlib.crc32(data[: reader.position])
    images = tuple(_unpack_image(reader, count, seed, number, header.images) for number in range(header.images))
    if reader.left:
        raise StreamError(f"stream is damaged: {reader.left} bytes after its end")
    return Stream(header, images)


def _pack_image(strings: tuple[bytes, ...], seed: int) -> bytes:
    out = ByteWriter()
    for string in strings:
        out.varint(len(string))
    out.raw(b"".join(strings))
    return bytes(out) + zlib.crc32(bytes(out), seed).to_bytes(_CRC, "big")


def _unpack_image(reader: ByteReader, count: int, seed: int, number: int, images: int) -> tuple[bytes, ...]:
    what = f"image {number + 1} of {images}"
    start = reader.position
    lengths = [reader.varint(f"length of a string of {what}", _MAX_STRING, 1) for _ in range(count)]
    strings = tuple(reader.raw(length, f"a string of {what}") for length in lengths)
    found = zlib.crc32(reader.data[start : reader.position], seed)
    if reader.raw(_CRC, f"checksum of {what}") != found.to_bytes(_CRC, "big"):
        raise StreamError(f"stream is damaged: the checksum of {what} and the header does not fit")
    return strings
