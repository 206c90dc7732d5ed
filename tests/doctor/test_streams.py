"""Whether streams travel: the settings tried, what counts as travelling, and the real thing with JPEG."""

import pytest

from icmh_plugins.doctor import coding
from icmh_plugins.doctor.coding import make, pictures, read
from icmh_plugins.doctor.streams import Decoding, Travel, _decoding, settings, travel

CODEC = "mbt2018-mean-n64m96-q1"

FRAGILE = """
    from icmh_plugins.codecs.loading import load_codec
    from icmh_plugins.testing.toys import COMPRESSAI_MODELS

    def changed(model, part, factor):
        getattr(model, part)[0].register_forward_hook(lambda module, inputs, output: output * factor)
        return model

    def rounding(): return changed(load_codec("mbt2018-mean-n64m96-q1"), "g_s", 1 + 1e-6)
    def drifting(): return changed(load_codec("mbt2018-mean-n64m96-q1"), "h_s", 1.01)
    def other(): return load_codec("mbt2018-mean-n64m96-q2")
    def raster(): return COMPRESSAI_MODELS["mbt2018"]()
    def raster_drifting(): return changed(raster(), "h_s", 1.3)
"""


@pytest.fixture
def fragile(site):
    site.module("fragile", FRAGILE)


@pytest.fixture
def small(monkeypatch):
    for name, value in {"_COUNT": 2, "_HEIGHT": 64, "_WIDTH": 128}.items():
        monkeypatch.setattr(coding, name, value)


def test_the_pictures():
    batch = pictures()
    assert batch.shape == (8, 3, 256, 384)
    assert batch.equal(pictures())
    assert 0.05 < float(batch.std()) < 0.3
    assert float((batch[..., 1:] - batch[..., :-1]).abs().mean()) > 0.003


def test_streams_decode_to_themselves_here(tmp_path, small):
    made = make(CODEC, str(tmp_path))
    answer = read(CODEC, str(tmp_path))
    assert made["bytes"] == sum(path.stat().st_size for path in tmp_path.glob("*.icmh"))
    assert answer["pictures"] == [{"symbols": True, "difference": 0.0}] * 2
    assert answer["threads"] == made["threads"]


def test_rounding_is_told_from_breaking(tmp_path, small, fragile):
    make(CODEC, str(tmp_path))
    for each in read("fragile:rounding", str(tmp_path))["pictures"]:
        assert each["symbols"] is True
        assert 0 < each["difference"] < 1e-4
    assert "does not decode on this machine" in read("fragile:drifting", str(tmp_path))["pictures"][0]["error"]
    assert "BaseMismatchError" in read("fragile:other", str(tmp_path))["pictures"][1]["error"]


def test_silently_wrong_symbols_are_noticed(tmp_path, small, fragile):
    """Raster codecs drive the range coder themselves, where `decode` cannot check it."""
    make("fragile:raster", str(tmp_path))
    assert all(each["symbols"] for each in read("fragile:raster", str(tmp_path))["pictures"])
    for each in read("fragile:raster_drifting", str(tmp_path))["pictures"]:
        assert each.get("symbols") is False or "error" in each


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (("AVX512", 2, 2), ["as it is", "no AVX-512", "baseline", "1 thread"]),
        (("AVX512", 1, 2), ["as it is", "no AVX-512", "baseline", "2 threads"]),
        (("AVX2", 8, 16), ["as it is", "baseline", "1 thread", "2 threads", "16 threads"]),
        (("DEFAULT", 1, 1), ["as it is", "2 threads"]),
    ],
)
def test_settings_of_a_machine(machine, expected):
    assert [setting.name for setting in settings(*machine)] == expected


SAME, CLOSE = {"symbols": True, "difference": 0.0}, {"symbols": True, "difference": 3e-7}
WRONG, FAILED = {"symbols": False, "difference": 0.5}, {"error": "StreamError: x"}


@pytest.mark.parametrize(
    ("pictures", "verdict", "decoded", "detail"),
    [
        ([SAME, SAME], "same pixels", 2, ""),
        ([SAME, CLOSE], "same symbols", 2, ""),
        ([CLOSE, WRONG], "breaks", 1, "decoded to other symbols, without an error"),
        ([FAILED, FAILED], "breaks", 0, "StreamError: x"),
    ],
)
def test_verdicts(pictures, verdict, decoded, detail):
    found = _decoding("baseline", {"pictures": pictures, "capability": "DEFAULT", "threads": 1})
    assert (found.verdict, found.decoded, found.pictures, found.detail) == (verdict, decoded, 2, detail)
    assert found.difference == (3e-7 if CLOSE in pictures else 0)


def test_a_process_that_died():
    assert _decoding("baseline", {"error": "killed"}) == Decoding("baseline", "", 0, "breaks", detail="killed")


def test_the_answer_in_words():
    same, close = Decoding("a", "AVX2", 1, "same pixels"), Decoding("b", "AVX2", 1, "same symbols", difference=3e-7)
    broken = Decoding("c", "DEFAULT", 1, "breaks", detail="StreamError: x")
    assert Travel("x", 1, (same,)).summary() == "Streams of x decode to the same pixels under every setting tried."
    assert (
        "same symbols under every setting tried; pixels, in [0, 1], differ by about 3e-07"
        in Travel("x", 1, (same, close)).summary()
    )
    assert Travel("x", 1, (same, broken, close)).summary().endswith("They break under: c.")
    assert "makes no streams here: why" in Travel("x", error="why").summary()


def test_for_real_with_jpeg():
    """Five processes, which import torch; JPEG needs no compressai."""
    seen = []
    answer = travel("jpeg:30", done=seen.append)
    assert answer.error == ""
    assert seen == [each.setting for each in answer.decodings]
    assert {each.verdict for each in answer.decodings} == {"same pixels"}
    by_name = {each.setting: each for each in answer.decodings}
    assert by_name.get("baseline", answer.decodings[0]).capability in ("DEFAULT", "default")
    counted = [each for each in answer.decodings if each.setting.endswith(("thread", "threads"))]
    assert counted
    assert all(each.threads == int(each.setting.split()[0]) for each in counted)


def test_a_codec_that_does_not_exist():
    assert "CodecError" in travel("no-such-codec").error


@pytest.mark.slow
def test_for_real_with_a_codec_that_needs_its_instruction_set(site):
    site.module(
        "needy",
        FRAGILE + "\n    def codec():\n        import os\n"
        "        return drifting() if os.environ.get('ATEN_CPU_CAPABILITY') == 'default' else rounding()\n",
    )
    answer = travel("needy:codec")
    if len(answer.decodings) < 3:
        pytest.skip("this machine has no instruction sets to leave out")
    assert answer.broken == ("baseline",)
    assert "StreamError" in next(each.detail for each in answer.decodings if each.setting == "baseline")
