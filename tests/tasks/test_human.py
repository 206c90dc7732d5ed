from __future__ import annotations

import math

import pytest
import torch

from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks.create import create_task

TASK = create_task("human")


def image(side: int, seed: int = 0, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_mse_is_on_the_scale_of_255():
    x = image(8)
    loss = TASK.distortion(x + 2 / 255, {"image": x})
    assert loss.total.item() == pytest.approx(4, rel=1e-4)
    assert loss.parts["mse"] == loss.total


def test_psnr_by_hand_and_per_image():
    x = torch.full((2, 3, 8, 8), 100 / 255)
    x_hat = x + torch.tensor([5, 10]).view(2, 1, 1, 1) / 255
    metric = TASK.metrics()
    metric.update(TASK.predict(x_hat), {"image": x})
    expected = [20 * math.log10(255 / 5), 20 * math.log10(255 / 10)]
    assert metric.scores()["psnr-rgb"].tolist() == pytest.approx(expected)
    assert metric.compute()["psnr-rgb"] == pytest.approx(sum(expected) / 2)
    assert metric.compute([1])["psnr-rgb"] == pytest.approx(expected[1])


def test_metrics_equal_those_of_compressai():
    from compressai.utils.eval_model.__main__ import compute_metrics

    x = image(176)
    x_hat = x + 0.1 * (image(176, 1) - 0.5)
    metric = TASK.metrics()
    metric.update(TASK.predict(x_hat), {"image": x})
    assert metric.compute() == pytest.approx(compute_metrics(x, x_hat), rel=1e-6)


def test_small_images_are_left_out_of_ms_ssim(caplog):
    metric = TASK.metrics()
    metric.update(image(160, 1), {"image": image(160)})
    assert math.isnan(metric.compute()["ms-ssim-rgb"])
    assert "below 161" in caplog.text
    large = image(161)
    metric.update(large, {"image": large})
    assert metric.compute()["ms-ssim-rgb"] == pytest.approx(1)


def test_ms_ssim_loss_falls_to_zero_and_has_a_gradient():
    task = create_task("human", distortion="ms-ssim")
    x = image(161)
    assert task.distortion(x, {"image": x}).total.item() == pytest.approx(0, abs=1e-6)
    x_hat = (x + 0.1 * image(161, 1)).requires_grad_()
    loss = task.distortion(x_hat, {"image": x}).total
    loss.backward()
    assert loss > 0.001
    assert x_hat.grad.abs().sum() > 0


def test_ms_ssim_training_on_small_crops_is_refused():
    with pytest.raises(DataError, match="161"):
        create_task("human", distortion="ms-ssim").distortion(image(128), {"image": image(128)})


def test_a_misspelt_option_gets_a_near_match():
    with pytest.raises(ConfigError, match="Did you mean 'distortion'"):
        create_task("human", distorsion="mse")
