import pytest

from icmh_plugins.bitstream.nested import count_strings, fill, layout_of, leaves, read_nested, write_nested
from icmh_plugins.bitstream.varint import ByteReader, ByteWriter
from icmh_plugins.errors import CodecError, StreamError

PADDED = (128, 192)

VALUES = {
    "scaled size": (2, 3),
    "other size": (3, 2),
    "size with channels": (12, 8, 12),
    "one size a group": {"y": [(2, 8, 12)] * 5, "hyper": (2, 3)},
    "motion and residual": {"motion": [[None], [None]], "residual": [[None], [None]]},
    "rows": [[None]] * 11,
    "many rows": [[None]] * 70,
    "mixed": [None, [[None], None], {"a": None}],
    "empty": [],
}


def written(value) -> bytes:
    out = ByteWriter()
    write_nested(out, value, PADDED)
    return bytes(out)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_every_structure_comes_back(value):
    reader = ByteReader(written(value))
    assert read_nested(reader, PADDED) == value
    assert reader.left == 0


def test_common_structures_take_one_byte():
    assert len(written((2, 3))) == 1
    assert len(written([[None], [None]])) == 1


def test_strings_leave_and_return_to_their_places():
    strings = {"motion": [[b"a"], [b"b"]], "residual": [b"c"]}
    layout = layout_of(strings)
    assert layout == {"motion": [[None], [None]], "residual": [None]}
    assert list(leaves(strings)) == [b"a", b"b", b"c"]
    assert count_strings(layout) == 3
    assert fill(layout, leaves(strings)) == strings


def test_values_a_stream_cannot_hold_are_refused():
    with pytest.raises(CodecError, match="str"):
        layout_of([["text"]])
    with pytest.raises(CodecError, match="float"):
        written([1.5])
    with pytest.raises(CodecError, match="deeper"):
        written([[[[[[(1,)]]]]]])
    with pytest.raises(CodecError, match="-1"):
        written((-1, 2))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x40\xff" * 100,  # list of 0, then bytes that nobody reads
        bytes([2 << 5 | 1]) * 100,  # a list in a list in a list ...
        bytes([2 << 5 | 31]) + b"\xff\xff\xff\x7f",  # a billion items
        bytes([5 << 5 | 31]) + b"\xe0\x03",  # 511 rows are within limits, and then too many
        bytes([0 << 5 | 20]) + b"\x01" * 20,  # a size of 20 dimensions
        bytes([4 << 5 | 3]),  # a string that counts
        bytes([7 << 5]),
    ],
)
def test_any_bytes_end_in_a_value_or_a_stream_error(data):
    try:
        value = read_nested(ByteReader(data), PADDED)
    except StreamError:
        return
    assert value == [] or count_strings(value) <= 512
