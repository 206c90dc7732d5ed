"""Several named adapters, what may be active together, what is refused before anything changes, and the table."""

import copy
import json

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.activate import adapter_parameters, disable_adapters, set_adapter, use_adapter
from icmh_plugins.adapters.attach import attach_adapter, detach_adapter
from icmh_plugins.adapters.base import Adapter
from icmh_plugins.adapters.bottleneck import Bottleneck
from icmh_plugins.adapters.describe import Description, describe
from icmh_plugins.adapters.host import adapter_modules, host_of
from icmh_plugins.adapters.identity import verify_identity
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.errors import AdapterError, CodecError, ConfigError, SiteError, UnknownPluginError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

SMALL = {"middle_dim": 4}
NAMES = ["cls-6.7", "cls_6.7", "cls.6-7", "keys"]


@torch.no_grad()
def pixels(model, image):
    return model(image)["x_hat"]


class Add(Adapter):
    """Adds one number."""

    sides = ("analysis", "synthesis", "reconstruction")

    def __init__(self, site, config):
        super().__init__(site, config)
        self.amount = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x + self.amount.to(x.dtype)


# Several adapters


def test_named_adapters_are_kept_apart_whatever_their_names(codec, image, train):
    expected = {}
    for seed, name in enumerate(NAMES):
        train(attach_adapter(codec, "sfma", name=name, **SMALL), name, seed)
        expected[name] = pixels(codec, image)
        assert host_of(codec).active == (name,)
    for name in NAMES:
        set_adapter(codec, name)
        assert torch.equal(pixels(codec, image), expected[name])
    detach_adapter(codec, "cls-6.7")
    assert list(host_of(codec).records) == NAMES[1:]
    set_adapter(codec, "cls_6.7")
    assert torch.equal(pixels(codec, image), expected["cls_6.7"])


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".hidden", "human", "x" * 65, "é", "a\n", 5, ["a"]])
def test_names_that_files_or_views_cannot_carry_are_refused(codec, name):
    if name:
        with pytest.raises(ConfigError, match="cannot name an adapter"):
            attach_adapter(codec, "bottleneck", name=name)
    assert host_of(codec) is None


def test_adapters_at_different_sites_work_together(codec, image, train):
    base = pixels(codec, image)
    train(attach_adapter(codec, "sfma", name="enc", sites=["enc2", "enc4"], **SMALL), "enc")
    encoder = pixels(codec, image)
    train(attach_adapter(codec, "sfma", name="dec", sites=["dec*"], **SMALL), "dec")
    assert host_of(codec).active == ("enc", "dec")
    both = pixels(codec, image)
    set_adapter(codec, "enc")
    assert torch.equal(pixels(codec, image), encoder)
    set_adapter(codec, ["dec", "enc", "dec"])
    assert torch.equal(pixels(codec, image), both)
    assert len({tensor.sum().item() for tensor in (base, encoder, both)}) == 3


def test_adapters_that_share_a_site_exclude_each_other(codec):
    attach_adapter(codec, "sfma", name="enc", sites=["enc*"], **SMALL)
    attach_adapter(codec, "sfma", name="dec", sites=["dec*"], **SMALL)
    attach_adapter(codec, "bottleneck", sites=["enc8"], **SMALL)
    assert host_of(codec).active == ("dec", "bottleneck")
    for choose in (set_adapter, lambda model, names: use_adapter(model, names).__enter__()):
        with pytest.raises(AdapterError, match=r"'enc' and 'bottleneck' both sit at g_a\.5"):
            choose(codec, ["enc", "bottleneck"])
    assert host_of(codec).active == ("dec", "bottleneck")


def test_one_module_holds_an_adapter_at_its_input_and_one_at_its_output(codec, image):
    module, x = codec.g_s[6], torch.randn(1, 12, 8, 8)
    with torch.no_grad():
        expected = module(x + 1) + 2
        attach_adapter(codec, Add, name="before", sites=["g_s.6@before"])
        attach_adapter(codec, Add, name="after", sites=["g_s.6"])
        adapter_parameters(codec, "after")[0].fill_(2)
        assert host_of(codec).active == ("before", "after")
        assert torch.equal(module(x), expected)


def test_contexts_nest_and_restore(codec):
    attach_adapter(codec, "bottleneck", name="a")
    attach_adapter(codec, "bottleneck", name="b")
    host = host_of(codec)
    with use_adapter(codec, "a"):
        assert host.active == ("a",)
        with disable_adapters(codec):
            assert host.active == ()
            with use_adapter(codec, "b"):
                assert host.active == ("b",)
        with pytest.raises(RuntimeError, match="boom"), use_adapter(codec, None):
            raise RuntimeError("boom")
        assert host.active == ("a",)
    with disable_adapters(codec):
        detach_adapter(codec, "b")
    assert host.active == ()
    set_adapter(codec, "a")
    assert host.active == ("a",)


def test_switching_never_touches_requires_grad(codec):
    attach_adapter(codec, "bottleneck", name="a")
    adapter_parameters(codec)[0].requires_grad_(False)
    flags = [parameter.requires_grad for parameter in codec.parameters()]
    with use_adapter(codec, None), disable_adapters(codec):
        set_adapter(codec, "a")
    assert [parameter.requires_grad for parameter in codec.parameters()] == flags


def test_adapter_parameters_are_those_that_train(codec):
    attach_adapter(codec, "bottleneck", name="a", **SMALL)
    attach_adapter(codec, "bottleneck", name="b", **SMALL)
    ours = {id(p) for module in adapter_modules(codec, "a").values() for p in module.parameters()}
    assert {id(p) for p in adapter_parameters(codec, "a")} == ours
    assert ours.isdisjoint(id(p) for p in adapter_parameters(codec))
    set_adapter(codec, None)
    with pytest.raises(AdapterError, match="active adapters have no trainable"):
        adapter_parameters(codec)
    with pytest.raises(AdapterError, match="Did you mean 'b'"):
        adapter_parameters(codec, "bb")


def test_an_unfrozen_base_gets_its_flags_back(codec):
    codec.g_s.requires_grad_(False)
    flags = {name: parameter.requires_grad for name, parameter in codec.named_parameters()}
    attach_adapter(codec, "bottleneck", name="joint", freeze_base=False)
    assert {name: codec.get_parameter(name).requires_grad for name in flags} == flags
    attach_adapter(codec, "bottleneck", name="frozen")
    assert not any(codec.get_parameter(name).requires_grad for name in flags)
    codec.extra = nn.Linear(1, 1)
    detach_adapter(codec)
    assert {name: codec.get_parameter(name).requires_grad for name in flags} == flags
    assert codec.extra.weight.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_adapters_stand_in_the_codec_s_mode(codec, training):
    codec.train(training)
    attach_adapter(codec, "sfma", **SMALL)
    assert {module.training for module in codec.modules()} == {training}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("adapter", ["sfma", "bottleneck"])
def test_codecs_of_other_number_formats(dtype, adapter, image, train):
    model, image = COMPRESSAI_MODELS["bmshj2018-factorized"]().to(dtype), image.to(dtype)
    base = pixels(model, image)
    attach_adapter(model, adapter, **SMALL)
    assert torch.equal(pixels(model, image), base)
    train(model, amount=0.02)
    changed = pixels(model, image)
    assert changed.dtype == dtype
    assert not torch.equal(changed, base)
    assert torch.isfinite(changed).all()


def test_a_codec_put_into_another_format_later(codec, image, train):
    train(attach_adapter(codec, "sfma", **SMALL))
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert pixels(codec.to(dtype), image.to(dtype)).dtype == dtype
    with disable_adapters(codec):
        base = pixels(codec, image.double())
    assert not torch.equal(pixels(codec, image.double()), base)


def test_a_module_registered_twice_is_adapted_once(codec, image, train):
    codec.also = codec.g_a
    keys = list(codec.state_dict())
    base = pixels(codec, image)
    train(attach_adapter(codec, "sfma", **SMALL))
    assert list(codec.state_dict()) == keys
    codec.load_state_dict(codec.state_dict(), strict=True)
    assert not torch.equal(pixels(codec, image), base)
    detach_adapter(codec)
    assert torch.equal(pixels(codec, image), base)


def test_a_module_that_calls_all_its_children_is_not_disturbed(codec, image):
    class Loop(nn.Module):
        def __init__(self, *layers):
            super().__init__()
            self.first, self.second = layers

        def forward(self, x):
            for layer in self.children():
                x = layer(x)
            return x

    codec.g_s[5] = Loop(codec.g_s[5], nn.Identity())
    base = pixels(codec, image)
    attach_adapter(codec, "sfma", **SMALL)
    assert "g_s.5" in adapter_modules(codec, "sfma")
    assert torch.equal(pixels(codec, image), base)


def test_in_place_layers_may_follow_an_adapted_module(image):
    model = COMPRESSAI_MODELS["bmshj2018-factorized-relu"]()
    attach_adapter(model, "sfma", sites=["g_a.0", "g_s.2"], init="paper", **SMALL)
    assert any(getattr(module, "inplace", False) for module in model.modules())
    model(image)["x_hat"].sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in adapter_parameters(model)[-16:])


# Refusals


def refusals():
    here = Site("g_a.1", "analysis", 12, 2, "GDN")
    yield "unknown adapter", UnknownPluginError, "Did you mean 'sfma'", {"adapter": "sfm"}
    yield "folder", AdapterError, "load_adapter", {"adapter": "runs/sfma"}
    yield "no adapter class", AdapterError, "subclass", {"adapter": nn.Conv2d}
    yield "unknown option", ConfigError, "Did you mean 'middle_dim'", {"middle": 3}
    yield "option out of range", ConfigError, "middle_dim", {"middle_dim": 0}
    yield "bad name", ConfigError, "cannot name", {"name": "a b"}
    yield "taken name", AdapterError, "attached already", {"name": "first"}
    yield "unknown site", SiteError, "Did you mean 'g_a.1'", {"sites": ["g_a.1x"]}
    yield "unknown alias", SiteError, "Known: .*enc2", {"sites": ["enc3"]}
    yield "no site", SiteError, "no sites", {"sites": []}
    yield "other side", SiteError, "synthesis side", {"sites": {"enc": ["dec2"]}}
    yield "side not allowed", SiteError, "only, not on g_s.6", {"sites": ["image"]}
    yield "entropy side", SiteError, "encoder and decoder alike", {"sites": ["h_s.0"]}
    yield "wrong key", SiteError, "Known: dec, enc", {"sites": {"encoder": ["enc2"]}}
    yield "container", SiteError, "only holds others", {"sites": ["g_a"]}
    yield "wrong class", SiteError, "is a GDN", {"sites": [Site("g_a.1", "analysis", 12, 2, "Conv2d")]}
    yield "wrong channels", SiteError, "channels is 12", {"sites": [Site("g_a.1", "analysis", 13, 2, "GDN")]}
    other = Site(**{**here.to_dict(), "element": 1})
    yield "another element", SiteError, "element is None, the site says 1", {"sites": [here, other]}
    yield "unknown preset", UnknownPluginError, "adapt-icmh", {"preset": "adapt-icm"}
    yield "odd preset", UnknownPluginError, "There is no codec-profile 3: names are strings", {"preset": 3}
    yield "odd sites", SiteError, "got 5", {"sites": 5}
    yield "preset of another codec", CodecError, "needs a module g_a1", {"preset": "adapt-icmh"}


class Breaks(Adapter):
    def __init__(self, site, config):
        super().__init__(site, config)
        if site.stride == 8:
            raise ZeroDivisionError("cannot build")


class Strays(Adapter):
    @classmethod
    def default_sites(cls, profile, config):
        return [*profile.side("analysis"), Site("g_a.99", "analysis", 12, 2, "GDN")]


@pytest.mark.parametrize(("error", "message", "options"), [r[1:] for r in refusals()], ids=[r[0] for r in refusals()])
def test_a_refused_attach_changes_nothing(codec, snapshot, error, message, options):
    attach_adapter(codec, "bottleneck", name="first", **SMALL)
    next(codec.parameters()).requires_grad_(True)
    before = snapshot(codec)
    with pytest.raises(error, match=message):
        attach_adapter(codec, options.pop("adapter", "sfma"), **options)
    assert snapshot(codec) == before


@pytest.mark.parametrize(("adapter", "error"), [(Breaks, ZeroDivisionError), (Strays, SiteError)])
@pytest.mark.parametrize("first", [True, False])
def test_a_faulty_adapter_class_changes_nothing(codec, snapshot, adapter, error, first):
    if not first:
        attach_adapter(codec, "bottleneck", **SMALL)
    before = snapshot(codec)
    with pytest.raises(error):
        attach_adapter(codec, adapter)
    assert snapshot(codec) == before


@pytest.mark.parametrize("model", [None, "mbt2018-mean", nn.Linear(2, 2)])
def test_what_is_no_codec_is_refused(model):
    with pytest.raises(CodecError):
        attach_adapter(model, "sfma")


@pytest.mark.parametrize("verb", [describe, verify_identity, host_of])
def test_only_modules_are_looked_at(verb):
    with pytest.raises(CodecError, match=r"a codec is a torch\.nn\.Module, got 3"):
        verb(3)


def test_odd_names_activate_nothing(codec):
    attach_adapter(codec, "bottleneck", **SMALL)
    for odd in (3, [3], [["bottleneck"]], ["bottleneck", 3]):
        with pytest.raises(AdapterError, match=r"got 3|no adapter named"):
            set_adapter(codec, odd)
        with pytest.raises(AdapterError, match=r"got 3|no adapter named"), use_adapter(codec, odd):
            pass
    with pytest.raises(AdapterError, match="no adapter named 3"):
        detach_adapter(codec, 3)
    assert host_of(codec).active == ("bottleneck",)


def test_without_adapters_every_verb_says_how_to_attach(codec):
    for verb in (detach_adapter, adapter_parameters, lambda model: set_adapter(model, None)):
        with pytest.raises(AdapterError, match="attach_adapter"):
            verb(codec)
    with pytest.raises(AdapterError, match="Did you mean 'sfma'"):
        detach_adapter(attach_adapter(codec, "sfma", **SMALL), "sfmaa")
    assert list(host_of(codec).records) == ["sfma"]


# Placement


def test_the_adapt_icmh_preset_is_the_published_placement(image):
    model = TOYS["tuple"]()
    base = pixels(model, image)
    attach_adapter(model, "sfma", preset="adapt-icmh", **SMALL)
    assert list(adapter_modules(model, "sfma")) == ["g_a1", "g_a3", "g_a5", "g_s1", "g_s3", "g_s5"]
    assert torch.equal(pixels(model, image), base)


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        (["g_a.3", "dec2"], ["g_a.3", "g_s.5"]),
        ({"enc": ["enc2", "enc16"], "dec": ["g_s.[13]"]}, ["g_a.1", "g_a.6", "g_s.1", "g_s.3"]),
        ([Site("g_a.1", "analysis", 12, 2, "GDN")], ["g_a.1"]),
        (["g_a.2@before"], ["g_a.2@before"]),
        ("dec8", ["g_s.1"]),
    ],
)
def test_sites_are_what_the_user_names(codec, sites, expected):
    attach_adapter(codec, "sfma", sites=sites, **SMALL)
    assert list(adapter_modules(codec, "sfma")) == expected
    assert [site.name for site in host_of(codec).records["sfma"].sites] == expected


def test_a_profile_written_by_hand(codec, image):
    site = Site("g_a.3", "analysis", 12, 4, "GDN")
    profile = CodecProfile("MeanScaleHyperprior", (site,), 16, ())
    planned = attach_adapter(codec, Bottleneck, preset=profile, dry_run=True)
    assert [row.site for row in planned.rows] == ["g_a.3"]
    attach_adapter(codec, Bottleneck, preset=profile)
    assert list(adapter_modules(codec, "Bottleneck")) == ["g_a.3"]


# Table


@pytest.mark.parametrize("name", ["tuple", "token"])
def test_a_dry_run_leaves_no_trace(name, snapshot):
    model = TOYS[name]()
    before = snapshot(model)
    planned = attach_adapter(model, "sfma", dry_run=True, **SMALL)
    assert snapshot(model) == before
    assert isinstance(planned, Description)
    assert planned.planned
    attach_adapter(model, "sfma", **SMALL)
    done = {row.site: row for row in describe(model).rows if row.adapter}
    assert {row.site: row.parameters for row in planned.rows} == {k: row.parameters for k, row in done.items()}


def test_the_table_tells_sites_adapters_and_costs(codec, snapshot):
    plain = describe(codec)
    assert [(row.site, row.alias) for row in plain.rows[:2]] == [("g_a.1", "enc2"), ("g_a.3", "enc4")]
    assert plain.adapter_parameters == 0
    total = sum(parameter.numel() for parameter in codec.parameters())

    attach_adapter(codec, "sfma", **SMALL)
    attach_adapter(codec, "bottleneck", sites=["enc2"], middle_dim=3)
    before = snapshot(codec)
    table = describe(codec)
    assert snapshot(codec) == before
    assert table.base_parameters == total
    sfma, bottleneck = (row for row in table.rows if row.site == "g_a.1")
    assert (sfma.adapter, sfma.active, bottleneck.adapter, bottleneck.active) == ("sfma", False, "bottleneck", True)
    assert bottleneck.parameters == 2 * 12 * 3 + 3 + 12
    assert bottleneck.kmac_per_pixel == pytest.approx(2 * 12 * 3 / 4 / 1000)
    assert table.adapter_parameters == sum(row.parameters for row in table.rows)
    text = repr(table)
    assert "MeanScaleHyperprior" in text
    assert "bottleneck *" in text
    assert "sfma *" not in text.splitlines()[2]
    assert json.loads(json.dumps(table.to_dict()))["rows"][0]["site"] == "g_a.1"
    assert repr(describe(copy.deepcopy(codec))) == text


def test_describing_trains_nothing(codec, snapshot):
    class Normalised(Adapter):
        def __init__(self, site, config):
            super().__init__(site, config)
            self.norm, self.drop = nn.BatchNorm2d(site.channels), nn.Dropout()

        def forward(self, x):
            return self.drop(self.norm(x))

    attach_adapter(codec.train(), Normalised)
    before = snapshot(codec)
    describe(codec)
    assert snapshot(codec) == before
