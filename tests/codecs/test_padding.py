import pytest
import torch
from torch import nn

from icmh_plugins.codecs.padding import crop, min_size, pad, pad_multiple, pad_smoothly
from icmh_plugins.errors import CodecError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS, two_input_codec

CODECS = {**TOYS, **COMPRESSAI_MODELS}


@pytest.mark.parametrize("name", CODECS)
def test_the_multiple_is_the_coarsest_latent(name):
    model = CODECS[name]()
    multiple = 16 if name.startswith("bmshj2018-factorized") else 64
    assert pad_multiple(model) == multiple
    assert min_size(model) == multiple


@pytest.mark.parametrize("name", CODECS)
def test_a_padded_image_survives_the_real_coder(name):
    model = CODECS[name]()
    image = torch.rand(1, 3, 37, 70, generator=torch.Generator().manual_seed(2))
    padded, size = pad(image, pad_multiple(model), min_size(model))
    with torch.no_grad():
        coded = model.compress(padded)
        decoded = model.decompress(coded["strings"], coded["shape"])["x_hat"]
    assert crop(decoded, size).shape == image.shape


class Windowed(nn.Module):
    """Wraps a codec so that it takes only multiples of 128 from 256 up, as window attention does."""

    def __init__(self):
        super().__init__()
        self.g_a, self.inner = nn.Identity(), TOYS["slice"]()

    def forward(self, x):
        if x.shape[-1] % 128 or x.shape[-2] % 128 or min(x.shape[-2:]) < 256:
            raise AssertionError("input feature has wrong size")
        return self.inner(x)


def test_windows_and_minimum_are_found_by_trial():
    model = Windowed()
    assert pad_multiple(model) == 128
    assert min_size(model) == 256


class WindowedAndTwoInputs(nn.Module):
    """Codes multiples of 128 only, and cannot be traced."""

    def __init__(self):
        super().__init__()
        self.g_a, self.inner = nn.Identity(), two_input_codec()

    def compress(self, x):
        if x.shape[-1] % 128 or x.shape[-2] % 128:
            raise AssertionError("input feature has wrong size")
        coded = self.inner.compress(x)
        return {**coded, "shape": {"z": [coded["shape"]]}}

    def decompress(self, strings, shape):
        return self.inner.decompress(strings, shape["z"][0])


@pytest.mark.parametrize(("make", "multiple"), [(two_input_codec, 64), (WindowedAndTwoInputs, 128)])
def test_a_codec_that_cannot_be_traced_is_tried_by_coding(make, multiple):
    model = make().train()
    before = torch.get_rng_state()
    assert (pad_multiple(model), min_size(model)) == (multiple, multiple)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)


def test_a_codec_that_can_neither_be_traced_nor_code_says_why():
    model = two_input_codec()
    model.compress = None
    with pytest.raises(CodecError, match="missing 1 required positional argument: 'gain'"):
        pad_multiple(model)


def test_a_codec_that_never_gives_the_image_back_is_refused():
    model = TOYS["slice"]()
    model.g_s[6] = nn.Conv2d(12, 3, 1)
    with pytest.raises(CodecError, match="gave back no image of those tried, up to 768 pixels"):
        pad_multiple(model)


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (64, 64), (65, 1)])
def test_padding_repeats_the_border_and_crop_undoes_it(size):
    image = torch.rand(2, 3, *size)
    padded, original = pad(image, 64, 100)
    assert all(side % 64 == 0 and side >= 128 for side in padded.shape[-2:])
    assert torch.equal(crop(padded, original), image)
    assert torch.equal(padded[..., -1, -1], image[..., -1, -1])


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (64, 64), (65, 1)])
def test_padding_to_code_continues_the_picture_within_its_range(size):
    image = torch.rand(2, 3, *size)
    padded, original = pad_smoothly(image, 64, 100)
    assert padded.shape == pad(image, 64, 100)[0].shape
    assert torch.equal(crop(padded, original), image)
    assert padded.isfinite().all()
    assert padded.amin() >= image.amin()
    assert padded.amax() <= image.amax() + 1e-6


def test_padding_to_code_gets_smoother_with_every_row():
    padded, _ = pad_smoothly(torch.rand(1, 3, 40, 128), 64)
    roughness = padded.diff(dim=-1).square().mean((0, 1, 3))[39:]
    assert (roughness.diff() < 0).all()
    assert roughness[-1] < roughness[0] / 50


def test_padding_to_code_leaves_flat_pictures_flat():
    padded, _ = pad_smoothly(torch.full((1, 3, 50, 70), 0.25), 64)
    assert torch.allclose(padded, torch.full((1, 3, 64, 128), 0.25))
