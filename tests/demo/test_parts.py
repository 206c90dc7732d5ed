from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from icmh_plugins.data.images import write_image
from icmh_plugins.demo import assets, extra, pictures, tables, workspace
from icmh_plugins.demo.classifier import AGREEMENT, DISTANCE, Answer, EfficientNetLite0
from icmh_plugins.demo.coding import Coded
from icmh_plugins.demo.equal import bits_at_equal_distance
from icmh_plugins.demo.training import split
from icmh_plugins.errors import AdapterFileError, DataError, MissingDependencyError


@pytest.fixture(scope="module")
def photographs():
    return {sample["name"]: sample["image"] for sample in pictures.load_pictures(None, None, 224)}


@pytest.fixture(scope="module")
def classifier():
    return EfficientNetLite0()


def test_nine_colour_photographs(photographs):
    assert len(photographs) == 9
    for image in photographs.values():
        assert min(image.shape[-2:]) == 224
        assert not torch.equal(image[0], image[2])


def test_classifier_knows_what_it_sees(photographs, classifier):
    seen = {name: classifier.answer(photographs[name]).label for name in ("cat", "coffee", "motorcycle", "hopper")}
    assert seen == {"cat": "Egyptian cat", "coffee": "espresso", "motorcycle": "moped", "hopper": "military uniform"}


def test_feature_distance_grows_with_the_damage(photographs, classifier):
    image = torch.stack([photographs[name][..., :336] for name in ("cat", "coffee")])
    batch, metric = classifier.prepare({"image": image}), classifier.metrics()
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    for strength in (0.0, 0.02, 0.2):
        metric.update(classifier.predict(image + strength * noise), batch)
    scores = metric.scores()
    none, little, much = scores[DISTANCE].reshape(3, 2)
    assert (none < 1e-9).all()
    assert (none < little).all()
    assert (little < much).all()
    assert scores[AGREEMENT][:2].all()


def test_pictures_of_a_folder(tmp_path):
    for name in ("b", "a", "sub-c"):
        path = tmp_path / f"{name.replace('-', '/')}.png"
        path.parent.mkdir(exist_ok=True)
        write_image(path, torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0)))
    found = pictures.load_pictures(tmp_path, None, 32)
    assert [sample["name"] for sample in found] == ["a", "b", "sub-c"]
    assert {tuple(sample["image"].shape) for sample in found} == {(3, 32, 48)}


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pictures(tmp_path, count):
    if count:
        write_image(tmp_path / "one.png", torch.rand(3, 40, 60))
    with pytest.raises(DataError, match=f"has {count} picture"):
        pictures.load_pictures(tmp_path, None, 32)
    with pytest.raises(DataError, match="no folder"):
        pictures.load_pictures(tmp_path / "absent", None, 32)


@pytest.mark.parametrize(("count", "others"), [(2, 1), (3, 1), (9, 3)])
def test_split_is_a_partition(count, others):
    samples = [{"name": str(number)} for number in range(count)]
    seen, unseen = split(samples)
    assert seen + unseen == samples
    assert len(unseen) == others


def test_missing_extra_names_the_command(monkeypatch):
    monkeypatch.setattr(extra, "find_spec", lambda package: None)
    with pytest.raises(MissingDependencyError, match=r"needs timm, skimage.*pip install 'icmh-plugins\[demo\]'"):
        extra.check_extra(["timm", "skimage"])
    with pytest.raises(MissingDependencyError, match="skimage"):
        pictures.load_pictures(None, None, 32)


def test_package_without_its_photograph():
    with pytest.raises(MissingDependencyError, match="--images"):
        extra.package_file("skimage", "data/absent.png")


def test_workspace_clears_only_what_a_demo_wrote(tmp_path):
    folder = tmp_path / "out"
    workspace.prepare(folder)
    key, value = workspace.MADE_BY
    (folder / workspace.RESULTS).write_text(json.dumps({key: value}))
    (folder / "streams").mkdir()
    (folder / "streams" / "old.icmh").touch()
    (folder / "notes.txt").write_text("mine")
    workspace.prepare(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", [None, "{}", "not json", "[]", '{"made_by": "somebody"}'])
def test_workspace_refuses_other_folders(tmp_path, content):
    (tmp_path / "streams").mkdir()
    if content is not None:
        (tmp_path / workspace.RESULTS).write_text(content)
    with pytest.raises(DataError, match="--out"):
        workspace.prepare(tmp_path)
    assert (tmp_path / "streams").is_dir()


def test_workspace_refuses_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="--out"):
        workspace.prepare(tmp_path / "file")


def test_change_is_in_whole_percent():
    assert tables.change(200, 118) == "\N{MINUS SIGN}41 %"
    assert tables.change(100, 103) == "+3 %"


def test_unknown_shipped_adapter():
    with pytest.raises(AdapterFileError, match="no adapter 'sfma-clasification-q9'"):
        assets.shipped_adapter("sfma-clasification-q9")


def coded(picture, rate, bits, distance):
    answer = Answer("cat", 0.5)
    return Coded(picture, rate, "base", Path("s"), bits, 1.0, 30.0, 30.0, distance, answer, answer, {})


def test_bits_at_equal_distance_lie_between_the_rates():
    base = [coded("a", "q1", 100, 0.6), coded("b", "q1", 300, 0.2), coded("a", "q2", 400, 0.2), coded("b", "q2", 1, 0)]
    assert bits_at_equal_distance(base, [coded("a", "q3", 7, 0.4)]) == pytest.approx(200)
    assert bits_at_equal_distance(base, [coded("a", "q3", 7, 0.6)]) == pytest.approx(100)
    assert bits_at_equal_distance(base, [coded("a", "q3", 7, 0.1)]) is None
    assert bits_at_equal_distance(base, [coded("a", "q3", 7, 0.7)]) is None
