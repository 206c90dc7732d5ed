"""What would hang, crash or silently falsify in the range coder is refused before it gets there."""

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.bitstream.coder import with_margin
from icmh_plugins.bitstream.container import Stream, pack, unpack
from icmh_plugins.bitstream.nested import fill
from icmh_plugins.errors import BaseMismatchError, CodecError, NumericalError, StreamError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

ALL = {**TOYS, **COMPRESSAI_MODELS}

POISONED = """
import sys, torch, icmh_plugins as icmh
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS
torch.set_num_threads(1)
for name in sys.argv[1:]:
    codec = {**TOYS, **COMPRESSAI_MODELS}[name]()
    icmh.attach_adapter(codec, "bottleneck", name="poison", sites=["enc8"])
    for value in (float("nan"), float("inf"), 1e9):
        with torch.no_grad():
            for parameter in icmh.adapter_parameters(codec):
                parameter.fill_(value)
        try:
            icmh.encode(codec, torch.rand(3, 64, 64))
        except icmh.IcmhError as error:
            print(name, value, type(error).__name__, "'poison'" in str(error))
    with icmh.disable_adapters(codec):
        print(name, tuple(icmh.decode(codec, icmh.encode(codec, torch.rand(3, 64, 64))).shape))
"""


def test_a_poisoned_adapter_raises_instead_of_hanging(single_threaded):
    names = ["mbt2018-mean", "mbt2018", "mbt2018-vbr", "elic2022-official", "slice", "token"]
    command = [sys.executable, "-c", POISONED, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=single_threaded)
    raised = [f"{name} {value} NumericalError True" for name in names for value in ("nan", "inf", "1000000000.0")]
    decoded = [f"{name} (1, 3, 64, 64)" for name in names]
    assert sorted(done.stdout.splitlines()) == sorted(raised + decoded), done.stderr


@pytest.mark.parametrize("name", ALL)
def test_nan_latents_never_reach_the_coder(name, picture):
    model = ALL[name]()
    icmh.encode(model, picture(64, 64))
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(NumericalError, match="No adapter is active"):
        icmh.encode(model, picture(64, 64))


@pytest.mark.parametrize("name", ALL)
def test_bytes_after_a_string_do_not_change_its_decoding(name, picture):
    model = ALL[name]()
    stream = unpack(icmh.encode(model, picture(64, 64)))
    [strings] = stream.images
    shape = stream.header.shape if isinstance(stream.header.shape, dict) else torch.Size(stream.header.shape)
    with torch.no_grad():
        plain = model.decompress(fill(stream.header.layout, iter(strings)), shape)["x_hat"]
        longer = [with_margin(string, 5000) for string in strings]
        assert torch.equal(model.decompress(fill(stream.header.layout, iter(longer)), shape)["x_hat"], plain)


def forged(data: bytes, change) -> bytes:
    """The stream with `change` applied to the strings of its first image, checksums right again."""
    stream = unpack(data)
    return pack(Stream(stream.header, (tuple(change(list(stream.images[0]))), *stream.images[1:])))


def swap(strings):
    return strings[::-1]


def flip(strings):
    # One bit can be an escaped symbol's own, and the stream then a valid one of another picture.
    flipped = bytes(byte ^ 0xA5 for byte in strings[0][12:44])
    return [strings[0][:12] + flipped + strings[0][44:], *strings[1:]]


def cut(strings):
    return [strings[0][:-8], *strings[1:]]


def shorten(strings):
    return [strings[0][:3], *strings[1:]]


def zeros(strings):
    return [bytes(len(strings[0])), *strings[1:]]


def ones(strings):
    return [strings[0][:8] + b"\xff" * 400, *strings[1:]]


@pytest.mark.parametrize("change", [swap, flip, cut, shorten, zeros, ones])
@pytest.mark.parametrize("name", ["mbt2018-mean", "elic2022-official", "bmshj2018-hyperprior-vbr"])
def test_forged_strings_with_right_checksums_are_found(name, change, picture):
    model = ALL[name]()
    data = icmh.encode(model, picture(64, 64))
    with pytest.raises(StreamError):
        icmh.decode(model, forged(data, change))


@pytest.mark.parametrize("name", ["mbt2018", "slice"])
def test_codecs_that_call_the_coder_directly_read_forged_strings_safely(name, picture, single_threaded):
    model = ALL[name]()
    data = icmh.encode(model, picture(64, 64))
    for change in (flip, cut, ones):
        try:
            decoded = icmh.decode(model, forged(data, change))
        except StreamError:
            continue
        assert torch.isfinite(decoded).all()
    for change in (swap, shorten, zeros):
        with pytest.raises(StreamError):
            icmh.decode(model, forged(data, change))


@pytest.mark.parametrize("error", [AttributeError("no attribute 'clamp_'"), AssertionError("no CUDA")], ids=repr)
def test_a_codec_that_cannot_decode_is_blamed_instead_of_the_stream(codec, picture, error):
    def decompress(strings, shape):
        raise error

    data = icmh.encode(codec, picture(8, 8))
    codec.decompress = decompress
    with pytest.raises(CodecError, match=rf"MeanScaleHyperprior.*its own compress.*{error}.*not the stream"):
        icmh.decode(codec, data)


def test_a_decoder_with_other_arithmetic_is_noticed(codec, picture):
    data = icmh.encode(codec, picture(128, 128))
    other = copy.deepcopy(codec)
    with torch.no_grad():
        other.h_s[0].weight.data.mul_(1.001)
    stream = unpack(data)
    header = replace(stream.header, base=unpack(icmh.encode(other, picture(8, 8))).header.base)
    with pytest.raises(StreamError, match="floating-point"):
        icmh.decode(other, pack(Stream(header, stream.images)))


def test_another_base_and_other_tables_are_refused(codec, picture):
    data = icmh.encode(codec, picture(8, 8))
    hyper = COMPRESSAI_MODELS["bmshj2018-hyperprior"]()
    with pytest.raises(BaseMismatchError, match=r"MeanScaleHyperprior of fingerprint.*ScaleHyperprior with"):
        icmh.decode(hyper, data)
    changed = copy.deepcopy(codec)
    changed.update(scale_table=torch.linspace(0.2, 20, 64).tolist(), force=True)
    with pytest.raises(BaseMismatchError, match=r"other entropy tables.*never computes"):
        icmh.decode(changed, data)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (2, 1)},
        {"shape": (1, 1, 1)},
        {"shape": {"y": (1, 1)}},
        {"shape": (64, 64)},
        {"layout": [[None, None]]},
        {"layout": {"y": None, "z": None}},
        {"multiple": 16, "minimum": 1},
        {"channels": 1},
        {"height": 200},
    ],
    ids=str,
)
def test_a_structure_the_codec_does_not_have_is_refused(codec, picture, changes):
    stream = unpack(icmh.encode(codec, picture(40, 40)))
    with pytest.raises(StreamError, match="are not those of a MeanScaleHyperprior stream"):
        icmh.decode(codec, pack(Stream(replace(stream.header, **changes), stream.images)))


def test_large_streams_are_refused_before_decoding(codec, picture):
    data = icmh.encode(codec, picture(65, 64))
    with pytest.raises(StreamError, match="holds 8192 pixels, 8191 are allowed"):
        icmh.decode(codec, data, max_pixels=8191)
    assert icmh.decode(codec, data, max_pixels=8192).shape == (1, 3, 65, 64)


def test_a_small_stream_cannot_claim_a_huge_picture_by_default(codec, picture):
    stream = unpack(icmh.encode(codec, picture(64, 64)))
    huge = replace(stream.header, height=8192, width=4160, shape=(128, 65))
    with pytest.raises(StreamError, match="holds 34078720 pixels, 33554432 are allowed"):
        icmh.decode(codec, pack(Stream(huge, stream.images)))


def test_a_view_that_decodes_to_nan_is_not_returned(codec, picture, attach_trained):
    data = icmh.encode(codec, picture(8, 8))
    attach_trained(codec, "bottleneck", "broken", sites=["dec2"])
    with torch.no_grad():
        for parameter in icmh.adapter_parameters(codec, "broken"):
            parameter.fill_(float("nan"))
    with pytest.raises(StreamError, match="the broken view decodes to NaN"):
        icmh.decode(codec, data, views=["human", "broken"])


@pytest.mark.parametrize("data", ["text", 5, None])
def test_only_bytes_are_decoded(codec, data):
    with pytest.raises(StreamError, match="read_bytes"):
        icmh.decode(codec, data)
