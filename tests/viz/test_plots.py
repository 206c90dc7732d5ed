import itertools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from icmh_plugins.errors import CurveError
from icmh_plugins.evaluation.curves import RateCurve, RatePoint
from icmh_plugins.evaluation.published import published_curve
from icmh_plugins.viz.curves import _spread, plot_curves
from icmh_plugins.viz.display import display


def curve(name, gain=0.0, images=20):
    rng = np.random.default_rng(0)
    points = []
    for rate, top1 in ((0.2, 0.4), (0.4, 0.55), (0.6, 0.65), (0.8, 0.7)):
        scores = (rng.permutation(images) < (top1 + gain) * images).astype(float)
        points.append(RatePoint({"bpp": rate, "top1": scores.mean()}, {"bpp": np.full(images, rate), "top1": scores}))
    return RateCurve(name, tuple(points))


def test_plot_is_a_picture_with_every_curve_in_its_colour(tmp_path):
    curves, published = [curve("base"), curve("better", 0.1)], [published_curve("adapt-icmh")]
    plot_curves(curves, "top1", tmp_path / "p.png", published=published, references={"uncompressed": 0.8})
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).reshape(-1, 3)
    assert len(picture) > 500_000
    for colour in ((0x5C, 0x65, 0x70), (0x0A, 0x6E, 0xBD), (0xD1, 0x49, 0x5B)):
        assert (picture == colour).all(1).sum() > 50


def test_labels_never_overlap_nor_leave_the_plot():
    heights = [0.11, 0.065, 0.11, 0.065]
    placed = _spread([0.97, 0.96, 0.95, 0.2], heights)
    order = np.argsort(placed)
    assert order.tolist() == [3, 2, 1, 0]
    for lower, upper in itertools.pairwise(order):
        assert placed[upper] - placed[lower] >= (heights[upper] + heights[lower]) / 2 - 1e-9
    assert placed[0] + heights[0] / 2 <= 1.02 + 1e-9
    assert placed[3] == 0.2


def test_every_curve_is_labelled_with_its_protocol_where_several_meet(tmp_path):
    ours, other = curve("ours"), replace(curve("other"), protocol="transtic")
    plot_curves([ours, other], "top1", tmp_path / "p.svg", published=[published_curve("adapt-icmh")])
    text = (tmp_path / "p.svg").read_text()
    for label in ("protocol native", "protocol transtic", "protocol adapt-icmh-cls", "none (different protocols)"):
        assert label in text
    plot_curves([ours, curve("better", 0.1)], "top1", tmp_path / "q.svg")
    assert "protocol" not in (tmp_path / "q.svg").read_text()


def test_published_curves_are_dashed(tmp_path):
    plot_curves([curve("ours")], "top1", tmp_path / "p.svg", published=[published_curve("transtic")])
    text = (tmp_path / "p.svg").read_text()
    assert "transtic on TIC (published, digitised)" in text
    assert "stroke-dasharray: 3.7,1.6" in text


def test_bands_of_metrics_over_all_images(tmp_path):
    bare = [RatePoint({"bpp": 0.1 * i, "box-AP": 0.1 * i}) for i in (1, 2, 3, 4)]
    banded = [replace(p, resampled={"box-AP": p.values["box-AP"] + np.linspace(-0.02, 0.02, 9)}) for p in bare]
    sizes = []
    for name, points in (("bare", bare), ("banded", banded)):
        plot_curves([RateCurve("c", tuple(points))], "box-AP", tmp_path / f"{name}.svg")
        sizes.append((tmp_path / f"{name}.svg").read_text().count("FillBetweenPolyCollection"))
    assert sizes == [0, 1]


def test_missing_metric(tmp_path):
    with pytest.raises(CurveError, match="Did you mean 'top1'"):
        plot_curves([curve("base")], "top-1", tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()


def test_display():
    assert display("top1").text(0.7654) == "76.5"
    assert display("psnr-rgb@human").axis == "PSNR (dB), human view"
    assert display("mobilenetv2/top1@human").axis == "mobilenetv2: Top-1 accuracy (%), human view"
    assert display("mobilenetv2/top1").text(0.7654) == "76.5"
    assert display("detector/mask-AP50@human").axis == "detector: Mask AP at IoU 0.5 (%), human view"
    assert display("niqe").text(3.14159) == "3.1416"
