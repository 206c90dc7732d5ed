from unittest.mock import patch

import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.adapters.host import host_of
from icmh_plugins.bitstream.inspection import inspect
from icmh_plugins.errors import AdapterError, StreamError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

ALL = {**TOYS, **COMPRESSAI_MODELS}
HAS_G_S = [name for name in ALL if name not in ("tuple", "token")]


@pytest.fixture
def adapted(codec, attach_trained):
    attach_trained(codec, "sfma")
    return codec


def decodings(model):
    """Count the entropy decodings of a codec: the calls of its bottleneck's decompress."""
    bottleneck = next(
        m for m in model.modules() if type(m).__name__.startswith("EntropyBottleneck") and hasattr(m, "decompress")
    )
    return patch.object(bottleneck, "decompress", side_effect=bottleneck.decompress)


def test_the_own_view_is_that_of_the_adapters_at_encoding(adapted, picture):
    data = icmh.encode(adapted, picture(70, 50, batch=2))
    own = icmh.decode(adapted, data)
    views = icmh.decode(adapted, data, views=["human", "sfma"])
    assert torch.equal(own, views["sfma"])
    assert (own - views["human"]).abs().max() > 0.01
    with icmh.disable_adapters(adapted):
        assert torch.equal(icmh.decode(adapted, data), own)


def test_the_stream_names_its_adapters(adapted, picture):
    info = inspect(icmh.encode(adapted, picture(8, 8)))
    assert [(adapter.name, adapter.roles) for adapter in info.adapters] == [("sfma", ("encoder", "decoder"))]
    with icmh.disable_adapters(adapted):
        assert inspect(icmh.encode(adapted, picture(8, 8))).adapters == ()


def test_an_encoder_only_adapter_is_not_needed_to_decode(codec, attach_trained, picture):
    attach_trained(codec, "sfma", sites=["enc*"])
    data = icmh.encode(codec, picture(64, 64))
    own = icmh.decode(codec, data)
    icmh.detach_adapter(codec)
    assert torch.equal(icmh.decode(codec, data), own)


@pytest.mark.parametrize("name", HAS_G_S)
def test_views_share_one_entropy_decoding(name, attach_trained, picture):
    model = ALL[name]()
    attach_trained(model, "bottleneck", "one", seed=1, sites=["dec2"])
    attach_trained(model, "bottleneck", "two", seed=2, sites=["dec4"])
    data = icmh.encode(model, picture(64, 64))
    alone = {view: icmh.decode(model, data, views=[view])[view] for view in ("human", "one", "two")}
    with decodings(model) as counted:
        together = icmh.decode(model, data, views=["human", "one", "two"])
    assert counted.call_count == 1
    assert all(torch.equal(together[view], alone[view]) for view in alone)
    assert not torch.equal(alone["one"], alone["two"])


@pytest.mark.parametrize("name", ["tuple", "token"])
def test_codecs_without_a_synthesis_module_decode_once_a_view(name, attach_trained, picture):
    model = ALL[name]()
    attach_trained(model, "bottleneck", "one", sites=["dec4"])
    data = icmh.encode(model, picture(64, 64))
    with decodings(model) as counted:
        views = icmh.decode(model, data, views=["human", "one"])
    assert counted.call_count == 2
    assert not torch.equal(views["human"], views["one"])


def test_a_view_may_be_a_folder_that_leaves_no_trace(adapted, picture, tmp_path):
    data = icmh.encode(adapted, picture(64, 64))
    own = icmh.decode(adapted, data)
    folder = str(icmh.save_adapter(adapted, tmp_path / "sfma"))
    icmh.detach_adapter(adapted)
    before = adapted.state_dict()
    flags = [parameter.requires_grad for parameter in adapted.parameters()]
    views = icmh.decode(adapted, data, views=[folder, "human"])
    assert torch.equal(views[folder], own)
    assert host_of(adapted) is None
    assert adapted.state_dict().keys() == before.keys()
    assert [parameter.requires_grad for parameter in adapted.parameters()] == flags


def test_a_folder_beside_attached_adapters_leaves_them_as_they_were(adapted, attach_trained, picture, tmp_path):
    folder = str(icmh.save_adapter(adapted, tmp_path / "other"))
    icmh.detach_adapter(adapted)
    attach_trained(adapted, "sfma", "mine", seed=5)
    data = icmh.encode(adapted, picture(64, 64))
    flags = {name: parameter.requires_grad for name, parameter in adapted.named_parameters()}
    icmh.decode(adapted, data, views=[folder, "mine"])
    assert list(host_of(adapted).records) == ["mine"]
    assert host_of(adapted).active == ("mine",)
    assert {name: parameter.requires_grad for name, parameter in adapted.named_parameters()} == flags


def test_the_own_adapter_is_found_by_digest_under_another_name(adapted, picture, tmp_path):
    data = icmh.encode(adapted, picture(64, 64))
    own = icmh.decode(adapted, data)
    icmh.save_adapter(adapted, tmp_path / "sfma")
    icmh.detach_adapter(adapted)
    icmh.load_adapter(adapted, tmp_path / "sfma", name="renamed")
    assert torch.equal(icmh.decode(adapted, data), own)


@pytest.mark.parametrize(
    "views", [3, "human", [], {"human"}, iter(["human"])], ids=["number", "word", "empty", "set", "iterator"]
)
def test_views_are_a_list(adapted, picture, views):
    data = icmh.encode(adapted, picture(8, 8))
    with pytest.raises(AdapterError, match="views must be a list of names"):
        icmh.decode(adapted, data, views=views)


def test_a_missing_adapter_is_named_with_its_remedy(adapted, picture):
    data = icmh.encode(adapted, picture(8, 8))
    digest = inspect(data).adapters[0].digest
    icmh.detach_adapter(adapted)
    with pytest.raises(StreamError, match=rf"'sfma'.*{digest}.*load_adapter.*views=\['human'\]"):
        icmh.decode(adapted, data)
    assert icmh.decode(adapted, data, views=["human"])["human"].shape == (1, 3, 8, 8)


def test_another_adapter_of_the_same_name_is_refused(adapted, attach_trained, picture, tmp_path):
    data = icmh.encode(adapted, picture(8, 8))
    icmh.detach_adapter(adapted)
    attach_trained(adapted, "sfma", seed=9)
    with pytest.raises(StreamError, match="'sfma' attached here is another"):
        icmh.decode(adapted, data)
    with pytest.raises(StreamError, match="wrong adapter"):
        icmh.decode(adapted, data, views=["sfma"])
    folder = icmh.save_adapter(adapted, tmp_path / "sfma")
    icmh.detach_adapter(adapted)
    with pytest.raises(StreamError, match="wrong adapter"):
        icmh.decode(adapted, data, views=[folder])
    assert host_of(adapted) is None


@pytest.mark.parametrize(
    ("views", "message"),
    [(["sfmaa"], "Did you mean 'sfma'"), ("human", "must be a list"), ([], "must be a list")],
)
def test_unknown_views_are_refused_with_a_near_match(adapted, picture, views, message):
    data = icmh.encode(adapted, picture(8, 8))
    with pytest.raises(AdapterError, match=message):
        icmh.decode(adapted, data, views=views)


class EntropySide(icmh.Adapter):
    """Scales the entropy parameters a little, at both ends."""

    sides = ("entropy",)
    entropy_side = True
    identity_at_init = False

    def forward(self, x):
        return 1.25 * x


def test_entropy_side_adapters_are_required_and_stay_on_in_every_view(codec, attach_trained, picture):
    plain = icmh.encode(codec, picture(64, 64))
    icmh.attach_adapter(codec, EntropySide, name="rate", sites=["h_s.4"])
    attach_trained(codec, "bottleneck", "one", sites=["dec4"])
    data = icmh.encode(codec, picture(64, 64))
    assert [(a.name, a.roles) for a in inspect(data).adapters] == [("rate", ("required",)), ("one", ("decoder",))]
    views = icmh.decode(codec, data, views=["human", "one", "rate"])
    assert torch.equal(views["human"], views["rate"])
    assert torch.equal(views["one"], icmh.decode(codec, data))
    with pytest.raises(StreamError, match="made without it"):
        icmh.decode(codec, plain, views=["rate"])
    icmh.detach_adapter(codec, "rate")
    with pytest.raises(StreamError, match=r"'rate'.*cannot be decoded without it"):
        icmh.decode(codec, data, views=["human"])
