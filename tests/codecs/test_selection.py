from dataclasses import replace

import pytest
import torch
from torch import nn

from icmh_plugins.codecs.probe import probe
from icmh_plugins.codecs.profiles import select_sites
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import SiteError
from icmh_plugins.testing.toy_token import TokenCodec
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS


@pytest.fixture(scope="module")
def model():
    return COMPRESSAI_MODELS["cheng2020-anchor"]()


@pytest.fixture(scope="module")
def profile(model):
    return probe(model)


@pytest.mark.parametrize(
    ("asked", "paths"),
    [
        (["g_a.1", "dec8", "image"], ["g_a.1", "g_s.2", "g_s.7.1"]),
        (["enc*"], ["g_a.1", "g_a.3", "g_a.5", "g_a.6"]),
        (["g_s.?"], ["g_s.0", "g_s.2", "g_s.4", "g_s.6"]),
        ("enc2", ["g_a.1"]),
        (["enc2", "g_a.1", "enc?"], ["g_a.1", "g_a.3", "g_a.5"]),
        ({"enc": ["enc4"], "dec": ["dec*", "image"]}, ["g_a.3", "g_s.0", "g_s.2", "g_s.4", "g_s.6", "g_s.7.1"]),
        ({"enc": "enc8"}, ["g_a.5"]),
        ({"enc": ["*"]}, ["g_a.1", "g_a.3", "g_a.5", "g_a.6"]),
    ],
)
def test_names_aliases_and_patterns(profile, asked, paths):
    assert [site.path for site in select_sites(profile, asked)] == paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("g_a.0", Site("g_a.0", "analysis", 12, 2, "ResidualBlockWithStride")),
        ("g_a.0.conv2", Site("g_a.0.conv2", "analysis", 12, 2, "Conv2d")),
        ("h_a.0", Site("h_a.0", "analysis", 12, 16, "Conv2d")),
        ("g_s.5", Site("g_s.5", "synthesis", 12, 2, "ResidualBlockUpsample")),
        ("g_s.7.0", Site("g_s.7.0", "synthesis", 12, 2, "Conv2d")),
        ("g_a.0@before", Site("g_a.0", "analysis", 3, 1, "ResidualBlockWithStride", where="before")),
        ("g_s.0@before", Site("g_s.0", "synthesis", 12, 16, "ResidualBlock", where="before")),
    ],
)
def test_any_module_on_the_way_of_the_image_can_be_named(profile, model, path, expected):
    assert select_sites(profile, [path], model=model) == (expected,)


@pytest.mark.parametrize("path", ["h_s.0", "h_s.2.0", "entropy_parameters.0", "context_prediction", "h_s.0@before"])
def test_the_entropy_side_needs_permission(profile, model, path):
    with pytest.raises(SiteError, match="runs at encoder and decoder alike"):
        select_sites(profile, [path], model=model)
    (site,) = select_sites(profile, [path], allow_entropy=True, model=model)
    assert site.side == "entropy"


def test_context_within_and_after_the_coding_is_entropy_side():
    model = TOYS["slice"]()
    profile = probe(model)
    for path in ("cc_transforms.3", "lrp_transforms.3"):
        with pytest.raises(SiteError, match="runs at encoder and decoder alike"):
            select_sites(profile, [path], model=model)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["g_q.1"], "has no site 'g_q.1'. Did you mean 'g_s.1'"),
        (["encc4"], "Did you mean 'enc4'"),
        (["g_s.7"], "g_s.7 (Sequential) is no site: it only holds others; name one of g_s.7.0, g_s.7.1."),
        ([], "no sites were named"),
        (["foo*"], "Known: g_a.1, enc2"),
        ({"encoder": ["enc2"]}, "sites has no key 'encoder'."),
        ({"enc": ["dec8"]}, "site g_s.2 is on the synthesis side, not on analysis"),
        ([Site("g_a.1", "analysis", 12, 2, "GDN")], "the module is a ResidualBlock, the site was made for a GDN"),
        ([Site("g_a.1", "analysis", 99, 2, "ResidualBlock")], "channels is 12, the site says 99"),
        ([Site("h_s.0", "synthesis", 12, 64, "Conv2d")], "side is entropy, the site says synthesis"),
        (5, "sites are names or Site objects, for example ['enc*', 'g_s.3'], got 5"),
        ([5], "got 5"),
        ({"enc": None}, "got None"),
        ({5: ["enc2"]}, "sites has no key 5"),
        ([Site("g_a.0.conv1", "analysis", 12, 2, "Conv2d", element=0)], "element is None, the site says 0"),
        ([Site("g_a.11", "analysis", 12, 2, "ResidualBlock")], "has no module 'g_a.11'. Did you mean 'g_a.1'"),
    ],
)
def test_mistakes_are_named(profile, model, asked, message):
    with pytest.raises(SiteError) as error:
        select_sites(profile, asked, model=model)
    assert message in str(error.value)


def test_without_the_model_only_the_profile_is_known(profile):
    with pytest.raises(SiteError, match=r"no site 'g_a.0'"):
        select_sites(profile, ["g_a.0"])


def test_hand_written_sites_pass_when_they_are_true(profile, model):
    site = Site("g_a.0", "analysis", 12, 2, "ResidualBlockWithStride")
    assert select_sites(profile, [site, "enc2"], model=model)[0] is site


class WithTokenDropout(TokenCodec):
    def __init__(self):
        super().__init__()
        self.pos_drop = nn.Dropout()

    def to_latent(self, x):
        self.pos_drop(self.patch_embed(x).flatten(2).transpose(1, 2))
        return super().to_latent(x)


def test_tokens_without_their_size_are_no_site():
    model = WithTokenDropout()
    profile = probe(model)
    assert "pos_drop" not in [site.path for site in profile.sites]
    with pytest.raises(SiteError, match=r"pos_drop \(Dropout\) is no site: it gives no feature map"):
        select_sites(profile, ["pos_drop"], model=model)


def test_two_elements_of_one_module_are_two_sites(profile, model):
    first = probe(TOYS["tuple"]()).sites[0]
    assert len(select_sites(profile, [first, replace(first, element=1)])) == 2


@pytest.mark.parametrize("name", [*TOYS, *COMPRESSAI_MODELS])
def test_what_goes_into_encoder_and_decoder_can_be_named(name):
    model = {**TOYS, **COMPRESSAI_MODELS}[name]()
    profile, seen = probe(model), {}
    picture, latent = select_sites(profile, ["picture", "latent"], model=model)
    assert (picture.side, picture.stride, picture.channels, picture.where) == ("analysis", 1, 3, "before")
    assert (latent.side, latent.stride, latent.where) == ("synthesis", profile.latent_stride, "before")
    for site in (picture, latent):
        model.get_submodule(site.path).register_forward_pre_hook(
            lambda module, args, side=site.side: seen.update({side: args[0].detach().clone()})
        )
    image = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        model(image)
    assert torch.equal(seen["analysis"], image)
    assert seen["synthesis"].numel() == latent.channels * (128 // latent.stride) ** 2
