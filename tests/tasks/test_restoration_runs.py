"""Pairs all the way: trained on, coded to real streams, scored against the clean picture."""

from __future__ import annotations

import pytest
import torch
from compressai.models import MeanScaleHyperprior

import icmh_plugins as icmh
from icmh_plugins.data.degradations import degradation
from icmh_plugins.data.degradations_dataset import Degrade
from icmh_plugins.data.sources import collate, open_data
from icmh_plugins.data.transforms import RandomCrop
from icmh_plugins.errors import DataError


def pictures(count: int = 4) -> list[torch.Tensor]:
    coarse = torch.rand(count, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    return list(torch.nn.functional.interpolate(coarse, (80, 96), mode="bicubic").clamp(0, 1))


@pytest.fixture
def codec():
    torch.manual_seed(0)
    model = MeanScaleHyperprior(16, 24).eval()
    model.update(force=True)
    return icmh.attach_adapter(model, "dynamic", width=8)


def test_the_crop_of_training_takes_one_window_of_both_pictures():
    dark = degradation("low-light", gain=0.5, gamma=1, sigma=0)
    data = open_data(Degrade(pictures(), dark), RandomCrop(32))
    batch = collate([data[i] for i in range(4)])
    assert batch["image"].shape == batch["clean"].shape == (4, 3, 32, 32)
    assert torch.allclose(batch["image"], batch["clean"] / 2)
    assert batch["degradation"] == ["low-light"] * 4


def test_pairs_of_unequal_size_are_refused_when_they_are_read():
    sample = {"image": torch.zeros(3, 8, 8), "clean": torch.zeros(3, 8, 9)}
    with pytest.raises(DataError, match="pairs need equal sizes"):
        open_data([sample])[0]


def test_training_restores_and_evaluation_scores_against_the_clean_picture(codec):
    dark = Degrade(pictures(), degradation("low-light", gain=0.5, gamma=1, sigma=0))
    before = icmh.evaluate(codec, "restoration", dark, progress=False).values
    icmh.fit(
        codec, "restoration", dark, lmbda=1.0, mode="frozen", steps=30, batch_size=2, crop=64, lr=5e-3, progress=False
    )
    after = icmh.evaluate(codec, "restoration", dark, views=["human"], progress=False).values
    assert after["bpp"] == before["bpp"]
    assert after["psnr@human"] == pytest.approx(before["psnr"])
    assert after["psnr"] > before["psnr"] + 1


def test_evaluation_without_clean_pictures_is_refused(codec):
    with pytest.raises(DataError, match="restoration needs clean pictures"):
        icmh.evaluate(codec, "restoration", pictures(1), progress=False)


def test_checkpoints_as_basicsr_writes_them_are_read(tmp_path):
    network = torch.nn.Conv2d(3, 3, 1)
    average = {key: torch.ones_like(value) for key, value in network.state_dict().items()}
    torch.save({"params": network.state_dict(), "params_ema": average}, tmp_path / "net.pth")
    icmh.create_task("restoration", network=network, checkpoint=str(tmp_path / "net.pth"))
    assert all(torch.equal(value, average[key]) for key, value in network.state_dict().items())
