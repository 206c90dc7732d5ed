import pytest

from icmh_plugins.codecs.presets import ADAPT_ICMH
from icmh_plugins.codecs.probe import probe
from icmh_plugins.codecs.profiles import profile_of
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.errors import CodecError, SiteError, UnknownPluginError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS


def test_adapt_icmh_is_the_published_placement_on_tic():
    profile = profile_of(TOYS["tuple"](), preset="adapt-icmh")
    assert [(site.path, site.alias, site.element) for site in profile.sites] == [
        ("g_a1", "enc2", 0),
        ("g_a3", "enc4", 0),
        ("g_a5", "enc8", 0),
        ("g_s1", "dec8", None),
        ("g_s3", "dec4", None),
        ("g_s5", "dec2", None),
        ("g_s7", "image", None),
    ]
    assert profile.source == "preset:adapt-icmh"


def test_a_preset_refuses_another_codec():
    with pytest.raises(
        CodecError, match=r"places adapters on TIC and needs a module g_a1 at enc2.*MeanScaleHyperprior"
    ):
        ADAPT_ICMH(COMPRESSAI_MODELS["mbt2018-mean"]())


def test_an_unknown_preset_is_named():
    with pytest.raises(UnknownPluginError, match="adapt-icmh"):
        profile_of(TOYS["tuple"](), preset="adapt-icm")


def test_without_a_preset_the_model_is_probed():
    model = TOYS["wrapper"]()
    assert profile_of(model) == probe(model)
    assert profile_of(model).source == "probe"


def test_a_profile_written_by_hand_is_checked():
    model = TOYS["slice"]()
    site = Site("g_a.0", "analysis", 12, 2, "Conv2d")
    profile = CodecProfile("SliceCodec", (site,), 16, ("entropy_bottleneck",))
    assert profile_of(model, preset=profile).source == "by hand"
    wrong = CodecProfile("SliceCodec", (Site("g_a.0", "analysis", 13, 2, "Conv2d"),), 16, ())
    with pytest.raises(SiteError, match="channels is 12, the site says 13"):
        profile_of(model, preset=wrong)


def test_a_codec_that_cannot_be_traced_works_with_a_profile_by_hand():
    model = TOYS["slice"]()
    model.forward = lambda frames: [frames[0]]
    with pytest.raises(CodecError, match="preset=CodecProfile"):
        profile_of(model)
    site = Site("g_a.1", "analysis", 12, 2, "GELU")
    assert profile_of(model, preset=CodecProfile("SliceCodec", (site,), 16, ())).sites == (site,)
