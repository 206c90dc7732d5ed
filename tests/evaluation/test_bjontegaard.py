from dataclasses import replace

import pytest

from icmh_plugins.errors import BDRefusedError, CurveError
from icmh_plugins.evaluation.bjontegaard import bd_metric, bd_rate
from icmh_plugins.evaluation.curves import RateCurve, RatePoint
from icmh_plugins.evaluation.published import published_curve

FALLING = [(0.1, 9.0), (0.2, 7.0), (0.4, 6.0), (0.8, 5.0)]
RISING = [(0.1, 50.0), (0.2, 60.0), (0.4, 67.0), (0.8, 70.0)]


def make(pairs, name="c", protocol="native"):
    return RateCurve(name, tuple(RatePoint({"bpp": r, "top1": q}) for r, q in pairs), protocol)


def test_half_the_bits_is_minus_fifty_percent():
    half = make([(r / 2, q) for r, q in RISING])
    result = bd_rate(make(RISING), half, "top1")
    assert result.value == pytest.approx(-50.0)
    assert result.overlap == (50.0, 70.0)
    assert result.coverage == pytest.approx(1.0)


def test_two_points_better_everywhere():
    better = make([(r, q + 2) for r, q in RISING])
    result = bd_metric(make(RISING), better, "top1")
    assert result.value == pytest.approx(2.0)
    assert result.overlap == pytest.approx((0.1, 0.8))


def test_distances_count_the_other_way():
    anchor, half = make(FALLING), make([(r / 2, q) for r, q in FALLING])
    result = bd_rate(anchor, half, "top1", higher_is_better=False)
    assert result.value == pytest.approx(-50.0)
    assert result.overlap == (5.0, 9.0)
    shifted = make([(r, q - 1) for r, q in FALLING])
    assert bd_metric(anchor, shifted, "top1", higher_is_better=False).value == pytest.approx(-1.0)
    with pytest.raises(CurveError, match="not monotone"):
        bd_rate(anchor, half, "top1")


def test_curves_of_unequal_length():
    longer = make([*RISING, (1.6, 72.0)])
    assert bd_rate(make(RISING), longer, "top1").value == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (RISING[:3], "has 3 points"),
        ([(0.1, 50.0), (0.2, 60.0), (0.4, 59.0), (0.8, 70.0)], r"from 60 to 59 as the rate goes from 0\.2 to 0\.4"),
        ([(0.1, 50.0), (0.1, 60.0), (0.4, 65.0), (0.8, 70.0)], "not monotone"),
        ([(0.0, 50.0), (0.2, 60.0), (0.4, 65.0), (0.8, 70.0)], "not all usable"),
        ([(0.1, float("nan")), (0.2, 60.0), (0.4, 65.0), (0.8, 70.0)], "not all usable"),
    ],
)
@pytest.mark.parametrize("delta", [bd_rate, bd_metric])
def test_unusable_curves(delta, pairs, says):
    with pytest.raises(CurveError, match=says):
        delta(make(RISING), make(pairs), "top1")
    with pytest.raises(CurveError, match=says):
        delta(make(pairs), make(RISING), "top1")


def test_no_common_rate():
    with pytest.raises(CurveError, match="no rate is common"):
        bd_metric(make(RISING), make([(r * 10, q) for r, q in RISING]), "top1")


@pytest.mark.parametrize("delta", [bd_rate, bd_metric])
def test_two_protocols_never_meet(delta):
    with pytest.raises(CurveError, match=r"'native'.*'adapt-icmh-cls'"):
        delta(make(RISING), published_curve("transtic"), "top1")
    with pytest.raises(CurveError, match=r"'adapt-icmh'.*'transtic'"):
        delta(*(published_curve(name, "box-AP") for name in ("adapt-icmh", "transtic")), "box-AP")


@pytest.mark.parametrize("delta", [bd_rate, bd_metric])
def test_two_sets_of_images_never_meet(delta):
    ours, published = make(RISING, "ours", "adapt-icmh-cls"), published_curve("base")
    with pytest.raises(CurveError, match=r"different images \(unknown; ImageNet-1k val\)"):
        delta(ours, published, "top1")
    first, second = (replace(make(RISING), images=images) for images in (("a", "b"), ("c", "b")))
    with pytest.raises(CurveError, match="2 pictures from 'a'; 2 pictures from 'c'"):
        delta(first, second, "top1")
    assert delta(first, replace(first, images=("b", "a")), "top1").value == pytest.approx(0.0)


def test_refusals_are_among_the_errors_of_the_package():
    refusal = BDRefusedError("in short", "in full")
    assert isinstance(refusal, CurveError)
    assert (refusal.reason, str(refusal)) == ("in short", "in full")
