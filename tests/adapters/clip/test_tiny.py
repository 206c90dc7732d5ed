"""The tower that comes with the package."""

import numpy as np
import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.adapters.clip.conditioner import classify, degradation_words, load_conditioner
from icmh_plugins.adapters.clip.spec import TINY
from icmh_plugins.adapters.host import host_of
from icmh_plugins.data.degradations import CLEAN, WORDS, degradation
from icmh_plugins.data.images import read_image
from icmh_plugins.data.transforms import CenterCrop

pytest.importorskip("open_clip")


def test_it_is_small():
    conditioner = load_conditioner("tiny")
    assert sum(p.numel() for p in conditioner.parameters()) < 2e6
    assert sum(path.stat().st_size for path in TINY.iterdir()) < 2e6
    assert conditioner.width == 64


def test_it_knows_the_ten_words_and_clean():
    words, prototypes = degradation_words("tiny")
    assert words == (*WORDS, CLEAN)
    assert prototypes.shape == (11, 64)
    assert torch.allclose(prototypes.norm(dim=1), torch.ones(11), atol=1e-5)


def test_its_card_states_the_accuracy_of_every_word():
    card = (TINY / "README.md").read_text()
    assert all(f"| {word} |" in card for word in (*WORDS, CLEAN))
    assert "held out" in card


@pytest.mark.data
def test_it_tells_degradations_of_pictures_it_was_not_trained_on(measuring_data):
    paths = sorted((measuring_data / "bsds500_train").glob("*.jpg"))[::5][:8]  # held out by benchmarks/train_tower.py
    words, prototypes = degradation_words("tiny")
    right = []
    for word in ("low-light", "hazy", "uncompleted", "snowy"):
        rng = np.random.default_rng(0)
        pictures = torch.stack([CenterCrop(256)(degradation(word)(read_image(path), rng)) for path in paths])
        found = classify(load_conditioner("tiny")(pictures).degradation, prototypes).argmax(1)
        right += [words[index] == word for index in found]
    assert sum(right) / len(right) > 0.6


def test_it_is_the_default():
    codec = icmh.attach_adapter(icmh.load_codec("mbt2018-mean-n64m96-q3"), "ll-icm")
    config = host_of(codec).records["ll-icm"].config
    assert (config["clip"], config["clip_width"]) == ("tiny", 64)
