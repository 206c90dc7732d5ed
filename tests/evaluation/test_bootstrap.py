import numpy as np
import pytest

from icmh_plugins.errors import CurveError
from icmh_plugins.evaluation.bjontegaard import bd_metric
from icmh_plugins.evaluation.bootstrap import bootstrap_bd, paired_difference
from icmh_plugins.evaluation.curves import RateCurve, RatePoint

IMAGES = 200
HARDNESS = np.random.default_rng(1).uniform(0, 1, IMAGES)
BUSYNESS = np.random.default_rng(2).uniform(0.5, 1.5, IMAGES)


def curve(saving=1.0, images=IMAGES, levels=(0.45, 0.6, 0.7, 0.78)):
    """A classifier right on the images easier than `level`; rates proportional to how busy an image is."""
    points = []
    for level, rate in zip(levels, (0.2, 0.4, 0.6, 0.8), strict=True):
        bpp, top1 = (rate * saving * BUSYNESS)[:images], 100.0 * (level > HARDNESS[:images])
        points.append(RatePoint({"bpp": bpp.mean(), "top1": top1.mean()}, {"bpp": bpp, "top1": top1}))
    return RateCurve("c", tuple(points))


def test_pairing_removes_what_images_have_in_common():
    interval = bootstrap_bd(curve(), curve(saving=0.5), "top1", resamples=50)
    assert interval.value == pytest.approx(-50.0)
    assert interval.low == pytest.approx(-50.0)
    assert interval.high == pytest.approx(-50.0)
    assert interval.refused == 0.0


def test_same_seed_same_interval():
    pair = curve(), curve(levels=(0.5, 0.62, 0.72, 0.8))
    first, again = (bootstrap_bd(*pair, "top1", resamples=50, seed=3) for _ in range(2))
    other = bootstrap_bd(*pair, "top1", resamples=50, seed=4)
    assert first == again
    assert first.low != other.low
    assert first.low < first.value < first.high < 0


def test_a_resample_is_the_evaluation_of_its_images():
    pair = curve(), curve(levels=(0.5, 0.62, 0.72, 0.8))
    weights = np.random.default_rng(0).multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), size=1)[0]
    indices = np.repeat(np.arange(IMAGES), weights)
    resampled = []
    for c in pair:
        points = [RatePoint({k: v[indices].mean() for k, v in p.per_image.items()}) for p in c.points]
        resampled.append(RateCurve("c", tuple(points)))
    expected = bd_metric(*resampled, "top1", method="cubic").value
    got = bootstrap_bd(*pair, "top1", delta=bd_metric, resamples=1, seed=0, method="cubic")
    assert got.low == pytest.approx(expected)


def test_refused_resamples_are_counted():
    near = curve(levels=(0.45, 0.7, 0.72, 0.78))
    interval = bootstrap_bd(curve(), near, "top1", resamples=200)
    assert 0.0 < interval.refused < 1.0
    assert np.isfinite(interval.low)


def test_different_images_are_refused():
    with pytest.raises(CurveError, match=r"\[100, 200\]"):
        bootstrap_bd(curve(), curve(images=100), "top1")
    a, b = curve(), curve()
    named = [RateCurve(c.name, c.points, images=(name,) * IMAGES) for c, name in ((a, "a"), (b, "b"))]
    with pytest.raises(CurveError, match="different images"):
        bootstrap_bd(*named, "top1")


def test_needs_per_image_values():
    bare = RateCurve("bare", tuple(RatePoint(p.values) for p in curve().points))
    with pytest.raises(CurveError, match="no per-image 'bpp'"):
        bootstrap_bd(curve(), bare, "top1")


def test_paired_difference():
    a = np.random.default_rng(0).normal(0, 10, 400)
    b = a + np.random.default_rng(1).normal(1.0, 1.0, 400)
    interval = paired_difference(a, b)
    assert interval.value == pytest.approx(np.mean(b - a))
    half_width = 1.96 * np.std(b - a) / 20
    assert interval.low == pytest.approx(interval.value - half_width, abs=0.02)
    assert interval.high == pytest.approx(interval.value + half_width, abs=0.02)
    with pytest.raises(CurveError, match="3 and 2 values"):
        paired_difference([1, 2, 3], [1, 2])
