"""Reading and writing of bytes, bounds checked at every step.

Integers are LEB128 varints (7 bits a byte, low bits first), the shortest form only, so that equal contents have
equal bytes.
"""

from __future__ import annotations

from icmh_plugins.errors import StreamError


class ByteWriter:
    """Collects the bytes of one section."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def raw(self, data: bytes) -> None:
        """Append `data` as it is."""
        self._data += data

    def varint(self, value: int) -> None:
        """Append a non-negative integer: one byte below 128, two below 16384."""
        if value < 0:
            raise ValueError(f"a varint holds non-negative integers, not {value}")
        while value > 127:
            self._data.append(value & 127 | 128)
            value >>= 7
        self._data.append(value)

    def text(self, text: str) -> None:
        """Append a string: its length in UTF-8 bytes, then the bytes."""
        data = text.encode()
        self.varint(len(data))
        self.raw(data)


class ByteReader:
    """Reads bytes front to back; whatever does not fit is a `StreamError` that names the field."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.position

    def raw(self, count: int, field: str) -> bytes:
        """The next `count` bytes."""
        if count > self.left:
            raise StreamError(
                f"stream is cut short: {field} needs {count} bytes at offset {self.position}, {self.left} are left"
            )
        self.position += count
        return self.data[self.position - count : self.position]

    def varint(self, field: str, limit: int, least: int = 0) -> int:
        """The next integer, which must lie in `least` ... `limit`."""
        value, shift, byte = 0, 0, 128
        while byte & 128:
            (byte,) = self.raw(1, field)
            value |= (byte & 127) << shift
            shift += 7
            if value > limit or shift > 63:
                raise StreamError(f"stream is damaged: {field} exceeds the limit of {limit}")
        if byte == 0 and shift > 7:
            raise StreamError(f"stream is damaged: {field} is not in its shortest form")
        if value < least:
            raise StreamError(f"stream is damaged: {field} is {value}, at least {least} is needed")
        return value

    def text(self, field: str, limit: int, length: int | None = None) -> str:
        """The next string of at most `limit` UTF-8 bytes; `length` where it has been read already."""
        count = self.varint(f"length of {field}", limit) if length is None else length
        try:
            return self.raw(count, field).decode()
        except UnicodeDecodeError:
            raise StreamError(f"stream is damaged: {field} is not text") from None
