"""The five guarantees of attaching, on every codec."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.activate import adapter_parameters, disable_adapters, set_adapter, use_adapter
from icmh_plugins.adapters.attach import attach_adapter, detach_adapter
from icmh_plugins.adapters.base import Adapter
from icmh_plugins.adapters.host import adapter_modules, base_parameters, host_of
from icmh_plugins.codecs.choosing import traced_sites
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.probe import probe
from icmh_plugins.codecs.sites import Site
from icmh_plugins.codecs.tracing import trace
from icmh_plugins.errors import SiteError
from icmh_plugins.testing.toy_two_inputs import two_input_profile
from icmh_plugins.testing.toys import two_input_codec

SMALL = {"middle_dim": 4}


class Offset(Adapter):
    """Adds a learned number; may sit anywhere."""

    entropy_side = True
    strides = None

    def __init__(self, site, config):
        super().__init__(site, config)
        self.amount = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x + self.amount.to(x.dtype)


def entropy_sites(model):
    return [site for site in traced_sites(model, trace(model)) if site.side == "entropy"]


# 1. Attaching changes nothing until training does.


def test_attaching_changes_no_string_and_no_pixel(build, image, code):
    model = build()
    strings, pixels = code(model, image)
    for name in ("sfma", "bottleneck"):
        assert attach_adapter(model, name, **SMALL) is model
        ours, decoded = code(model, image)
        assert ours == strings
        assert torch.equal(decoded, pixels)


# 2. Disabled or detached, the codec is the original.


def test_without_its_adapters_a_codec_is_the_original(build, image, code, train, snapshot):
    model = build()
    next(model.parameters()).requires_grad_(False)
    strings, pixels = code(model, image)
    before = snapshot(model)

    train(attach_adapter(model, "sfma", **SMALL))
    adapted, changed = code(model, image)
    assert adapted != strings
    assert not torch.equal(changed, pixels)
    for off in (disable_adapters(model), use_adapter(model, None)):
        with off:
            ours, decoded = code(model, image)
        assert ours == strings
        assert torch.equal(decoded, pixels)
    set_adapter(model, None)
    assert code(model, image)[0] == strings
    set_adapter(model, "sfma")
    assert code(model, image)[0] == adapted

    detach_adapter(model)
    after = snapshot(model)
    after["random state"] = before["random state"]
    assert after == before
    ours, decoded = code(model, image)
    assert ours == strings
    assert torch.equal(decoded, pixels)


# 3. The state dict is the base's, and training leaves the base alone.


def test_the_state_dict_is_the_base_s_and_loads_both_ways(build, image, train):
    stock = build()
    model = train(attach_adapter(build(), "sfma", **SMALL))
    state = model.state_dict()
    assert list(state) == list(stock.state_dict())
    assert list(state._metadata) == list(stock.state_dict()._metadata)
    with torch.no_grad():
        adapted = model(image)["x_hat"]
        stock.load_state_dict(state, strict=True)
        model.load_state_dict(stock.state_dict(), strict=True)
        assert torch.equal(model(image)["x_hat"], adapted)
        set_adapter(model, None)
        assert torch.equal(model(image)["x_hat"], stock(image)["x_hat"])
        for (name, part), (_, bare) in zip(model.named_children(), stock.named_children(), strict=True):
            assert list(part.state_dict()) == list(bare.state_dict()), name
            nn.Module.load_state_dict(part, bare.state_dict(), strict=True)
    spoiled = {**state, "g_a.1._icmh_slot.adapters.after_sfma.s_up.bias": torch.zeros(1)}
    with pytest.raises(RuntimeError, match="Unexpected key"):
        stock.load_state_dict(spoiled, strict=True)


@pytest.mark.parametrize("name", ["bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "cheng2020-anchor"])
def test_the_class_rebuilds_the_codec_from_an_adapted_one(name, image, train):
    from icmh_plugins.testing.toys import COMPRESSAI_MODELS

    model = train(attach_adapter(COMPRESSAI_MODELS[name](), "sfma", **SMALL))
    rebuilt = type(model).from_state_dict(model.state_dict()).eval()
    set_adapter(model, None)
    with torch.no_grad():
        assert torch.equal(rebuilt(image)["x_hat"], model(image)["x_hat"])


def test_a_training_step_moves_the_adapter_and_nothing_else(build, image, snapshot):
    model = build().train()
    attach_adapter(model, "sfma", **SMALL)
    before, fingerprint = snapshot(model), base_fingerprint(model)
    sites = adapter_modules(model, "sfma")
    states = {name: copy.deepcopy(module.state_dict()) for name, module in sites.items()}

    optimiser = torch.optim.Adam(adapter_parameters(model), lr=1e-3)
    for _ in range(2):  # with zeroed up-projections, the first step reaches only these
        optimiser.zero_grad()
        out = model(image)
        bits = sum(-likelihoods.log2().sum() for likelihoods in out["likelihoods"].values())
        (bits / image[0, 0].numel() + 100 * (out["x_hat"] - image).square().mean()).backward()
        optimiser.step()

    assert all(parameter.grad is None for parameter in base_parameters(model).values())
    for name, module in sites.items():
        moved = {key for key, value in module.state_dict().items() if not torch.equal(value, states[name][key])}
        assert {"s_up.weight", "f_up.weight", "s_down1.weight", "f_down.weight"} <= moved, name
    assert snapshot(model)["tensors"] == before["tensors"]
    assert base_fingerprint(model, recompute=True) == fingerprint == host_of(model).fingerprint


# 4. Either side alone leaves the other side's work alone.


def test_streams_of_an_encoder_side_adapter_decode_with_the_stock_codec(build, image, code, train):
    model = build()
    stock = copy.deepcopy(model)
    train(attach_adapter(model, "sfma", sites={"enc": ["enc*"]}, **SMALL))
    assert host_of(model).records["sfma"].sides == {"analysis"}
    strings, pixels = code(model, image, decoder=stock)
    assert strings != code(stock, image)[0]
    assert torch.equal(pixels, code(model, image)[1])


def test_a_decoder_side_adapter_leaves_the_bits_alone(build, image, code, train):
    model = build()
    strings, pixels = code(model, image)
    train(attach_adapter(model, "sfma", sites={"dec": ["dec*"]}, **SMALL))
    ours, decoded = code(model, image)
    assert ours == strings
    assert not torch.equal(decoded, pixels)


# 5. Nothing sits on the entropy side unless it says so.


def test_what_encoder_and_decoder_share_is_out_of_reach(build, snapshot):
    model = build()
    before = snapshot(model)
    shared = entropy_sites(model)
    assert shared or "FactorizedPrior" in type(model).__name__
    for site in shared[:1] + shared[-1:]:
        disguised = [replace(site, side="synthesis", element=element) for element in (None, 0, -1, "x")]
        for sites in ([site.name], [replace(site, side="analysis")], *([lie] for lie in disguised)):
            with pytest.raises(SiteError):
                attach_adapter(model, "sfma", sites=sites)
    assert snapshot(model) == before

    attach_adapter(model, "sfma", **SMALL)
    sites = host_of(model).records["sfma"].sites
    assert {site.side for site in sites} == {"analysis", "synthesis"}
    assert not {site.path for site in sites} & {site.path for site in shared}
    assert not any(site.path.startswith(probe(model).entropy_modules) for site in sites)


LIES = {
    "entropy model": (Site("gaussian_conditional", "synthesis", 16, 16, "GaussianConditional", element=0), "is in the"),
    "bottleneck": (Site("entropy_bottleneck", "analysis", 12, 64, "EntropyBottleneck", element=0), "is in the entropy"),
    "declared": (Site("gaussian_conditional", "entropy", 16, 16, "GaussianConditional", element=0), "is in the"),
    "part of one": (Site("gaussian_conditional.lower_bound_scale", "synthesis", 16, 16, "LowerBound"), "is in the"),
    "container": (Site("g_a", "analysis", 16, 16, "Sequential"), "only holds others; name one of g_a.0"),
    "not called": (Site("spare", "analysis", 3, 1, "Conv2d"), "is not called"),
    "element": (Site("g_a.1", "analysis", 12, 2, "GDN", element="x"), "element is None, the site says x"),
    "element, channels": (Site("g_a.1", "analysis", 17, 2, "GDN", element=0), "element is None, the site says 0"),
    "h_s": (Site("h_s.1", "synthesis", 16, 32, "LeakyReLU", element=-1), "element is None, the site says -1"),
    "place": (Site("g_a.1", "analysis", 12, 2, "GDN", where="within"), "where is before"),
    "codec": (Site("", "reconstruction", 3, 1, "MeanScaleHyperprior", element="x_hat"), "has no module ''"),
}


@pytest.mark.parametrize(("site", "message"), LIES.values(), ids=LIES)
@pytest.mark.parametrize("adapter", ["sfma", Offset], ids=["sfma", "entropy side"])
def test_a_site_that_is_not_what_it_says_is_refused(codec, snapshot, adapter, site, message):
    codec.spare = nn.Conv2d(3, 3, 1)
    before = snapshot(codec)
    with pytest.raises(SiteError, match=message):
        attach_adapter(codec, adapter, sites=[site])
    assert snapshot(codec) == before


UNTRACED = {
    "container": (Site("g_a", "analysis", 16, 16, "Sequential"), "only holds others"),
    "entropy model": (Site("gaussian_conditional", "synthesis", 16, 16, "GaussianConditional", element=0), "is in the"),
    "h_s": (Site("h_s.1", "synthesis", 12, 32, "LeakyReLU"), "h_s runs at encoder and decoder alike"),
    "within": (Site("inner.entropy_parameters.0", "synthesis", 3, 1, "Conv2d"), "entropy_parameters runs at encoder"),
}


@pytest.mark.parametrize(("site", "message"), UNTRACED.values(), ids=UNTRACED)
def test_what_both_ends_share_is_out_of_reach_without_a_trace_too(snapshot, site, message):
    model = two_input_codec()
    model.inner = nn.ModuleDict({"entropy_parameters": nn.Sequential(nn.Conv2d(3, 3, 1))})
    profile = two_input_profile()
    before = snapshot(model)
    for options in ({"sites": [site]}, {"sites": [site.name]}, {}):
        described = profile if options == {"sites": [site]} else replace(profile, sites=(*profile.sites, site))
        with pytest.raises(SiteError, match=message):
            attach_adapter(model, "sfma", preset=described, **options)
    assert snapshot(model) == before


@pytest.mark.parametrize("name", ["mbt2018-mean", "slice"])
def test_an_adapter_that_declares_the_entropy_side_works_there(name, image, code):
    from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

    model = {**COMPRESSAI_MODELS, **TOYS}[name]()
    stock = copy.deepcopy(model)
    strings, _ = code(stock, image)
    attach_adapter(model, Offset, sites=["h_s.2"])
    record = host_of(model).records["Offset"]
    assert record.entropy_side
    assert record.sides == {"entropy"}
    assert code(model, image)[0] == strings

    with torch.no_grad():
        adapter_parameters(model)[0].fill_(0.7)
    ours, decoded = code(model, image)
    assert ours != strings
    assert torch.isfinite(decoded).all()
    assert torch.equal(model.decompress(*coded(model, image))["x_hat"], decoded)
    assert not torch.equal(stock.decompress(*coded(model, image))["x_hat"], decoded)


def coded(model, image):
    with torch.no_grad():
        out = model.compress(image)
    return out["strings"], out["shape"]


def test_declaring_the_entropy_side_takes_no_site_there_by_itself(codec):
    attach_adapter(codec, Offset)
    record = host_of(codec).records["Offset"]
    assert not record.entropy_side
    assert record.sides == {"analysis", "synthesis"}
