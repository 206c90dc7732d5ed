from __future__ import annotations

import json
import socket
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.store import save_adapter
from icmh_plugins.cli.app import app
from icmh_plugins.codecs.loading import load_codec
from icmh_plugins.demo import session
from icmh_plugins.demo.settings import QUICK


@pytest.fixture(scope="package")
def adapters(tmp_path_factory):
    """Adapters that change the codecs a little, in place of the shipped ones: the demo must work with any."""
    folder = tmp_path_factory.mktemp("adapters")
    for quality in QUICK.rates:
        codec = load_codec(f"mbt2018-mean-n64m96-q{quality}")
        attach_adapter(codec, "sfma", name="any", middle_dim=4)
        generator = torch.Generator().manual_seed(quality)
        for parameter in adapter_parameters(codec):
            parameter.data.add_(0.01 * torch.randn(parameter.shape, generator=generator))
        save_adapter(codec, folder / f"sfma-faithful-q{quality}")
    return folder


@pytest.fixture(scope="package")
def demo(adapters):
    """Run `icmh demo --quick` with further arguments; while it runs, every connection to a network is an error."""

    def refuse(*arguments):
        raise AssertionError(f"the demo must not use the network, and wanted {arguments}")

    def run(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session, "shipped_adapter", lambda name: adapters / name)
            for verb in ("connect", "connect_ex", "sendto"):
                patch.setattr(socket.socket, verb, refuse)
            patch.setattr(socket, "getaddrinfo", refuse)
            return CliRunner().invoke(app, ["demo", "--quick", *map(str, arguments)])

    return run


@pytest.fixture(scope="package")
def finished(demo, tmp_path_factory):
    """A whole quick demo: its folder and the JSON it printed."""
    folder = tmp_path_factory.mktemp("demo") / "icmh-demo"
    done = demo("--json", "--out", folder)
    assert done.exit_code == 0, done.output
    return SimpleNamespace(folder=folder, printed=json.loads(done.stdout))
