from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from icmh_plugins.data.datasets import ImageFolder
from icmh_plugins.data.degradations import CLEAN, WORDS, Chain, degradation
from icmh_plugins.data.degradations_dataset import Degrade
from icmh_plugins.data.images import write_image
from icmh_plugins.data.transforms import RandomCrop
from icmh_plugins.errors import ConfigError


def picture(height: int = 40, width: int = 56) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    waves = torch.stack([torch.sin(9 * x + 4 * y), torch.cos(7 * y), torch.sin(12 * x * y)])
    return waves.mul(0.4).add(0.5).contiguous()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_words_are_those_of_daclip():
    assert WORDS == (
        "motion-blurry", "hazy", "jpeg-compressed", "low-light", "noisy", "raindrop", "rainy", "shadowed", "snowy",
        "uncompleted",
    )  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("size", [(40, 56), (1, 1), (3, 130)])
def test_every_word_gives_a_picture_that_its_generator_determines(word, size):
    image, kind = picture(*size), degradation(word)
    before = image.clone()
    out = kind(image, rng(3))
    assert torch.equal(image, before)
    assert out.shape == image.shape
    assert out.dtype == torch.float32
    assert 0 <= out.min() <= out.max() <= 1
    assert torch.equal(kind(image, rng(3)), out)
    if size == (40, 56):
        assert not torch.equal(out, image)


@pytest.mark.parametrize("word", sorted(set(WORDS) - {"jpeg-compressed"}))
def test_pictures_differ_from_draw_to_draw(word):
    kind, image = degradation(word), picture()
    assert not torch.equal(kind(image, rng(1)), kind(image, rng(2)))


def test_noise_has_its_sigma():
    grey = torch.full((3, 200, 200), 0.5)
    error = degradation("noisy")(grey, rng()) - grey
    assert float(error.std()) == pytest.approx(25 / 255, rel=0.02)
    assert abs(float(error.mean())) < 0.001


def test_low_light_is_its_formula():
    out = degradation("low-light", gain=0.4, gamma=2.2, sigma=0)(picture(), rng())
    assert torch.allclose(out, 0.4 * picture() ** 2.2)


@pytest.mark.parametrize("degrees", [0, 90])
def test_motion_blurs_along_its_line_alone(degrees):
    lines = torch.zeros(3, 31, 31)
    lines[:, :, ::2] = 1
    out = degradation("motion-blurry", length=11, degrees=degrees)(lines, rng())
    assert torch.allclose(out, lines, atol=1e-6) == (degrees == 0)
    assert (float(out.std()) < 0.1) == (degrees == 90)


def test_jpeg_of_higher_quality_is_nearer():
    errors = [
        float((degradation("jpeg-compressed", quality=q)(picture(), rng()) - picture()).square().mean())
        for q in (5, 30, 90)
    ]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("word", ["rainy", "snowy", "hazy"])
def test_rain_snow_and_haze_only_brighten_a_dark_picture(word):
    dark = picture() * 0.3
    assert ((degradation(word)(dark, rng()) - dark) >= -1e-6).all()


def test_shadows_darken_their_share():
    grey = torch.full((3, 64, 64), 0.8)
    out = degradation("shadowed", share=0.4, light=0.5)(grey, rng())
    assert out.max() <= 0.8
    assert float((out < 0.6).float().mean()) == pytest.approx(0.4, abs=0.02)


def test_missing_parts_reach_their_share_and_leave_the_rest():
    image = picture() + 0.05
    out = degradation("uncompleted", share=0.3, fill=0.0)(image.clamp(0, 1), rng())
    missing = (out == 0).all(0)
    assert 0.3 <= float(missing.float().mean()) < 0.6
    assert torch.equal(out[:, ~missing], image.clamp(0, 1)[:, ~missing])


@pytest.mark.parametrize(
    ("word", "options", "message"),
    [
        ("noizy", {}, "Did you mean 'noisy'"),
        ("noisy", {"sigme": 0.1}, "Did you mean 'sigma'"),
        ("noisy", {"sigma": 25}, r"within \[0, 1\]"),
        ("noisy", {"sigma": (0.2, 0.1)}, "rising pair"),
        ("jpeg-compressed", {"quality": 0}, r"within \[1, 95\]"),
    ],
)
def test_mistakes_are_named(word, options, message):
    with pytest.raises(ConfigError, match=message):
        degradation(word, **options)


def test_a_chain_runs_its_parts_in_order():
    parts = (degradation("low-light"), degradation("noisy", sigma=0.02))
    first, second = rng(5), rng(5)
    chain = Chain(parts=parts)
    assert chain.word == "low-light"
    assert torch.equal(chain(picture(), first), parts[1](parts[0](picture(), second), second))
    assert chain.model_dump()["parts"][1] == {"sigma": (0.02, 0.02)}


@pytest.mark.parametrize("parts", [(), ("noisy",), None, degradation("noisy")])
def test_a_chain_of_no_degradations_is_refused(parts):
    with pytest.raises(ConfigError, match="a chain needs a list of degradations"):
        Chain(parts=parts)


@pytest.mark.parametrize("word", WORDS)
def test_pictures_are_clipped_before_they_are_degraded(word):
    """Beyond [0, 1] a byte wraps around and a power is not defined."""
    wild = picture() * 1.5 - 0.25
    assert torch.equal(degradation(word)(wild, rng(1)), degradation(word)(wild.clamp(0, 1), rng(1)))


@pytest.fixture
def folder(tmp_path):
    for index in range(4):
        write_image(tmp_path / f"{index}.png", picture(24, 32).roll(index * 5, 2))
    return tmp_path


def test_samples_depend_on_seed_epoch_and_index_alone(folder):
    data = Degrade(ImageFolder(folder), ["noisy", "rainy"], transform=RandomCrop(16), seed=2)
    first = [sample["image"] for sample in data]
    assert torch.equal(data[2]["image"], first[2])
    loaded = [s["image"] for s in DataLoader(data, batch_size=None, num_workers=2)]
    assert all(torch.equal(a, b) for a, b in zip(loaded, first, strict=True))
    data.set_epoch(1)
    assert not torch.equal(data[2]["image"], first[2])
    data.set_epoch(0)
    assert torch.equal(pickle.loads(pickle.dumps(data))[1]["image"], first[1])
    other = Degrade(ImageFolder(folder), ["noisy", "rainy"], transform=RandomCrop(16), seed=3)
    assert not torch.equal(other[2]["image"], first[2])


def test_samples_have_the_clean_picture_of_the_same_window(folder):
    data = Degrade(ImageFolder(folder), degradation("noisy", sigma=0.01), transform=RandomCrop(16))
    sample = data[1]
    assert sample["degradation"] == "noisy"
    assert sample["name"] == "1.png"
    assert 0 < float((sample["image"] - sample["clean"]).abs().max()) < 0.1
    with pytest.raises(IndexError):
        data[4]


def test_a_mixture_draws_all_words_and_leaves_its_share_clean(folder):
    data = Degrade([picture()] * 300, ["noisy", "hazy"], clean_share=0.2)
    samples = [data[i] for i in range(300)]
    counts = {word: sum(s["degradation"] == word for s in samples) for word in ("noisy", "hazy", CLEAN)}
    assert sum(counts.values()) == 300
    assert 35 < counts[CLEAN] < 85
    assert min(counts["noisy"], counts["hazy"]) > 80
    assert all(torch.equal(s["image"], s["clean"]) == (s["degradation"] == CLEAN) for s in samples)
    assert all(s["image"].data_ptr() != s["clean"].data_ptr() for s in samples)


@pytest.mark.parametrize(
    ("kinds", "share", "message"),
    [
        ([], 0, "give one degradation"),
        (None, 0, "give one degradation"),
        ([3], 0, "give one degradation"),
        ({"noisy"}, 0, "give one degradation"),
        ("foggy", 0, "no degradation 'foggy'"),
        ("noisy", 1.5, "clean_share"),
        ("noisy", "0.1", "clean_share"),
        ("noisy", float("nan"), "clean_share"),
    ],
)
def test_impossible_mixtures_are_refused(kinds, share, message):
    with pytest.raises(ConfigError, match=message):
        Degrade([picture()], kinds, clean_share=share)
