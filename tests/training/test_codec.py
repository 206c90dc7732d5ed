"""``trainable="codec"``: everything learns, and the codec can be used at once."""

from __future__ import annotations

import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.errors import TrainingError
from icmh_plugins.training.fit import fit


@pytest.fixture
def options(quick):
    return {**quick, "trainable": "codec", "lmbda": 0.01, "aux_lr": 0.1}


@pytest.mark.parametrize("name", ["mbt2018-mean", "cheng2020-anchor-checkerboard", "mbt2018-mean-vbr"])
def test_all_parameters_learn_and_the_tables_follow(make_codec, pictures, options, name):
    codec = make_codec(name, adapter=None)
    before = {n: p.clone() for n, p in codec.named_parameters()}
    fit(codec, "human", pictures, **{**options, "steps": 3})
    still = {n for n, p in codec.named_parameters() if torch.equal(p, before[n])}
    assert not {n for n in still if not n.startswith(("Gain", "QuantABCD", "gayn"))}
    assert any(n.endswith("quantiles") for n in before)
    tables = {n: b.clone() for n, b in codec.named_buffers() if n.endswith("_quantized_cdf")}
    codec.update(force=True)
    assert all(torch.equal(b, tables[n]) for n, b in codec.named_buffers() if n in tables)


def test_it_codes_and_loads_as_a_checkpoint(make_codec, pictures, options, tmp_path):
    codec = make_codec(adapter=None)
    fit(codec, "human", pictures, out=tmp_path, **options)
    loaded = icmh.load_codec("mbt2018-mean", tmp_path / "codec.safetensors")
    assert base_fingerprint(loaded) == base_fingerprint(codec)
    image = pictures[0]["image"]
    stream = icmh.encode(codec, image)
    assert torch.equal(icmh.decode(loaded, stream), icmh.decode(codec, stream))


def test_exact_resume_with_batch_statistics(make_codec, pictures, options, tmp_path, monkeypatch):
    from icmh_plugins.training.loop import Trainer

    def build():
        codec = make_codec(adapter=None)
        codec.g_a.add_module("norm", torch.nn.BatchNorm2d(16))
        return codec

    straight = fit(build(), "human", pictures, **options)
    do = Trainer.step

    def stopping(self, index, batch):
        if index == 4:
            raise ZeroDivisionError
        return do(self, index, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopping)
        with pytest.raises(ZeroDivisionError):
            fit(build(), "human", pictures, out=tmp_path, **options, checkpoint_every=3)
    codec = build()
    assert fit(codec, "human", pictures, out=tmp_path, **options).history == straight.history


def test_an_adapter_trained_along_belongs_to_the_new_base(make_codec, pictures, options, tmp_path):
    codec = make_codec(freeze_base=False)
    fit(codec, "human", pictures, out=tmp_path, **options)
    loaded = icmh.load_codec("mbt2018-mean", tmp_path / "codec.safetensors")
    icmh.load_adapter(loaded, tmp_path / "sfma")
    image = pictures[0]["image"]
    assert icmh.encode(loaded, image) == icmh.encode(codec, image)


def test_a_frozen_codec_is_refused(make_codec, pictures, options):
    with pytest.raises(TrainingError, match="freeze_base=False"):
        fit(make_codec(), "human", pictures, **options)
