"""The example of a codec profile: a codec with tuple outputs, described by data; installed and used."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "examples" / "icmh-tic-profile"
RUN = """
import sys, torch, icmh_plugins as icmh
from icmh_plugins.codecs.profiles import profile_of

codec = icmh.load_codec("icmh_tic_profile.codec:small_tic")
assert isinstance(codec.g_a(torch.rand(1, 3, 64, 64)), tuple) and not hasattr(codec.g_s, "weight")
assert profile_of(codec).source == "plugin"
probed = {site.name for site in icmh.probe(codec).sites}
pictures = [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(i)) for i in range(2)]
before = codec.compress(pictures[0][None, :, :, :64])["strings"]

icmh.attach_adapter(codec, "sfma", middle_dim=4)
sites = [row.site for row in icmh.describe(codec).rows if row.adapter]
assert sites == ["g_a1", "g_a3", "g_a5", "g_s1", "g_s3", "g_s5"] and not set(sites) <= probed
assert codec.compress(pictures[0][None, :, :, :64])["strings"] == before, "identity at start"

icmh.fit(codec, "human", pictures, lmbda=100.0, steps=3, batch_size=2, crop=64, lr=1e-2, progress=False)
assert codec.compress(pictures[0][None, :, :, :64])["strings"] != before, "it has learnt nothing"
icmh.verify_identity(codec, size=(64, 64))

stream = icmh.encode(codec, pictures[0])
icmh.save_adapter(codec, sys.argv[1])
other = icmh.load_codec("icmh_tic_profile.codec:small_tic")
icmh.load_adapter(other, sys.argv[1])
assert torch.equal(icmh.decode(other, stream), icmh.decode(codec, stream))
views = icmh.decode(other, stream, views=["human", "tic"])
assert not torch.equal(views["human"], views["tic"])

icmh.detach_adapter(other)
plan = icmh.attach_adapter(other, "sfma", preset="tic-profile", dry_run=True)
assert [row.site for row in plan.rows if row.adapter] == sites
"""


def test_it_applies_unasked_and_by_name(ask, tmp_path):
    done = ask("-c", RUN, str(tmp_path / "tic"))
    assert done.returncode == 0, done.stderr


def test_its_own_tests_pass(ask):
    done = ask("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(PACKAGE), str(PACKAGE / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_readme_runs(ask, readme_code):
    done = ask("-c", readme_code)
    assert done.returncode == 0, done.stderr
