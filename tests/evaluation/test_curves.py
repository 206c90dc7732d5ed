import json
import subprocess
import sys

import numpy as np
import pytest

from icmh_plugins.errors import CurveError, DataError
from icmh_plugins.evaluation.curves import RateCurve, RatePoint, join


def point(rate, top1, **per_image):
    arrays = {name: np.asarray(value, dtype=float) for name, value in per_image.items()}
    return RatePoint({"bpp": rate, "top1": top1, "bpp-with-header": rate + 0.01}, arrays, f"at {rate}")


def test_points_are_sorted_by_rate():
    curve = RateCurve("c", (point(0.5, 70.0), point(0.2, 50.0)))
    assert curve.values("bpp").tolist() == [0.2, 0.5]
    assert curve.values("top1").tolist() == [50.0, 70.0]


def test_json_keeps_everything(tmp_path):
    points = (point(0.2, 50.0, bpp=[0.1, 0.3]), point(0.5, 75.0, bpp=[0.4, 0.6]))
    curve = RateCurve("c", points, "native", "d", ("a.png", "b.png"), {"command": "x"})
    curve.save(tmp_path / "c.json")
    again = RateCurve.load(tmp_path / "c.json")
    assert again.to_json() == curve.to_json()
    assert again.images == ("a.png", "b.png")
    assert again.points[1].per_image["bpp"].tolist() == [0.4, 0.6]


def test_reads_files_of_compressai():
    data = {"name": "m", "description": "Inference (ans)", "results": {"bpp": [0.1, 0.2], "psnr-rgb": [28.0, 30.0]}}
    curve = RateCurve.from_json(data)
    assert curve.metrics == ("psnr-rgb",)
    assert curve.values("psnr-rgb").tolist() == [28.0, 30.0]


def test_compressai_plots_our_files(tmp_path):
    RateCurve("ours", (point(0.2, 50.0), point(0.5, 75.0))).save(tmp_path / "a.json")
    command = [sys.executable, "-m", "compressai.utils.plot", "-f", "a.json", "-m", "top1", "-o", "x.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "Expecting"),
        (json.dumps({"name": "x"}), "'results'"),
        (json.dumps({"results": {"bpp": [1, 2], "top1": [3]}}), "other lengths"),
        (json.dumps({"results": {"bpp": []}}), "no points"),
    ],
)
def test_bad_files_are_named(tmp_path, content, says):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(CurveError, match=says) as error:
        RateCurve.load(path)
    assert "bad.json" in str(error.value)


def test_unknown_metric_suggests():
    with pytest.raises(CurveError, match="Did you mean 'top1'"):
        RateCurve("c", (point(0.2, 50.0),)).values("top_1")


def test_join_refuses_other_images_and_protocols():
    a, b = (RateCurve(f"q{i}", (point(0.1 * i, 10.0 * i),), "native", "", ("a",)) for i in (1, 2))
    assert join("both", [b, a]).values("top1").tolist() == [10.0, 20.0]
    with pytest.raises(CurveError, match="same images"):
        join("both", [a, RateCurve("q", (point(0.3, 3.0),), "native", "", ("other",))])
    with pytest.raises(CurveError, match="two protocols"):
        join("both", [a, RateCurve("q", (point(0.3, 3.0),), "transtic", "", ("a",))])


def test_a_point_is_of_its_curves_protocol():
    measured = RatePoint({"bpp": 0.2}, facts={"protocol": "transtic"})
    assert RateCurve("c", (measured,), "transtic").points == (measured,)
    with pytest.raises(CurveError, match=r"'adapt-icmh'.*'transtic'"):
        RateCurve("c", (measured,), "adapt-icmh")


def test_resampled_values_are_kept_compactly(tmp_path):
    resampled = {"box-AP": np.array([0.123456789, np.nan]), "box-AP@human": np.array([0.25, 0.5])}
    point = RatePoint({"bpp": 0.2, "box-AP": 0.12}, {"bpp": np.array([0.2])}, resampled=resampled)
    RateCurve("c", (point,), dataset="COCO val2017").save(tmp_path / "c.json")
    assert '"box-AP": [0.123457, null]' in (tmp_path / "c.json").read_text()
    again = RateCurve.load(tmp_path / "c.json")
    assert again.dataset == "COCO val2017"
    assert again.extra == {}
    assert again.points[0].resampled["box-AP"] == pytest.approx([0.123457, np.nan], nan_ok=True)
    assert again.points[0].resampled["box-AP@human"].tolist() == [0.25, 0.5]


def test_join_refuses_other_datasets():
    a, b = (RateCurve("q", (point(0.1, 1.0),), dataset=name) for name in ("COCO val2017", ""))
    with pytest.raises(CurveError, match="same images"):
        join("both", [a, b])


def test_a_result_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "c.json"
    RateCurve("c", (point(0.2, 50.0),)).save(path)
    before = path.read_text()
    with pytest.raises(ValueError, match="JSON"):
        RateCurve("c", (point(0.2, float("nan")),)).save(path)
    assert path.read_text() == before
    assert [each.name for each in path.parent.iterdir()] == ["c.json"]
    with pytest.raises(DataError, match="cannot write"):
        RateCurve("c", (point(0.2, 50.0),)).save(path / "d.json")


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(CurveError, match=r"cannot read .*nope\.json"):
        RateCurve.load(tmp_path / "nope.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(CurveError, match=r"list\.json.*holds a list"):
        RateCurve.load(tmp_path / "list.json")


def test_join_refuses_the_same_point_twice():
    def timed(seconds, top1=50.0):
        return RateCurve("q", (RatePoint({"bpp": 0.2, "top1": top1, "encoding_time": seconds}, label="q1"),))

    with pytest.raises(CurveError, match=r"the point at 0\.2 bpp \(q1\) twice"):
        join("q", [timed(1.0), timed(2.0)])
    assert len(join("q", [timed(1.0), timed(1.0, 60.0)]).points) == 2
