"""The nested `strings` and `shape` values of codecs, as bytes.

A codec's ``compress`` returns lists, dicts and sizes nested in each other: ``[[y], [z]]`` with ``Size([h, w])``,
``[[y0], [y1], [z]]`` with ``{"y": Size(C, h, w), "hyper": Size(h, w)}``, and so on. Here a size is a tuple of ints
and, in a layout, None stands for a string. Each value is one tag byte (kind in the high three bits, count in the
low five) and what it holds. Two kinds make the common cases free: a size that is the padded image divided by a
power of two, and a list of lists of one string.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from icmh_plugins.bitstream.varint import ByteReader, ByteWriter
from icmh_plugins.errors import CodecError, StreamError

Nested: TypeAlias = "bytes | tuple[int, ...] | list[Nested] | dict[str, Nested] | None"

MAX_DEPTH = 4
MAX_ITEMS = 512
MAX_DIMS = 8
MAX_KEY = 32
MAX_EXTENT = 2**24
_SIZE, _SCALED, _LIST, _DICT, _STRING, _ROWS = range(6)
_MORE = 31  # this count in a tag: the rest follows as a varint


def layout_of(strings: object) -> Nested:
    """The structure of nested `strings` with None in place of each string.

    Raises:
        CodecError: A leaf is not a byte string.
    """
    if isinstance(strings, bytes):
        return None
    if isinstance(strings, list | tuple):
        return [layout_of(item) for item in strings]
    if isinstance(strings, dict):
        return {str(key): layout_of(item) for key, item in strings.items()}
    raise CodecError(f"compress() returned a {type(strings).__name__} among its strings; byte strings are expected")


def leaves(strings: object) -> Iterator[bytes]:
    """The byte strings of nested `strings`, depth first."""
    if isinstance(strings, bytes):
        yield strings
        return
    for item in strings.values() if isinstance(strings, dict) else strings:
        yield from leaves(item)


def count_strings(layout: Nested) -> int:
    """How many strings `layout` holds."""
    if layout is None:
        return 1
    if isinstance(layout, list | dict):
        return sum(map(count_strings, layout.values() if isinstance(layout, dict) else layout))
    return 0


def fill(layout: Nested, strings: Iterator[bytes]) -> Nested:
    """`layout` with its Nones replaced by `strings`, the inverse of `layout_of` and `leaves`."""
    if layout is None:
        return next(strings)
    if isinstance(layout, dict):
        return {key: fill(item, strings) for key, item in layout.items()}
    return [fill(item, strings) for item in layout]


def write_nested(out: ByteWriter, value: Nested, padded: tuple[int, int], depth: int = 0) -> None:
    """Append `value`; `padded` is the padded image size (height, width) that sizes are compared with.

    Raises:
        CodecError: The value holds something else, or more than the format's limits allow.
    """
    if depth > MAX_DEPTH:
        raise CodecError(f"the strings or shape of this codec nest deeper than {MAX_DEPTH} levels")
    if value is None:
        _write_tag(out, _STRING, 0)
    elif isinstance(value, tuple):
        _write_size(out, value, padded)
    elif isinstance(value, list) and value and all(item == [None] for item in value):
        _write_tag(out, _ROWS, len(value))
    elif isinstance(value, list):
        _write_tag(out, _LIST, len(value))
        for item in value:
            write_nested(out, item, padded, depth + 1)
    elif isinstance(value, dict):
        _write_tag(out, _DICT, len(value))
        for key, item in value.items():
            out.text(key)
            write_nested(out, item, padded, depth + 1)
    else:
        raise CodecError(f"the strings or shape of this codec hold a {type(value).__name__}, which a stream cannot")


def read_nested(data: ByteReader, padded: tuple[int, int]) -> Nested:
    """Read what `write_nested` wrote.

    Raises:
        StreamError: Damaged, or beyond the format's limits.
    """
    return _read(data, padded, [MAX_ITEMS], 0)


def _read(data: ByteReader, padded: tuple[int, int], budget: list[int], depth: int) -> Nested:
    if depth > MAX_DEPTH:
        raise StreamError(f"stream is damaged: its strings or shape nest deeper than {MAX_DEPTH} levels")
    (tag,) = data.raw(1, "structure")
    kind, count = tag >> 5, tag & _MORE
    if count == _MORE:
        count += data.varint("number of items", MAX_ITEMS)
    budget[0] -= 1 if kind in (_SIZE, _SCALED) else 1 + count
    if budget[0] < 0:
        raise StreamError(f"stream is damaged: its strings or shape hold more than {MAX_ITEMS} items")
    if kind == _STRING and count == 0:
        return None
    if kind == _SIZE and count <= MAX_DIMS:
        return tuple(data.varint("shape", MAX_EXTENT) for _ in range(count))
    if kind == _SCALED:
        return padded[0] >> count, padded[1] >> count
    if kind == _ROWS:
        return [[None] for _ in range(count)]
    if kind == _LIST:
        return [_read(data, padded, budget, depth + 1) for _ in range(count)]
    if kind == _DICT:
        return {data.text("key", MAX_KEY): _read(data, padded, budget, depth + 1) for _ in range(count)}
    raise StreamError(f"stream is damaged: structure tag {tag:#04x} at offset {data.position - 1} has no meaning")


def _write_tag(out: ByteWriter, kind: int, count: int) -> None:
    out.raw(bytes([kind << 5 | min(count, _MORE)]))
    if count >= _MORE:
        out.varint(count - _MORE)


def _write_size(out: ByteWriter, size: tuple[int, ...], padded: tuple[int, int]) -> None:
    for shift in range(_MORE):
        if len(size) == 2 and size == (padded[0] >> shift, padded[1] >> shift):
            return _write_tag(out, _SCALED, shift)
    _write_tag(out, _SIZE, len(size))
    for item in size:
        out.varint(_checked(item))
    return None


def _checked(value: int) -> int:
    if not 0 <= value <= MAX_EXTENT:
        raise CodecError(f"the shape of this codec holds {value}, outside 0 ... {MAX_EXTENT}")
    return int(value)
