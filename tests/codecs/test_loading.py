import logging

import pytest
import torch
from safetensors.torch import save_file

from icmh_plugins.codecs import loading
from icmh_plugins.codecs.entropy import has_tables
from icmh_plugins.codecs.fingerprint import base_fingerprint, tables_fingerprint
from icmh_plugins.codecs.loading import load_codec
from icmh_plugins.errors import CodecError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS


@pytest.fixture
def model():
    return COMPRESSAI_MODELS["mbt2018-mean"]()


def same(first, second):
    return (base_fingerprint(first), tables_fingerprint(first)) == (
        base_fingerprint(second),
        tables_fingerprint(second),
    )


@pytest.mark.parametrize("spec", ["mbt2018-mean", "mbt2018-mean:4"])
@pytest.mark.parametrize("nested", [None, "network", "state_dict", "model_state_dict"])
def test_checkpoints_of_torch_save(model, tmp_path, spec, nested):
    weights = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({nested: weights, "epoch": 3} if nested else weights, tmp_path / "c.pth.tar")
    loaded = load_codec(spec, tmp_path / "c.pth.tar")
    assert same(loaded, model)
    assert not loaded.training


def test_safetensors_keep_the_tables(model, tmp_path, caplog):
    save_file(model.state_dict(), tmp_path / "c.safetensors")
    assert same(load_codec("mbt2018-mean", str(tmp_path / "c.safetensors")), model)
    assert not caplog.records


def test_half_precision_is_widened(model, tmp_path):
    half = {key: v.half() if v.is_floating_point() else v for key, v in model.state_dict().items()}
    save_file(half, tmp_path / "c.safetensors")
    loaded = load_codec("mbt2018-mean", tmp_path / "c.safetensors")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.g_a[0].weight, model.g_a[0].weight.half().float())


def test_keys_of_older_releases(model, tmp_path):
    old = {}
    for key, value in model.state_dict().items():
        for new, name in (("biases.", "_bias"), ("matrices.", "_matrix"), ("factors.", "_factor")):
            key = key.replace(f"entropy_bottleneck.{new}", f"entropy_bottleneck.{name}")
        old[key] = value
    torch.save(old, tmp_path / "c.pth")
    assert same(load_codec("mbt2018-mean", tmp_path / "c.pth"), model)


def test_missing_tables_are_computed_with_a_warning(tmp_path, caplog):
    from compressai.models import MeanScaleHyperprior

    torch.save(MeanScaleHyperprior(8, 12).state_dict(), tmp_path / "c.pth")
    with caplog.at_level(logging.WARNING):
        loaded = load_codec("mbt2018-mean", tmp_path / "c.pth")
    assert has_tables(loaded)
    assert "differ between machines" in caplog.text


def test_any_factory(tmp_path):
    toy = TOYS["tuple"]()
    assert same(load_codec("icmh_plugins.testing.toys:tuple_codec"), toy)
    with torch.no_grad():
        toy.g_s7.bias += 1
    torch.save(toy.state_dict(), tmp_path / "toy.pth")
    assert same(load_codec("icmh_plugins.testing.toys:tuple_codec", tmp_path / "toy.pth"), toy)


def codec_with_a_downsample():
    toy = TOYS["tuple"]()
    toy.g_s7.downsample = torch.nn.Linear(1, 1)
    return toy


def test_names_that_compressai_used_once_are_kept_in_other_codecs(tmp_path):
    codec = codec_with_a_downsample()
    torch.save({f"module.{key}": value for key, value in codec.state_dict().items()}, tmp_path / "codec.pth")
    assert same(load_codec(f"{__name__}:codec_with_a_downsample", tmp_path / "codec.pth"), codec)


def test_shipped_codecs_are_read_from_the_package(model, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_shipped_folder", lambda: tmp_path)
    save_file(model.state_dict(), tmp_path / "mbt2018-mean-n12m16-q1.safetensors")
    assert loading.shipped_codecs() == ("mbt2018-mean-n12m16-q1",)
    assert same(load_codec("mbt2018-mean-n12m16-q1"), model)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as plain weights"),
        (b"not a checkpoint", "cannot be read as plain weights"),
        (b"junk", "cannot be read as plain weights"),
        ({"epoch": 3}, "holds no weights: looked at its top level and under network"),
        ({"g_a.0.weight": torch.zeros(8, 3, 5, 5)}, "holds no weights of mbt2018-mean: KeyError"),
        (Bomb(), "cannot be read as plain weights"),
    ],
)
def test_bad_checkpoints_are_refused_unexecuted(tmp_path, content, message):
    path = tmp_path / "c.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(CodecError, match=message):
        load_codec("mbt2018-mean", path)


def test_damaged_safetensors_are_refused(tmp_path):
    (tmp_path / "c.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(CodecError, match="is damaged"):
        load_codec("mbt2018-mean", tmp_path / "c.safetensors")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mbt2018-mean", "needs a quality .*or a checkpoint"),
        ("mbt2018-maen", "Did you mean 'mbt2018-mean'"),
        ("mbt2018-maen:3", "no pretrained 'mbt2018-maen'. Did you mean 'mbt2018-mean'"),
        ("elic2022-official:3", "no pretrained 'elic2022-official'"),
        ("no_such_package:build", "cannot import no_such_package:build"),
        ("icmh_plugins.testing.toys:nothing", "cannot import .*nothing"),
        ("builtins:dict", "gave a dict, not a torch.nn.Module"),
        (3, "loaded by its name, got 3"),
        ("math:sqrt", r"math:sqrt gave no codec \(TypeError.*without arguments"),
        ("math:pi", "math:pi gave no codec"),
        ("torch.nn:Identity", "no coding tables and no update"),
    ],
)
def test_unknown_names(spec, message):
    with pytest.raises(CodecError, match=message):
        load_codec(spec)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CodecError, match=r"nothing.pth does not exist"):
        load_codec("mbt2018-mean", tmp_path / "nothing.pth")
