"""What the result says of pictures that its means leave out."""

from __future__ import annotations

import logging

import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.evaluation.curves import RateCurve


def measured(*pictures: torch.Tensor):
    return icmh.evaluate(icmh.load_codec("jpeg:90"), None, list(pictures), progress=False)


GREY = torch.full((3, 16, 16), 128 / 255)
NOISE = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_pictures_decoded_exactly_are_counted(caplog, tmp_path):
    with caplog.at_level(logging.WARNING):
        result = measured(GREY, NOISE, GREY)
    assert result.values["psnr-rgb"] == pytest.approx(measured(NOISE).values["psnr-rgb"])
    assert result.averaged == {"psnr-rgb": 1}
    assert "psnr-rgb is infinite for 2 of 3 images" in caplog.text
    assert f"{result.values['psnr-rgb']:.4f} (1 of 3 images)" in str(result)
    result.save(tmp_path / "r.json")
    assert RateCurve.load(tmp_path / "r.json").points[0].facts["averaged"] == {"psnr-rgb": 1}


def test_where_all_are_exact_there_is_no_mean(caplog):
    with caplog.at_level(logging.WARNING):
        result = measured(GREY)
    assert "psnr-rgb" not in result.values
    assert "psnr-rgb is infinite for 1 of 1 images" in caplog.text


def test_whole_means_say_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        result = measured(NOISE)
    assert result.averaged == {}
    assert "averaged" not in result.point.facts
    assert "infinite" not in caplog.text
    assert "images)" not in str(result)
