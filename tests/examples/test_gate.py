"""The example of an adapter package: what `icmh new` writes, installed and used."""

from __future__ import annotations

from pathlib import Path

from icmh_plugins.cli.templates import render

PACKAGE = Path(__file__).parents[2] / "examples" / "icmh-gate"
RUN = """
import sys, torch, icmh_plugins as icmh
from icmh_plugins.registry import catalog
from icmh_plugins.testing.toys import COMPRESSAI_MODELS

assert catalog.qualified_name("adapter", "gate") == "icmh-gate:gate"
codec = COMPRESSAI_MODELS["mbt2018-mean"]()
pictures = [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(i)) for i in range(2)]
before = codec.compress(pictures[0][None, :, :, :64])["strings"]
icmh.attach_adapter(codec, "gate", limit=0.5)
assert codec.compress(pictures[0][None, :, :, :64])["strings"] == before, "identity at start"

icmh.fit(codec, "human", pictures, lmbda=100.0, steps=3, batch_size=2, crop=64, lr=1e-2, progress=False)
assert codec.compress(pictures[0][None, :, :, :64])["strings"] != before, "it has learnt nothing"
icmh.verify_identity(codec, size=(64, 64))

stream = icmh.encode(codec, pictures[0])
icmh.save_adapter(codec, sys.argv[1])
other = COMPRESSAI_MODELS["mbt2018-mean"]()
print(icmh.load_adapter(other, sys.argv[1]).adapter)
assert torch.equal(icmh.decode(other, stream), icmh.decode(codec, stream))
"""


def test_it_is_what_icmh_new_writes():
    files = {path: (PACKAGE / path).read_text(encoding="utf-8") for path in render("adapter", "gate")}
    assert files == render("adapter", "gate"), "write it anew: icmh new adapter gate --folder examples/icmh-gate"


def test_it_is_attached_trained_saved_loaded_and_codes(ask, tmp_path):
    done = ask("-c", RUN, str(tmp_path / "gate"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "icmh-gate:gate"


def test_listing_it_imports_nothing_heavy(ask):
    code = "import sys, icmh_plugins as icmh; print([p.state for p in icmh.list_plugins()], 'torch' in sys.modules)"
    assert ask("-c", code).stdout.strip() == "['ok', 'ok'] False"


def test_its_readme_runs(ask, readme_code):
    done = ask("-c", readme_code)
    assert done.returncode == 0, done.stderr
