from __future__ import annotations

import copy
import importlib
import math

import pytest
import torch
from torch import nn

from icmh_plugins.errors import ConfigError, DataError, MissingDependencyError
from icmh_plugins.tasks.create import create_task
from icmh_plugins.tasks.restoration import Restoration, RestorationConfig
from icmh_plugins.tasks.restoration_losses import NATIVE
from icmh_plugins.tasks.similarity import ssim


def task(network: nn.Module | None = None, **options) -> Restoration:
    return Restoration(RestorationConfig(**options), network=network)


def picture(seed: int, side: int = 24, count: int = 2) -> torch.Tensor:
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


class Halving(nn.Module):
    """Halves brightness; takes multiples of 8 only, and has a dropout that must never act."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.dropout = nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[-1] % 8 == x.shape[-2] % 8 == 0
        return self.dropout(self.scale * x)


def test_the_ideal_is_the_clean_picture_and_not_what_was_coded():
    clean, coded = picture(0), picture(1)
    batch = {"image": coded, "clean": clean}
    assert task(losses="l1").distortion(clean, batch).total.item() == 0
    assert task(losses="l1").distortion(coded, batch).total.item() == pytest.approx(
        float((coded - clean).abs().mean()), rel=1e-5
    )


def test_losses_are_weighted_and_logged():
    clean = picture(0)
    loss = task(losses={"mse": 2.0, "l1": 0.5}).distortion(clean + 0.1, {"clean": clean})
    assert {name: round(float(v), 5) for name, v in loss.parts.items()} == {"mse": 0.01, "l1": 0.1}
    assert loss.total.item() == pytest.approx(2 * 0.01 + 0.5 * 0.1, rel=1e-4)


@pytest.mark.parametrize("name", NATIVE)
def test_every_native_loss_has_a_gradient_and_is_least_at_the_clean_picture(name):
    clean = picture(0)
    x_hat = (clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
    loss = task(losses=name).distortion(x_hat, {"clean": clean}).total
    loss.backward()
    assert x_hat.grad.abs().sum() > 0
    assert task(losses=name).distortion(clean, {"clean": clean}).total < loss


def test_total_variation_by_hand():
    ramp = torch.arange(4.0).expand(1, 3, 4, 4) / 10
    assert task(losses="tv").distortion(ramp, {"clean": ramp}).total.item() == pytest.approx(0.1 * 12 / 16)


def test_psnr_by_hand_on_eight_bits():
    clean = torch.full((2, 3, 12, 12), 100 / 255)
    x_hat = clean + torch.tensor([5.4, 10]).view(2, 1, 1, 1) / 255
    metric = task().metrics()
    metric.update(task().predict(x_hat), {"clean": clean})
    expected = [20 * math.log10(255 / 5), 20 * math.log10(255 / 10)]
    assert metric.scores()["psnr"].tolist() == pytest.approx(expected)
    metric.update(clean, {"clean": clean})
    assert metric.scores()["psnr"][2] == math.inf
    assert metric.scores()["ssim"][2] == pytest.approx(1)


def test_ssim_equals_an_independent_implementation():
    reference = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    a, b = picture(0, 40, 1), (picture(0, 40, 1) + 0.2 * picture(3, 40, 1)).clamp(0, 1)
    expected = reference.structural_similarity(
        a[0].permute(1, 2, 0).double().numpy(), b[0].permute(1, 2, 0).double().numpy(), channel_axis=2, data_range=1,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True,
    )[1][5:-5, 5:-5].mean()  # fmt: skip
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-5)


def test_ssim_of_tiny_pictures_is_undefined(caplog):
    metric = task().metrics()
    metric.update(picture(0, 10), {"clean": picture(0, 10)})
    assert math.isnan(metric.compute()["ssim"])
    assert "no ssim for some images of 10x10" in caplog.text
    with pytest.raises(DataError, match="sides of 11"):
        task(losses="ssim").distortion(picture(0, 10), {"clean": picture(0, 10)})


def test_a_network_stands_between_codec_and_loss():
    restoring = task(Halving(), losses="l1", multiple=8)
    x_hat = picture(0, 21).requires_grad_()
    assert torch.allclose(restoring.predict(x_hat), x_hat / 2)
    loss = restoring.distortion(x_hat, {"clean": x_hat.detach() / 2 + 0.1})
    loss.total.backward()
    assert loss.total.item() == pytest.approx(0.1, rel=1e-4)
    assert x_hat.grad.abs().sum() > 0
    assert restoring.config.network == "module:Halving"


def test_the_network_is_frozen_and_stays_in_eval_mode():
    net = Halving()
    restoring = task(net)
    restoring.train()
    assert not any(module.training for module in restoring.modules())
    assert not any(parameter.requires_grad for parameter in restoring.parameters())
    clone = copy.deepcopy(restoring)
    assert torch.equal(clone.predict(picture(0)), restoring.predict(picture(0)))


def test_a_network_that_enlarges_is_refused():
    with pytest.raises(ConfigError, match="options for scale 1"):
        task(nn.Upsample(scale_factor=2)).predict(picture(0))


def test_a_network_of_other_inputs_is_refused():
    class OfFrames(nn.Module):
        def forward(self, frames):
            _, _, _, _, _ = frames.shape
            return frames

    with pytest.raises(ConfigError, match=r"OfFrames does not take pictures \(2, 3, 24, 24\)"):
        task(OfFrames()).predict(picture(1))


def test_one_metric_need_not_be_a_list():
    assert task(metrics="ssim").config.metrics == ("ssim",)


def test_metrics_that_results_could_not_tell_apart_are_refused():
    with pytest.raises(ConfigError, match="metrics has psnr twice"):
        create_task("restoration", metrics=["psnr", "basicsr:psnr"])


def test_weights_of_a_network_come_from_a_file_without_code(tmp_path):
    torch.save({"state_dict": {"scale": torch.tensor(0.25)}}, tmp_path / "net.pth")
    restoring = task(Halving(), checkpoint=str(tmp_path / "net.pth"))
    assert torch.allclose(restoring.predict(picture(0)), picture(0) / 4)
    torch.save({"other": torch.tensor(0.25)}, tmp_path / "bad.pth")
    with pytest.raises(DataError, match="missing: scale"):
        task(Halving(), checkpoint=str(tmp_path / "bad.pth"))


def test_clean_pictures_may_come_as_a_list():
    clean = picture(0)
    batch = {"clean": list(clean)}
    assert task(losses="l1").distortion(clean, batch).total.item() == 0


@pytest.mark.parametrize(
    ("clean", "message"),
    [(None, "needs clean pictures"), (picture(0, 23), "equal sizes"), (picture(0, count=1), "equal sizes")],
)
def test_batches_without_fitting_clean_pictures_are_refused(clean, message):
    batch = {"image": picture(1)} if clean is None else {"clean": clean}
    with pytest.raises(DataError, match=message):
        task().distortion(picture(1), batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"losses": "charbonier"}, "Did you mean 'charbonnier'"),
        ({"metrics": ("pnsr",)}, "Did you mean 'psnr'"),
        ({"metrics": "niqe"}, "Did you mean 'basicsr:niqe'"),
        ({"metrics": "basicsr:niqee"}, "Did you mean 'basicsr:niqe'"),
        ({"loss_options": {"charbonnier": {"eps": 1}}}, "has no options, got eps"),
        ({"network": "SwinIR"}, "basicsr:<Arch>"),
        ({"checkpoint": "x.pth"}, "belong to a network"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        task(**options)


def test_without_basicsr_the_error_names_the_extra(monkeypatch):
    real = importlib.import_module

    def absent(name, package=None):
        if name.partition(".")[0] == "basicsr":
            raise ModuleNotFoundError(f"No module named {name!r}", name="basicsr")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    for options in ({"losses": "basicsr:L1Loss"}, {"network": "basicsr:SwinIR"}):
        with pytest.raises(MissingDependencyError, match=r"icmh-plugins\[basicsr\]"):
            task(**options)
    niqe = task(metrics=("psnr", "basicsr:niqe")).metrics()
    with pytest.raises(MissingDependencyError, match=r"icmh-plugins\[basicsr\]"):
        niqe.update(picture(0), {"clean": picture(0)})
    assert task(losses="l1").distortion(picture(0), {"clean": picture(0)}).total.item() == 0
