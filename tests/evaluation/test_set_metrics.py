from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.errors import CurveError, DataError
from icmh_plugins.evaluation.bjontegaard import bd_metric
from icmh_plugins.evaluation.bootstrap import bootstrap_bd, point_difference, point_interval
from icmh_plugins.evaluation.compare import compare
from icmh_plugins.evaluation.curves import RateCurve, RatePoint
from icmh_plugins.evaluation.evaluate import evaluate
from icmh_plugins.evaluation.resampling import RESAMPLES, draw
from icmh_plugins.tasks.base import SetMetric, Task
from icmh_plugins.tasks.metrics import MeanScore

IMAGES = 30
BRIGHTNESS = np.random.default_rng(1).normal(0, 1, IMAGES)
BUSYNESS = np.random.default_rng(2).uniform(0.5, 1.5, IMAGES)


class Spread:
    """How far brightness spreads over the images."""

    def __init__(self):
        self.seen = []

    def update(self, prediction, batch):
        self.last = [float(value) for value in prediction]
        self.seen += self.last

    def compute(self, indices=None):
        values = np.array(self.seen)[slice(None) if indices is None else list(indices)]
        return {"spread": float(values.max() - values.min()), "never": float("nan")}

    def scores(self):
        return {}

    def reset(self):
        self.seen = []

    def resample(self, counts):
        chosen = [np.repeat(np.arange(len(counts)), column) for column in counts.T]
        return {"spread": np.array([self.compute(indices)["spread"] for indices in chosen])}

    def evidence(self):
        return self.last

    def restore(self, evidence):
        self.seen += evidence


class SpreadTask(Task):
    higher_is_better: ClassVar = {"spread": True, "never": True}

    def predict(self, x_hat):
        return x_hat.mean((1, 2, 3))

    def metrics(self):
        return Spread()


def curve(gain=0.0):
    """Points whose whole-set metric is the spread of some values an image, drawn as `evaluate` does."""
    points = []
    for rate in (0.2, 0.4, 0.6, 0.8):
        values, bpp = BRIGHTNESS * (rate + gain), rate * BUSYNESS
        spread = np.array([np.ptp(np.repeat(values, column)) for column in draw(IMAGES).T])
        point = {"bpp": bpp.mean(), "spread": np.ptp(values)}
        points.append(RatePoint(point, {"bpp": bpp}, resampled={"spread": spread}))
    return RateCurve("c", tuple(points))


def test_what_counts_as_a_metric_over_whole_sets():
    assert isinstance(Spread(), SetMetric)
    assert not isinstance(MeanScore(lambda *_: {}), SetMetric)


def test_fewer_resamples_are_the_first_of_more():
    assert (draw(7, 20) == draw(7)[:, :20]).all()
    assert draw(7).shape == (7, RESAMPLES)
    assert (draw(7).sum(0) == 7).all()


def test_evaluation_resamples_in_every_view(adapted, pictures):
    result = evaluate(adapted, {"s": SpreadTask()}, pictures, views=["human"], progress=False)
    streams = [encode(adapted, pictures[i]["image"][None]) for i in range(3)]
    shown = {"": [decode(adapted, s) for s in streams]}
    shown["@human"] = [decode(adapted, s, views=["human"])["human"] for s in streams]
    for view, images in shown.items():
        means = np.array([float(image.clamp(0, 1).mean()) for image in images])
        assert result.values[f"s/spread{view}"] == pytest.approx(np.ptp(means))
        expected = [np.ptp(np.repeat(means, column)) for column in draw(3).T]
        assert result.point.resampled[f"s/spread{view}"] == pytest.approx(expected, abs=1e-6)
    assert not np.array_equal(*(result.point.resampled[f"s/spread{view}"] for view in shown))
    assert "s/never" not in result.values
    assert "s/spread" not in result.per_image


def test_a_stopped_evaluation_goes_on_exactly(adapted, pictures, tmp_path):
    log = tmp_path / "log.jsonl"
    options = {"views": ["human"], "progress": False}
    whole = evaluate(adapted, SpreadTask(), pictures, resume=log, **options)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:3]))
    resumed = evaluate(adapted, SpreadTask(), pictures, resume=log, **options)
    for name in ("spread", "spread@human"):
        assert resumed.values[name] == whole.values[name]
        assert resumed.point.resampled[name].tolist() == whole.point.resampled[name].tolist()
    finished = evaluate(adapted, SpreadTask(), pictures, resume=log, **options)
    assert finished.values["spread@human"] == whole.values["spread@human"]


def test_results_of_unwanted_metrics_stay_out(codec, pictures):
    result = evaluate(codec, {"s": SpreadTask()}, pictures, metrics=["s/never"], limit=2, progress=False)
    assert "s/spread" not in result.values
    assert "s/spread" not in result.point.resampled


class Choosy(SpreadTask):
    """Builds its metric for what is wanted only, and refuses to give one of them."""

    def check_targets(self, sample, metrics):
        if "never" in metrics and sample["name"] == "p0.png":
            raise DataError(f"{sample['name']} has no target for {metrics}")

    def metrics_for(self, names):
        assert list(names) == ["spread"]
        return super().metrics_for(names)


def test_a_task_hears_which_of_its_metrics_are_wanted(codec, pictures):
    result = evaluate(codec, {"s": Choosy()}, pictures, metrics=["s/spread"], limit=2, progress=False)
    assert result.values["s/spread"] > 0
    codec.compress = None
    with pytest.raises(DataError, match=r"p0.png has no target for \['spread', 'never'\]"):
        evaluate(codec, {"s": Choosy()}, pictures, limit=2, progress=False)


def test_a_delta_has_an_interval():
    pair = curve(), curve(0.1)
    interval = bootstrap_bd(*pair, "spread", delta=bd_metric, resamples=50)
    assert interval.value == bd_metric(*pair, "spread").value
    assert 0 < interval.low < interval.high
    first = draw(IMAGES, 1)[:, 0]
    points = [
        [
            RatePoint({"bpp": np.repeat(p.per_image["bpp"], first).mean(), "spread": p.resampled["spread"][0]})
            for p in c.points
        ]
        for c in pair
    ]
    expected = bd_metric(*(RateCurve("c", tuple(each)) for each in points), "spread").value
    assert bootstrap_bd(*pair, "spread", delta=bd_metric, resamples=1).low == pytest.approx(expected)
    assert compare(*pair, "spread", resamples=20).quality.interval is not None


@pytest.mark.parametrize("options", [{"seed": 1}, {"resamples": RESAMPLES + 1}])
def test_other_draws_are_refused(options):
    with pytest.raises(CurveError, match=f"resampled {RESAMPLES} times with seed 0"):
        bootstrap_bd(curve(), curve(0.1), "spread", **options)


def test_points_without_either_are_named():
    bare = RateCurve("bare", tuple(RatePoint(p.values, p.per_image, "q") for p in curve().points))
    with pytest.raises(CurveError, match="'bare' has neither per-image nor resampled 'spread' at q, q"):
        bootstrap_bd(curve(), bare, "spread")


def test_difference_of_two_points():
    a, b = curve().points[1], curve(0.1).points[1]
    difference = point_difference(a, b, "spread")
    paired = b.resampled["spread"] - a.resampled["spread"]
    assert difference.value == b.values["spread"] - a.values["spread"]
    assert (difference.low, difference.high) == tuple(np.percentile(paired, (2.5, 97.5)))
    rates = point_difference(a, b, "bpp")
    assert rates.value == 0.0
    assert rates.high == 0.0
    other = replace(b, facts={"protocol": "transtic"})
    with pytest.raises(CurveError, match="'native', 'transtic'"):
        point_difference(a, other, "spread")


def test_interval_of_a_point():
    point = curve().points[0]
    interval = point_interval(point, "spread")
    assert (interval.low, interval.high) == tuple(np.percentile(point.resampled["spread"], (2.5, 97.5)))
    assert point_interval(point, "bpp").value == pytest.approx(point.bpp)
    assert point_interval(point, "missing") is None
