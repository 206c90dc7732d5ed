import numpy as np
import pytest

from icmh_plugins.errors import ConfigError, CurveError
from icmh_plugins.evaluation.bjontegaard import bd_metric, bd_rate
from icmh_plugins.evaluation.protocols import PROTOCOLS
from icmh_plugins.evaluation.published import has_published, published_curve, published_names

BASE = published_curve("base")
METRICS = ("top1", "box-AP", "mask-AP")
ALL = [(name, metric) for metric in METRICS for name in published_names(metric)]


@pytest.mark.parametrize(("name", "metric"), ALL)
def test_every_curve_says_where_it_is_from(name, metric):
    curve = published_curve(name, metric)
    assert curve.extra["kind"] in ("exact", "digitised")
    assert bool(curve.extra["error"]) == (curve.extra["kind"] == "digitised")
    assert f"(published, {curve.extra['kind']})" in curve.name
    assert curve.protocol in PROTOCOLS
    assert curve.dataset in ("ImageNet-1k val", "COCO val2017")
    for word in (curve.protocol, curve.dataset, curve.extra["task_network"], "estimated from likelihoods"):
        assert word in curve.extra["provenance"]
    assert (np.diff(curve.values(metric)) > 0).all()
    assert ((curve.values(metric) > 0.2) & (curve.values(metric) < 0.8)).all()


def test_which_curves_there_are():
    others = {"adapt-icmh", "transtic", "full-fine-tuning", "icmh-net", "channel-selection"}
    assert set(published_names("top1")) == {"base", *others}
    assert set(published_names("box-AP")) == {"base", "adapt-icmh", "transtic"}
    assert set(published_names("mask-AP")) == {"base", "adapt-icmh"}
    assert published_curve("transtic", "box-AP").protocol == "transtic"
    assert published_curve("adapt-icmh", "box-AP").extra["error"] == {"bpp": 0.001, "box-AP": 0.0005}


def test_a_task_may_stand_before_the_metric():
    curve = published_curve("adapt-icmh", "resnet/top1")
    assert curve.values("resnet/top1").tolist() == published_curve("adapt-icmh").values("top1").tolist()
    assert has_published("resnet/top1")
    assert not has_published("top1@human")


def test_unknown_names():
    with pytest.raises(ConfigError, match="Did you mean 'transtic'"):
        published_curve("transtik")
    with pytest.raises(ConfigError, match="Did you mean 'box-AP'"):
        published_curve("base", "box_AP")


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("channel-selection", 6.278),
        ("icmh-net", 3.360),
        ("transtic", 9.956),
        ("adapt-icmh", 16.901),
        ("full-fine-tuning", 17.668),
    ],
)
def test_published_bd_accuracy(name, points):
    value = bd_metric(BASE, published_curve(name), "top1", method="cubic").value
    assert 100 * value == pytest.approx(points, abs=6e-4)


@pytest.mark.parametrize(
    ("name", "cubic", "pchip"),
    [
        ("channel-selection", -37.178, -36.993),
        ("icmh-net", -18.759, -18.818),
        ("transtic", -58.529, -57.552),
    ],
)
def test_published_bd_rates(name, cubic, pchip):
    test = published_curve(name)
    assert bd_rate(BASE, test, "top1", method="cubic").value == pytest.approx(cubic, abs=6e-4)
    assert bd_rate(BASE, test, "top1", method="pchip").value == pytest.approx(pchip, abs=6e-4)


@pytest.mark.parametrize(("name", "printed"), [("adapt-icmh", -88.573), ("full-fine-tuning", -100.0)])
def test_the_published_extrapolations_are_refused(name, printed):
    test = published_curve(name)
    with pytest.raises(CurveError, match=r"covers top1 0\.5112 to 0\.6828.*extrapolation"):
        bd_rate(BASE, test, "top1", method="cubic")
    assert _reversed_limits(BASE, test) == pytest.approx(printed, abs=2e-3)


def _reversed_limits(anchor, test):
    """What the literature printed: both cubics integrated over the gap between the curves."""
    low = max(c.values("top1").min() for c in (anchor, test))
    high = min(c.values("top1").max() for c in (anchor, test))
    areas = []
    for c in (anchor, test):
        antiderivative = np.polyint(np.polyfit(c.values("top1"), np.log10(c.values("bpp")), 3))
        areas.append(np.polyval(antiderivative, high) - np.polyval(antiderivative, low))
    return (10 ** ((areas[1] - areas[0]) / (high - low)) - 1) * 100


@pytest.mark.parametrize(("metric", "points", "percent"), [("box-AP", 3.547, -55.15), ("mask-AP", 3.208, -52.407)])
def test_published_deltas_of_digitised_curves(metric, points, percent):
    """The printed values, as far as points read off a chart can give them."""
    pair = published_curve("base", metric), published_curve("adapt-icmh", metric)
    assert 100 * bd_metric(*pair, metric, method="cubic").value == pytest.approx(points, abs=0.03)
    assert bd_rate(*pair, metric, method="cubic").value == pytest.approx(percent, abs=0.4)
