import pytest

from icmh_plugins.bitstream.varint import ByteReader, ByteWriter
from icmh_plugins.errors import StreamError


@pytest.mark.parametrize(("value", "size"), [(0, 1), (127, 1), (128, 2), (16383, 2), (16384, 3), (2**40, 6)])
def test_integers_come_back_and_take_seven_bits_a_byte(value, size):
    out = ByteWriter()
    out.varint(value)
    reader = ByteReader(bytes(out))
    assert len(bytes(out)) == size
    assert reader.varint("x", 2**40) == value
    assert reader.left == 0


def test_negative_integers_are_refused():
    with pytest.raises(ValueError, match="-1"):
        ByteWriter().varint(-1)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff\xff"])
def test_cut_integers_name_the_field(data):
    with pytest.raises(StreamError, match="height"):
        ByteReader(data).varint("height", 2**60)


def test_limits_are_kept():
    with pytest.raises(StreamError, match="limit of 10"):
        ByteReader(b"\x0b").varint("x", 10)
    with pytest.raises(StreamError, match="at least 1"):
        ByteReader(b"\x00").varint("x", 10, 1)
    with pytest.raises(StreamError, match="limit"):
        ByteReader(b"\xff" * 100).varint("x", 2**200)


def test_longer_forms_of_an_integer_are_refused():
    with pytest.raises(StreamError, match="shortest"):
        ByteReader(b"\x81\x00").varint("x", 1000)


def test_text_comes_back_and_must_be_utf8():
    out = ByteWriter()
    out.text("grüße")
    assert ByteReader(bytes(out)).text("name", 10) == "grüße"
    with pytest.raises(StreamError, match="not text"):
        ByteReader(b"\x02\xff\xfe").text("name", 10)
    with pytest.raises(StreamError, match="limit of 3"):
        ByteReader(b"\x04abcd").text("name", 3)
