import base64
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from icmh_plugins.data.images import write_image
from icmh_plugins.errors import ConfigError, CurveError
from icmh_plugins.evaluation.curves import RateCurve, RatePoint
from icmh_plugins.viz.report import Picture, write_report


def curve(name, factor=1.0, shift=0.0):
    points = []
    for i, (rate, quality) in enumerate(((0.2, 27.0), (0.4, 29.0), (0.6, 30.5), (0.8, 31.5))):
        values = {"bpp": factor * rate, "psnr-rgb": quality + shift, "bpp-with-header": factor * rate + 0.01}
        arrays = {key: np.full(5, value) for key, value in values.items()}
        points.append(RatePoint(values, arrays, f"q{i + 1}", {"base_fingerprint": "ab" * 32}))
    return RateCurve(name, tuple(points), images=tuple("abcde"), description="Real streams")


class Checker(HTMLParser):
    void = frozenset({"meta", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.links, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for key, value in attrs if key in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def checked(path):
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    assert checker.open == []
    return checker


def test_report_is_one_file_with_the_numbers(tmp_path):
    write_image(tmp_path / "maps.png", torch.zeros(3, 8, 8))
    curves = [curve("base"), curve("half <b>", 0.5), curve("beyond", 1.0, 50.0)]
    write_report(curves, tmp_path / "r.html", pictures=[Picture(tmp_path / "maps.png", "Maps & more")])
    page = checked(tmp_path / "r.html")
    words = " ".join(page.words)
    assert "half <b>" in words
    assert "Maps & more" in words
    assert "−50.0 %" in words
    assert "95 % interval −50.0 to −50.0 %" in words
    assert "none (no common quality)" in words
    assert "any number would be an extrapolation" in words
    assert "ab" * 32 in words
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert len(page.links) == 2
    assert base64.b64decode(page.links[1].split(",")[1]) == (tmp_path / "maps.png").read_bytes()
    assert not re.search(r"https?://|<script|@import", (tmp_path / "r.html").read_text(encoding="utf-8"))


def test_one_curve_alone(tmp_path):
    assert write_report([curve("base")], tmp_path / "r.html") == []
    assert "Compared with" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    with pytest.raises(CurveError, match="at least one"):
        write_report([], tmp_path / "none.html")


def test_published_curves_are_drawn_and_explained(tmp_path):
    top1 = RateCurve("ours", tuple(RatePoint({"bpp": r, "top1": q}) for r, q in ((0.2, 0.5), (0.4, 0.6))))
    write_report([top1], tmp_path / "r.html", against=["transtic"])
    words = " ".join(checked(tmp_path / "r.html").words)
    assert "transtic on TIC (published, digitised)" in words
    assert "ImageNet-1k val, protocol adapt-icmh-cls; rates estimated from likelihoods" in words
    assert "to be looked at, not compared in numbers" in words
    with pytest.raises(ConfigError, match="Did you mean 'transtic'"):
        write_report([top1], tmp_path / "r2.html", against=["transtik"])
    with pytest.raises(ConfigError, match="no published curve 'transtic' of psnr-rgb"):
        write_report([curve("base")], tmp_path / "r2.html", against=["transtic"])
    assert not (tmp_path / "r2.html").exists()


def test_curves_of_different_protocols_are_shown_and_not_compared(tmp_path):
    (compared,) = write_report([curve("a"), replace(curve("b", 0.5), protocol="transtic")], tmp_path / "r.html")
    assert compared.rate.result is None
    assert compared.quality.result is None
    words = " ".join(checked(tmp_path / "r.html").words)
    assert "Protocol: native, transtic. Curves of different protocols are shown together" in words
    assert "none (different protocols)" in words


def icmh(*arguments, cwd):
    command = [sys.executable, "-m", "icmh_plugins", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_command_joins_results_of_one_name(tmp_path):
    names = []
    for each in (curve("base"), curve("half", 0.5)):
        for i, point in enumerate(each.points):
            names.append(f"{each.name}{i}.json")
            RateCurve(each.name, (point,), images=each.images).save(tmp_path / names[-1])
    done = icmh("report", *names, "-o", "r.html", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (comparison,) = json.loads(done.stdout)["comparisons"]
    assert comparison["anchor"] == "base"
    assert comparison["rate"]["result"]["value"] == pytest.approx(-50.0)
    checked(tmp_path / "r.html")
    again = icmh("report", *names, "-o", "r.html", cwd=tmp_path)
    assert again.returncode == 2
    assert "r.html" in again.stderr


def test_command_names_the_report_of_one_curve(tmp_path):
    curve("base").save(tmp_path / "base.json")
    done = icmh("report", "base.json", "-o", "new/r.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["report", "new/r.html"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nope.json", "-o", "r.html"), "cannot read 'nope.json'"),
        (("base.json", "-o", "base.json/r.html"), "cannot write to 'base.json'"),
        (("base.json", "base.json", "-o", "r.html"), "the point at 0.2 bpp (q1) twice"),
    ],
)
def test_command_explains_what_it_refuses(tmp_path, arguments, says):
    curve("base").save(tmp_path / "base.json")
    done = icmh("report", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert not (tmp_path / "r.html").exists()
