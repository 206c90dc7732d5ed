"""``icmh export``: what it writes and prints, and what it refuses before any work."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from typer.testing import CliRunner

from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.store import save_adapter
from icmh_plugins.cli.app import app
from icmh_plugins.testing.toys import COMPRESSAI_MODELS


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs ``icmh export`` with a small codec and an adapter folder ``scale``."""
    monkeypatch.chdir(tmp_path)
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    torch.save(codec.state_dict(), "codec.pth")
    save_adapter(attach_adapter(codec, "scale"), "scale")
    codec_options = ("--codec", "mbt2018-mean", "--checkpoint", "codec.pth")
    yield lambda *arguments: CliRunner().invoke(app, ["export", *codec_options, *arguments])
    logging.getLogger("icmh_plugins").handlers.clear()


def test_files_and_report(run, tmp_path):
    done = run("--adapter", "scale", "-o", "out", "--size", "64x128", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert list(report["adapters"]) == ["scale"]
    assert report["size"] == [64, 128]
    assert set(report["files"]) == {"encoder.pt2", "decoder.pt2"}
    y = torch.export.load(tmp_path / "out" / "encoder.pt2").module()(torch.rand(1, 3, 64, 128))
    assert y.shape == (1, report["latent_channels"], 64 // report["latent_stride"], 128 // report["latent_stride"])

    shown = run("-o", "out", "--size", "64x64").stdout
    assert "64x64" in shown
    assert "decoder.pt2" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "64"), "--size is HEIGHTxWIDTH, for example 512x768, got '64'"),
        (("--size", "64x100"), "multiples of 64"),
        (("--adapter", "absent"), "absent"),
    ],
)
def test_refused(run, tmp_path, arguments, message):
    done = run("-o", "out", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not list((tmp_path / "out").glob("*.pt2"))
