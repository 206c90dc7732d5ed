"""Model cards: what stands in them, that their lines run, and that results belong to the adapter."""

import json
import re

import pytest
import torch
import yaml

import icmh_plugins as icmh
from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.adapters.annotate import annotate
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.card import SHIPPED, model_card
from icmh_plugins.adapters.file import read_folder
from icmh_plugins.adapters.host import host_of
from icmh_plugins.adapters.store import adapter_digest, load_adapter, save_adapter
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.loading import load_codec, shipped_codecs
from icmh_plugins.errors import AdapterError, AdapterFileError, ConfigError, DataError
from icmh_plugins.evaluation.evaluate import evaluate
from icmh_plugins.testing.toys import COMPRESSAI_MODELS

SMALL = {"middle_dim": 4}


@pytest.fixture
def adapted(codec, train):
    train(attach_adapter(codec, "sfma", name="cls", **SMALL))
    training = {"steps": 400, "batch_size": 8}
    host_of(codec).records["cls"].metadata.update(task="Classification", lmbda=6.7, training=training)
    return codec


@pytest.fixture
def card(adapted, tmp_path):
    """Save and read the card."""
    return lambda: (save_adapter(adapted, tmp_path / "saved") / "README.md").read_text(encoding="utf-8")


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def table(card, heading):
    """Rows of the first table under a heading, as lists of cells."""
    section = card.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line[:1] == "|"]
    return [rows[0], *rows[2:]]


def test_it_says_what_the_adapter_is_and_needs(adapted, card):
    text = card()
    assert front_matter(text) == {
        "library_name": "icmh-plugins",
        "license": "unknown",
        "tags": ["icmh-plugins", "image-compression", "image-coding-for-machines", "sfma", "classification"],
    }
    assert base_fingerprint(adapted) in text
    assert [row[:4] for row in table(text, "Sites")[1:3]] == [["`g_a.1`", "analysis", "12", "2"],
                                                             ["`g_a.3`", "analysis", "12", "4"]]  # fmt: skip
    assert ["middle_dim", "4"] in table(text, "Options")
    assert table(text, "Training")[1:] == [
        ["task", "Classification"], ["lambda", "6.7"], ["batch_size", "8"], ["steps", "400"],
    ]  # fmt: skip
    assert "No measured results were recorded." in text
    assert "Not stated." in text


def test_it_is_the_same_after_a_round_trip(adapted, card, tmp_path):
    annotate(adapted, results=[{"top1": 0.5, "bpp": 0.1}], license="MIT")
    first = card()
    twin = COMPRESSAI_MODELS["mbt2018-mean"]()
    load_adapter(twin, tmp_path / "saved", "cls")
    assert (save_adapter(twin, tmp_path / "again") / "README.md").read_text(encoding="utf-8") == first


def test_notes_of_the_author_are_in_file_and_card(adapted, card, tmp_path):
    points = [{"bpp": 0.1, "top1": 0.5}, {"bpp": 0.2, "top1": 0.75}]
    annotate(adapted, results=points, measured_on="650 pictures", license="CC-BY-4.0", base_model="user/codec")
    text, metadata = card(), read_folder(tmp_path / "saved")[0].metadata
    assert [point["values"] for point in metadata["results"]] == points
    assert table(text, "Results") == [["measure", "point 1", "point 2"], ["bpp", "0.1", "0.2"], ["top1", "0.5", "0.75"]]
    assert "* point 1: 650 pictures" in text
    matter = front_matter(text)
    assert (matter["license"], matter["base_model"]) == ("cc-by-4.0", "user/codec")
    assert matter["base_model_relation"] == "adapter"
    annotate(adapted, results=points[:1])
    assert table(card(), "Results")[0] == ["measure", "point 1"]
    assert front_matter(card())["license"] == "cc-by-4.0"


def test_plain_metrics_are_shown_too(adapted, card):
    host_of(adapted).records["cls"].metadata.update(metrics={"top1": 0.5}, **{"measured on": "a | b"})
    text = card()
    assert table(text, "Results") == [["measure", "point 1"], ["top1", "0.5"]]
    assert "* point 1: a \\| b" in text


@pytest.fixture
def photos(tmp_path):
    for number in range(2):
        picture = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(number))
        icmh.write_image(tmp_path / f"{number}.png", picture)
    return tmp_path


def test_evaluated_results_go_into_the_card(adapted, card, photos):
    result = evaluate(adapted, None, photos, label="q1")
    annotate(adapted, results=result)
    shown = dict(map(tuple, table(card(), "Results")))
    assert shown["measure"] == "q1"
    assert float(shown["bpp"]) == pytest.approx(result.values["bpp"], rel=1e-5)
    assert "encoding_time" not in shown
    assert "2 images; protocol native" in card()
    annotate(adapted, results=json.loads(json.dumps(result.to_json())))
    assert dict(map(tuple, table(card(), "Results"))) == shown


def test_results_of_another_adapter_are_refused(adapted, card, photos, train):
    result = evaluate(adapted, None, photos)
    train(adapted, seed=1)
    with pytest.raises(DataError, match=r"not of this adapter.*evaluate again"):
        annotate(adapted, results=result)
    icmh.set_adapter(adapted, None)
    with pytest.raises(DataError, match="measured with no adapter"):
        annotate(adapted, results=evaluate(adapted, None, photos))
    assert "No measured results" in card()


def test_results_do_not_outlive_more_training(adapted, card, train):
    annotate(adapted, results={"bpp": 0.1})
    digest = adapter_digest(adapted, "cls")
    before = [parameter.detach().clone() for parameter in adapter_parameters(adapted)]
    assert "| bpp | 0.1 |" in card()
    train(adapted, seed=1)
    assert "No measured results" in card()
    with torch.no_grad():
        for parameter, value in zip(adapter_parameters(adapted), before, strict=True):
            parameter.copy_(value)
    assert adapter_digest(adapted, "cls") == digest
    assert "| bpp | 0.1 |" in card()


WRONG = {
    "licence": ({"license": "Apache 2.0 or so"}, ConfigError, "apache-2.0"),
    "base model": ({"base_model": "codec"}, ConfigError, "user/name"),
    "no numbers": ({"results": {"name": "x"}}, DataError, "no finite numbers"),
    "not a number": ({"results": {"bpp": float("nan")}}, DataError, "no finite numbers"),
    "no results": ({"results": "curve.json"}, DataError, "what evaluate"),
    "no adapter": ({"name": "clss", "results": {"bpp": 1}}, AdapterError, "Did you mean 'cls'"),
}


@pytest.mark.parametrize(("notes", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_notes_are_refused_and_change_nothing(adapted, notes, error, message):
    before = dict(host_of(adapted).records["cls"].metadata)
    with pytest.raises(error, match=message):
        annotate(adapted, **notes)
    assert host_of(adapted).records["cls"].metadata == before


def test_results_in_a_file_are_checked(adapted, card, tmp_path):
    card()
    path = tmp_path / "saved" / "adapter_config.json"
    config = json.loads(path.read_text())
    config["metadata"]["results"] = [{"values": {"bpp": "low"}}]
    path.write_text(json.dumps(config))
    with pytest.raises(AdapterFileError, match=r"results.*bpp"):
        read_folder(tmp_path / "saved")


def test_names_cannot_break_the_card(adapted, card):
    annotate(adapted, results={"a|b\nc": 1}, measured_on="x\n\n# Heading")
    text = card()
    assert ["a\\|b c", "1"] in table(text, "Results")
    assert "\n# Heading" not in text


def test_shipped_codecs_are_known_by_their_fingerprints():
    assert sorted(SHIPPED.values()) == sorted(shipped_codecs())
    for fingerprint, name in SHIPPED.items():
        assert base_fingerprint(load_codec(name)) == fingerprint


def test_its_python_lines_run(tmp_path, monkeypatch):
    model = load_codec("mbt2018-mean-n64m96-q1")
    folder = save_adapter(attach_adapter(model, "bottleneck", name="b"), tmp_path / "folder")
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(folder)
    scope = {}
    exec(code, scope)
    assert adapter_digest(scope["codec"], "b") == adapter_digest(model, "b")


def test_a_codec_that_is_not_shipped_is_named_by_its_author(adapted, tmp_path):
    folder = save_adapter(adapted, tmp_path / "saved")
    assert "codec = ...  # the MeanScaleHyperprior described below" in (folder / "README.md").read_text()
    annotate(adapted, codec="my_codecs:small")
    save_adapter(adapted, folder)
    info = read_folder(folder)[0]
    assert "icmh.load_codec('my_codecs:small')" in (folder / "README.md").read_text()
    foreign = info.model_copy(update={"adapter": "icmh-gate:gate"})
    assert "pip install 'icmh-plugins[hub]' icmh-gate" in model_card(foreign, 1, "hf://user/name")
    assert "icmh.load_adapter(codec, 'hf://user/name')" in model_card(foreign, 1, "hf://user/name")
