import subprocess
import sys
from dataclasses import replace

import pytest

from icmh_plugins.bitstream.container import Stream, pack, unpack
from icmh_plugins.bitstream.header import AdapterId, Header
from icmh_plugins.errors import ConfigError, StreamError

HEADER = Header(
    base=b"basebase",
    tables=b"tabletab",
    codec="MeanScaleHyperprior",
    height=512,
    width=768,
    multiple=64,
    minimum=64,
    shape=(8, 12),
    layout=[[None], [None]],
)
STREAM = Stream(HEADER, ((b"y" * 9000, b"z" * 300),))
SFMA = AdapterId("sfma", b"digest--", encoder=True, decoder=True)

VARIANTS = {
    "plain": HEADER,
    "unknown codec": replace(HEADER, codec="MyCodec"),
    "one adapter": replace(HEADER, adapters=(SFMA,)),
    "adapters": replace(HEADER, adapters=(SFMA, AdapterId("a-name.with_all", b"12345678", required=True))),
    "odd padding": replace(HEADER, multiple=48, minimum=96, shape=(11, 16)),
    "large minimum": replace(HEADER, multiple=128, minimum=256),
    "grey": replace(HEADER, channels=1),
    "one pixel": replace(HEADER, height=1, width=1),
    "latent codec": replace(HEADER, shape={"y": (192, 32, 48), "hyper": (8, 12)}),
}


def overhead(stream: Stream) -> int:
    return len(pack(stream)) - sum(len(string) for strings in stream.images for string in strings)


@pytest.mark.parametrize("header", VARIANTS.values(), ids=VARIANTS)
def test_every_header_comes_back(header):
    stream = Stream(header, STREAM.images)
    assert unpack(pack(stream)) == stream


def test_several_images_come_back():
    images = ((b"y0", b"z0"), (b"longer y1", b"z"), (b"y2", b"z2"))
    stream = Stream(replace(HEADER, images=3), images)
    assert unpack(pack(stream)) == stream


def test_the_common_case_costs_less_than_40_bytes():
    assert overhead(STREAM) == 37
    assert overhead(Stream(HEADER, ((b"y" * 100_000, b"z" * 9000),))) == 38


def test_one_adapter_costs_less_than_65_bytes():
    assert overhead(Stream(replace(HEADER, adapters=(SFMA,)), STREAM.images)) == 51


def test_side_information_comes_back_and_costs_three_bytes_around_it():
    header = replace(HEADER, adapters=(SFMA, replace(SFMA, name="other")), sender=1, images=2)
    stream = Stream(header, ((b"y0", b"z0", b"side"), (b"y1", b"z", b"!")))
    assert unpack(pack(stream)) == stream
    without = Stream(replace(header, sender=None), (stream.images[0][:2], stream.images[1][:2]))
    assert overhead(stream) - overhead(without) == 3


def test_streams_without_side_information_are_what_they_were():
    assert pack(Stream(replace(HEADER, adapters=(SFMA,)), ((b"y", b"z"),))).hex() == (
        "49434d48126261736562617365" "7461626c65746162" "03" "8004" "8006" "66" "01" "2373666d61" "6469676573742d2d"
        "26a2" "0101" "797a" "21dee691"
    )  # fmt: skip


def test_a_sender_that_is_no_adapter_is_refused():
    data = pack(Stream(replace(HEADER, adapters=(SFMA,), sender=0), ((b"y", b"z", b"s"),)))
    position = data.index(SFMA.digest) + len(SFMA.digest)
    assert data[position] == 0
    with pytest.raises(StreamError, match="sender of side information exceeds the limit of 0"):
        unpack(data[:position] + b"\x01" + data[position + 1 :])


def test_damage_to_side_information_is_found():
    data = pack(Stream(replace(HEADER, adapters=(SFMA,), sender=0), ((b"y" * 9, b"z" * 5, b"side"),)))
    for end in range(len(data)):
        with pytest.raises(StreamError):
            unpack(data[:end])
    for position in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(StreamError):
            unpack(bytes(damaged))


def test_the_container_needs_no_torch():
    code = "import sys, icmh_plugins.bitstream.inspection; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_every_truncation_is_found():
    data = pack(Stream(replace(HEADER, adapters=(SFMA,)), ((b"y" * 50, b"z" * 20),)))
    for end in range(len(data)):
        with pytest.raises(StreamError):
            unpack(data[:end])


def test_every_flipped_bit_is_found():
    data = pack(Stream(replace(HEADER, adapters=(SFMA,), images=2), ((b"y" * 30, b"z" * 9), (b"Y" * 20, b"Z"))))
    for position in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(StreamError):
            unpack(bytes(damaged))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an .icmh stream"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an .icmh stream"),
        (pack(STREAM)[:3], "not an .icmh stream"),
        (pack(STREAM)[:10], "cut short: base fingerprint needs 8 bytes"),
        (pack(STREAM)[:500], "cut short: a string of image 1 of 1"),
        (pack(STREAM) + b"x", "1 bytes after its end"),
        (b"ICMH\x20" + pack(STREAM)[5:], "format version 2"),
        (b"ICMH\x18" + pack(STREAM)[5:], "side information of an adapter, but no adapters"),
        (pack(STREAM)[:-5] + b"?" + pack(STREAM)[-4:], "checksum of image 1 of 1"),
    ],
)
def test_messages_say_what_is_damaged(data, message):
    with pytest.raises(StreamError, match=message):
        unpack(data)


def test_huge_claims_are_refused_before_anything_is_allocated():
    head = b"ICMH\x10" + bytes(17)
    with pytest.raises(StreamError, match="height exceeds the limit"):
        unpack(head + b"\xff\xff\xff\xff\x7f")
    with pytest.raises(StreamError, match="pixels exceed"):
        unpack(head + b"\x80\x80\x08" * 2 + b"\x66\x25\xa2")
    with pytest.raises(StreamError, match="number of images exceeds"):
        unpack(b"ICMH\x11" + bytes(16) + b"\x03\x01\x01\x66" + b"\xff\xff\xff\x7f")


def test_what_the_format_cannot_hold_is_refused_when_written():
    with pytest.raises(ConfigError, match="tiles"):
        pack(Stream(replace(HEADER, height=2**17, width=2**17), STREAM.images))
    with pytest.raises(ConfigError, match="cannot name an adapter"):
        pack(Stream(replace(HEADER, adapters=(replace(SFMA, name="two words"),)), STREAM.images))
    with pytest.raises(ConfigError, match="16 adapters"):
        pack(Stream(replace(HEADER, adapters=(SFMA,) * 17), STREAM.images))
