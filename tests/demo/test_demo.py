"""The demo from end to end, without a network: everything it promises is there, and its numbers are those on disk."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import pytest
import torch

from icmh_plugins import decode, inspect, load_adapter, load_codec
from icmh_plugins.data.images import read_image
from icmh_plugins.demo.session import Session
from icmh_plugins.evaluation.curves import RateCurve


def rows(results):
    return [*results["coded"], *results["training"]["before"], *results["training"]["after"]]


def test_printed_results_are_those_on_disk(finished):
    assert finished.printed == json.loads((finished.folder / "results.json").read_text())
    keys = {(row["picture"], row["rate"], row["codec"]) for row in finished.printed["coded"]}
    assert keys == {(p, q, c) for p in ("coffee", "china") for q in ("q1", "q3") for c in ("base", "sfma")}


def test_bits_are_those_of_the_files(finished):
    for row in rows(finished.printed):
        stream = finished.folder / row["stream"]
        assert row["bits"] == 8 * stream.stat().st_size
        assert row["bpp"] == pytest.approx(inspect(stream).bpp)


def test_views_are_what_the_streams_decode_to(finished):
    for row in finished.printed["coded"]:
        codec = load_codec(f"mbt2018-mean-n64m96-{row['rate']}")
        view = read_image(finished.folder / row["views"]["human"])
        decoded = decode(codec, (finished.folder / row["stream"]).read_bytes(), views=["human"])["human"][0]
        assert (view - decoded.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6
        assert ("machine" in row["views"]) == (row["codec"] == "sfma")


def test_psnr_is_that_of_the_view(finished):
    for row in rows(finished.printed):
        original = read_image(finished.folder / "originals" / f"{row['picture']}.png")
        seen = read_image(finished.folder / (row["views"].get("machine") or row["views"]["human"]))
        psnr = -10 * torch.log10((seen - original).square().mean())
        assert row["psnr"] == pytest.approx(float(psnr), abs=0.01)


def test_answers_are_marked_where_they_are_kept(finished):
    for row in rows(finished.printed):
        assert row["same"] == (row["answer"] == row["answer_uncompressed"])
        assert 0 < row["probability"] < 1
        assert row["feature_distance"] > 0
    assert {row["answer_uncompressed"] for row in rows(finished.printed) if row["picture"] == "coffee"} == {"espresso"}


def test_trained_adapter_decodes_its_streams(finished):
    training = finished.printed["training"]
    codec = load_codec("mbt2018-mean-n64m96-q3")
    load_adapter(codec, finished.folder / training["adapter"])
    (row,) = training["after"]
    decoded = decode(codec, (finished.folder / row["stream"]).read_bytes())[0].clamp(0, 1)
    view = read_image(finished.folder / row["views"]["machine"])
    assert (view - decoded).abs().max() <= 0.5 / 255 + 1e-6


def test_training_is_measured_on_other_pictures_and_starts_as_the_base(finished):
    training = finished.printed["training"]
    assert (training["trained_on"], training["measured_on"]) == (["coffee"], ["china"])
    assert training["steps"] == 3
    base = next(
        r for r in finished.printed["coded"] if (r["picture"], r["rate"], r["codec"]) == ("china", "q3", "base")
    )
    (before,) = training["before"]
    assert [before[key] for key in ("psnr", "feature_distance")] == [base[key] for key in ("psnr", "feature_distance")]
    assert training["after"][0]["feature_distance"] != base["feature_distance"]


def test_curves_are_the_means_of_the_rows(finished):
    curve = RateCurve.load(finished.folder / "curves" / "with-SFMA.json")
    for point in curve.points:
        found = [r for r in finished.printed["coded"] if (r["rate"], r["codec"]) == (point.label, "sfma")]
        assert point.values["bpp-with-header"] == pytest.approx(sum(r["bpp"] for r in found) / len(found))


def test_report_is_one_file_with_its_pictures_inside(finished):
    text = (finished.folder / "report.html").read_text()
    HTMLParser().feed(text)
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    figures = {path.read_bytes() for path in (finished.folder / "figures").glob("*.png")}
    assert figures <= {base64.b64decode(image) for image in images}
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "coffee" in text


def test_refusal_of_a_bd_rate_is_told(finished):
    refused = {each["metric"]: each["refusal"] for each in finished.printed["comparisons"]}
    assert refused["feature-distance"] == "too few points"


def test_a_folder_of_pictures_and_ctrl_c(demo, finished, tmp_path, monkeypatch):
    def press(session):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "train", press)
    done = demo("--out", tmp_path / "out", "--images", finished.folder / "originals")
    assert done.exit_code == 130
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["training"] is None
    assert {picture["name"] for picture in results["pictures"]} == {"coffee", "china"}
    assert (tmp_path / "out" / "report.html").is_file()
    for words in ("Rate q1", "Rate q3", "\N{CHECK MARK} espresso", "8 real streams", "stopped", "webbrowser"):
        assert words in done.output
