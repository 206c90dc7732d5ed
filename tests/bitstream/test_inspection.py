import json

import pytest

import icmh_plugins as icmh
from icmh_plugins.errors import StreamError


def test_everything_readable_without_the_codec(codec, picture, attach_trained):
    attach_trained(codec, "sfma")
    data = icmh.encode(codec, picture(100, 50, batch=2))
    info = icmh.inspect(data)
    assert (info.codec, info.images, info.height, info.width, info.channels) == ("MeanScaleHyperprior", 2, 100, 50, 3)
    assert (info.padded, info.padding, info.shape) == ((128, 64), (64, 64), (2, 1))
    assert [len(lengths) for lengths in info.string_bytes] == [2, 2]
    assert info.bytes == len(data)
    assert info.header_bits + info.payload_bits == 8 * len(data)
    assert info.payload_bits == 8 * sum(map(sum, info.string_bytes))
    assert info.bpp == 8 * len(data) / (2 * 100 * 50)
    assert info.bpp_payload == info.payload_bits / (2 * 100 * 50)
    assert info.adapters[0].roles == ("encoder", "decoder")


def test_headers_of_real_streams_are_small(codec, picture, attach_trained):
    assert icmh.inspect(icmh.encode(codec, picture(512, 768))).header_bits < 8 * 40
    attach_trained(codec, "sfma")
    assert icmh.inspect(icmh.encode(codec, picture(512, 768))).header_bits < 8 * 65


def test_a_file_reads_as_its_bytes_and_goes_to_json(codec, picture, tmp_path):
    data = icmh.encode(codec, picture(8, 8))
    (tmp_path / "a.icmh").write_bytes(data)
    info = icmh.inspect(tmp_path / "a.icmh")
    assert info == icmh.inspect(data)
    assert json.loads(json.dumps(info.to_dict()))["base"] == info.base


def test_what_is_no_stream_is_refused(tmp_path):
    with pytest.raises(StreamError, match="cannot be read"):
        icmh.inspect(tmp_path / "absent.icmh")
    with pytest.raises(StreamError, match="this is not an"):
        icmh.inspect(b"\x89PNG")
    for odd in (None, 3):
        with pytest.raises(StreamError, match="bytes or the path of a file, got"):
            icmh.inspect(odd)
