import numpy as np
import pytest
import torch
from compressai.models import MeanScaleHyperprior
from PIL import Image

from icmh_plugins.data.degradations_dataset import Degrade
from icmh_plugins.errors import CurveError, DataError
from icmh_plugins.evaluation.compare import compare
from icmh_plugins.evaluation.curves import RateCurve, RatePoint
from icmh_plugins.evaluation.perception import falls
from icmh_plugins.viz.html import figure
from icmh_plugins.viz.matplotlib import PALETTE
from icmh_plugins.viz.perception import plot_perception
from icmh_plugins.viz.strips import plot_strips, restoration_strip


def curve(name: str, qualities, metric: str = "psnr", lower: bool = False) -> RateCurve:
    facts = {"lower_is_better": [metric]} if lower else {}
    points = [RatePoint({"bpp": 0.2 * (i + 1), metric: q}, facts=facts) for i, q in enumerate(qualities)]
    return RateCurve(name, tuple(points))


def test_falls_are_what_bjontegaard_refuses():
    rising, falling = curve("a", [25, 26, 27, 28]), curve("b", [25, 27, 26, 26])
    assert falls(rising, "psnr") == ()
    found = falls(falling, "psnr")
    assert [fall.first for fall in found] == [1, 2]
    assert found[0].rates == pytest.approx((0.4, 0.6))
    assert found[0].qualities == (27, 26)
    assert compare(rising, falling, "psnr").rate.refusal == "not monotone"


def test_of_distances_less_is_better():
    assert falls(curve("a", [5, 4, 3], "niqe", lower=True), "niqe") == ()
    assert len(falls(curve("a", [3, 4, 5], "niqe", lower=True), "niqe")) == 2


def colours(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)


def test_plot_has_a_panel_for_each_task_and_a_colour_for_each_name(tmp_path):
    tasks = {
        "noisy": [curve("base", [20, 21, 22, 23]), curve("ll-icm", [26, 27, 26, 25])],
        "rainy": [curve("ll-icm", [26, 27, 28, 29])],
    }
    plot_perception(tasks, "psnr", tmp_path / "both.png", references={"noisy": {"input": 20.3}})
    plot_perception({"rainy": tasks["rainy"]}, "psnr", tmp_path / "one.png")
    assert Image.open(tmp_path / "both.png").width > 1.6 * Image.open(tmp_path / "one.png").width
    pixels = colours(tmp_path / "both.png")
    for colour in PALETTE[:2]:
        assert (pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(1).sum() > 50
    with pytest.raises(CurveError, match="at least one task"):
        plot_perception({}, "psnr", tmp_path / "none.png")
    with pytest.raises(CurveError, match="Did you mean 'psnr'"):
        plot_perception(tasks, "pnsr", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    model = MeanScaleHyperprior(16, 24).eval()
    model.update(force=True)
    return model


def test_strips_show_real_streams(codec, tmp_path):
    pictures = [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    strips = {w: restoration_strip(codec, Degrade(pictures, w)[i]) for i, w in enumerate(("noisy", "rainy"))}
    captions = list(strips["noisy"])
    assert captions[0] == "ideal"
    assert captions[1].startswith("x, coded: ")
    assert "bpp" in captions[2]
    assert all(picture.shape == (3, 64, 96) for picture in strips["noisy"].values())
    plot_strips(strips, tmp_path / "strips.png")
    size = Image.open(tmp_path / "strips.png").size
    assert size[0] > 1.5 * size[1]
    assert 'src="data:image/png' in figure(tmp_path / "strips.png", "strips")
    with pytest.raises(DataError, match="needs 'clean'"):
        restoration_strip(codec, {"image": pictures[0]})
