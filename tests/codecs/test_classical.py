"""JPEG and WebP as codecs: real files, and adapters of what they decode."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from PIL import Image
from torch import nn

import icmh_plugins as icmh
from icmh_plugins.adapters.host import host_of
from icmh_plugins.bitstream.container import unpack
from icmh_plugins.codecs.classical import JPEG, WebP
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.padding import min_size, pad_multiple
from icmh_plugins.errors import BaseMismatchError, CodecError, ConfigError, SiteError, StreamError, TrainingError
from icmh_plugins.tasks.create import create_task
from icmh_plugins.training.fit import fit
from icmh_plugins.training.loss import bits_per_pixel

SMALL = {"width": 8, "tile": 32}
SPECS = ["jpeg:30", "webp:30"]


class Pictures:
    """Smooth pictures with some noise, 48 x 56."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        smooth = nn.functional.interpolate(torch.rand(1, 3, 6, 7, generator=generator), (48, 56), mode="bilinear")[0]
        return (smooth + 0.01 * torch.randn(3, 48, 56, generator=generator)).clamp(0, 1)


def pillow_file(picture, kind, **options):
    pixels = picture.mul(255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(params=SPECS)
def codec(request):
    return icmh.load_codec(request.param)


@pytest.fixture
def trained(codec):
    torch.manual_seed(0)
    icmh.attach_adapter(codec, "dynamic", **SMALL)
    with torch.no_grad():
        for parameter in icmh.adapter_parameters(codec):
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return codec


def test_strings_are_pillow_s_files():
    picture = Pictures()[0]
    (string,) = unpack(icmh.encode(icmh.load_codec("jpeg:30"), picture)).images[0]
    assert string == pillow_file(picture, "JPEG", quality=30, optimize=True)
    (string,) = unpack(icmh.encode(icmh.load_codec("webp:40"), picture)).images[0]
    assert string == pillow_file(picture, "WEBP", quality=40)
    with Image.open(io.BytesIO(string)) as image:
        pixels = torch.tensor(list(image.convert("RGB").tobytes())).view(48, 56, 3).permute(2, 0, 1) / 255
    assert torch.equal(
        icmh.decode(icmh.load_codec("webp:40"), icmh.encode(icmh.load_codec("webp:40"), picture))[0], pixels
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (37, 2), (64, 64)])
def test_any_size_without_padding(codec, size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    stream = icmh.encode(codec, image)
    assert icmh.inspect(stream).padded == size
    decoded = icmh.decode(codec, stream)
    assert decoded.shape == image.shape
    with torch.no_grad():
        assert torch.equal(codec(image)["x_hat"], decoded)
    assert (pad_multiple(codec), min_size(codec)) == (1, 1)


@torch.no_grad()
def test_the_rate_is_that_of_the_files(codec):
    image = Pictures()[0][None]
    stream = icmh.encode(codec, image)
    (lengths,) = icmh.inspect(stream).string_bytes
    bpp = bits_per_pixel(codec(image)["likelihoods"], image)
    assert float(bpp) == pytest.approx(8 * sum(lengths) / (48 * 56))
    assert len(stream) - sum(lengths) < 64


def test_half_precision_is_refused(codec):
    with pytest.raises(CodecError, match=r"Remedy: model\.float\(\)"):
        icmh.encode(icmh.attach_adapter(codec, "dynamic", **SMALL).half(), Pictures()[0])


def test_a_lower_quality_is_a_smaller_file():
    sizes = [len(icmh.encode(icmh.load_codec(f"jpeg:{quality}"), Pictures()[0])) for quality in (5, 30, 90)]
    assert sizes == sorted(sizes)


def test_streams_name_format_and_quality(codec):
    stream = icmh.encode(codec, Pictures()[0])
    others = [JPEG(31), WebP(31), JPEG(30), WebP(30)]
    prints = {base_fingerprint(each) for each in others}
    assert len(prints) == 4
    for other in others:
        if base_fingerprint(other) != base_fingerprint(codec):
            with pytest.raises(BaseMismatchError, match="fingerprint"):
                icmh.decode(other, stream)
    assert icmh.inspect(stream).codec == type(codec).__name__


def test_views_of_one_file(trained):
    image = Pictures()[0]
    plain = copy.deepcopy(trained)
    icmh.detach_adapter(plain)
    stream = icmh.encode(trained, image)
    assert icmh.inspect(stream).string_bytes == icmh.inspect(icmh.encode(plain, image)).string_bytes
    reads, read = [], type(trained)._read
    type(trained)._read = lambda *arguments: reads.append(1) or read(*arguments)
    try:
        views = icmh.decode(trained, stream, views=["human", "dynamic"])
    finally:
        type(trained)._read = read
    assert len(reads) == 1
    assert torch.equal(views["human"], icmh.decode(plain, icmh.encode(plain, image)))
    assert torch.equal(views["dynamic"], icmh.decode(trained, stream))
    assert not torch.equal(views["human"], views["dynamic"])
    assert icmh.verify_identity(trained, size=(40, 30)).pixels == 3 * 40 * 30


def test_only_adapters_of_the_picture_fit(codec):
    with pytest.raises(SiteError, match=r"finds no site on (JPEG|WebP).*Known sites: g_s"):
        icmh.attach_adapter(codec, "sfma")
    assert host_of(codec) is None
    assert [row.alias for row in icmh.describe(codec).rows] == ["image"]


def test_training_evaluation_and_files(codec, tmp_path):
    icmh.attach_adapter(codec, "dynamic", **SMALL)
    options = {"steps": 60, "batch_size": 4, "crop": 32, "lr": 3e-3, "progress": False, "log_every": 1}
    history = fit(codec, "human", Pictures(), lmbda=0.01, mode="frozen", out=tmp_path, **options).history
    assert history[0]["bpp"] > 1
    assert history[0]["loss"] == pytest.approx(0.01 * history[0]["distortion"])
    fresh = type(codec)(30)
    icmh.load_adapter(fresh, tmp_path / "dynamic")
    result = icmh.evaluate(fresh, "human", Pictures(), views=("human",), progress=False)
    point = result.curve.points[0].values
    files = [unpack(icmh.encode(fresh, Pictures()[index])).images[0][0] for index in range(8)]
    assert point["bpp"] == pytest.approx(sum(map(len, files)) / (48 * 56))
    assert point["psnr-rgb"] > point["psnr-rgb@human"]


def test_there_is_no_codec_to_train(codec):
    icmh.attach_adapter(codec, "dynamic", **SMALL)
    for thawed in (codec, codec.requires_grad_(True)):
        with pytest.raises(TrainingError, match=r"nothing to train but adapters\. Remedy: mode='frozen'"):
            fit(thawed, create_task("human"), Pictures(), lmbda=1.0, mode="joint", crop=32, progress=False)
    assert [name for name, _ in type(codec)(30).named_parameters()] == []


def test_its_streams_are_those_of_earlier_versions():
    """The fingerprint stands in every header."""
    assert base_fingerprint(JPEG(30)).startswith("eef84b1651e2e031")


@pytest.mark.parametrize("spec", ["jpeg:0", "webp:101"])
def test_wrong_qualities(spec):
    with pytest.raises(ConfigError, match="1 to 100"):
        icmh.load_codec(spec)


@pytest.mark.parametrize("spec", ["jpeg", "jpeg:", "jpeg:x", "webp:-3", "webp:3.5"])
def test_qualities_that_are_no_numbers(spec):
    name, _, quality = spec.partition(":")
    with pytest.raises(CodecError, match=f"{name} needs a quality from 1 to 100, got '{quality}'. Remedy: '{name}:30'"):
        icmh.load_codec(spec)


def test_picture_formats_are_among_the_known_codecs():
    with pytest.raises(CodecError, match=r"'jpeg:QUALITY'.*Did you mean 'jpeg'"):
        icmh.load_codec("jpg")


def test_other_mistakes(tmp_path):
    with pytest.raises(CodecError, match="leave the checkpoint"):
        icmh.load_codec("jpeg:30", tmp_path / "weights.pt")
    with pytest.raises(CodecError, match="16383 pixels a side"):
        icmh.encode(icmh.load_codec("webp:1"), torch.zeros(3, 1, 17_000))


@torch.no_grad()
def test_damaged_files_are_refused(codec):
    coded = codec.compress(Pictures()[0][None])
    (file,) = coded["strings"][0]
    other = icmh.load_codec("webp:30" if isinstance(codec, JPEG) else "jpeg:30").compress(Pictures()[0][None])
    for strings, size, words in (
        ([[file[:40]]], (48, 56), "cannot be read"),
        ([[b"nothing at all"]], (48, 56), "cannot be read"),
        (other["strings"], (48, 56), "cannot be read"),
        ([[file]], (48, 57), "holds a picture of"),
    ):
        with pytest.raises(StreamError, match=words):
            codec.decompress(strings, size)
