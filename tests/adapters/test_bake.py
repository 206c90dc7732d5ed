"""Baked copies: what they compute, what is left in them, what cannot be baked."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.activate import set_adapter, use_adapter
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.bake import Adapted, bake
from icmh_plugins.adapters.host import adapter_modules, host_of
from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.sites import SLOT
from icmh_plugins.errors import AdapterError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

CODECS = {**TOYS, **COMPRESSAI_MODELS}
SMALL = {"middle_dim": 4}


def traces(model):
    """What of adapters is left in a model: slots, hosts and hooks."""
    found = [path for path, module in model.named_modules() if SLOT in path or "_icmh_host" in module.__dict__]
    hooked = [p for p, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    return found + hooked


@torch.no_grad()
def pixels(model, image):
    return model(image)["x_hat"]


@pytest.mark.parametrize("adapter", ["sfma", "scale"])
def test_inlined_it_is_the_adapted_codec_bit_for_bit(build, image, code, train, snapshot, adapter):
    model = train(attach_adapter(build(), adapter, **(SMALL if adapter == "sfma" else {})))
    before = snapshot(model)
    baked = bake(model)
    ours, expected = code(baked, image), code(model, image)
    assert ours[0] == expected[0]
    assert torch.equal(ours[1], expected[1])
    assert not traces(baked)
    assert snapshot(model) == before


def test_adapters_of_inputs_outputs_and_pictures_together(codec, image, code, train):
    train(attach_adapter(codec, "bottleneck", name="in", sites=["g_s.0@before", "g_s.1"], **SMALL), "in")
    train(attach_adapter(codec, "scale", name="out", sites=["g_s.0", "enc4"]), "out")
    train(attach_adapter(codec, "dynamic", width=4), "dynamic")
    train(attach_adapter(codec, "channel-gate", name="off", sites=["enc2"]), "off", amount=1.0)
    set_adapter(codec, ["in", "out", "dynamic"])
    baked = bake(codec)
    ours, expected = code(baked, image), code(codec, image)
    assert ours[0] == expected[0]
    assert torch.equal(ours[1], expected[1])
    inlined = {path for path, module in baked.named_modules() if isinstance(module, Adapted)}
    assert inlined == {"g_s.0", "g_s.1", "g_a.3", "g_s.6"}
    assert not any("squeeze" in key for key in baked.state_dict())


@torch.no_grad()
def test_merged_and_inlined_side_by_side(codec, image, train):
    train(attach_adapter(codec, "conv-lora"), amount=0.02)
    train(attach_adapter(codec, "sfma", **SMALL), "sfma")
    set_adapter(codec, ["conv-lora", "sfma"])
    baked = bake(codec)
    y = codec.g_a(image)
    assert (baked.g_a(image) - y).abs().max() < 1e-5 * y.abs().max()
    assert type(baked.g_a[0]) is nn.Conv2d
    assert isinstance(baked.g_a[1], Adapted)


def test_merged_it_is_a_plain_codec_of_its_class(codec, image, code, train):
    stock = copy.deepcopy(codec)
    train(attach_adapter(codec, "conv-lora"), amount=0.05)
    baked = bake(codec)
    assert [(p, type(m)) for p, m in baked.named_modules()] == [(p, type(m)) for p, m in stock.named_modules()]
    rebuilt = type(stock).from_state_dict(baked.state_dict()).eval()
    assert torch.equal(pixels(rebuilt, image), pixels(baked, image))
    assert not torch.equal(pixels(stock, image), pixels(baked, image))
    assert base_fingerprint(codec) == base_fingerprint(stock) != base_fingerprint(baked)
    strings, decoded = code(baked, image)
    assert torch.equal(code(rebuilt, image)[1], decoded)
    assert code(rebuilt, image)[0] == strings


def test_an_adapter_of_a_layer_that_does_not_merge_is_inlined(codec, image, train):
    from icmh_plugins.adapters.conv_lora import ConvLoRA

    class Kept(ConvLoRA):
        mergeable = False

    train(attach_adapter(codec, Kept))
    baked = bake(codec)
    assert torch.equal(pixels(baked, image), pixels(codec, image))
    assert isinstance(baked.g_a[0], Adapted)


@pytest.mark.parametrize("prepare", ["nothing attached", "switched off", "switched off here"])
def test_with_nothing_active_it_is_the_base(codec, image, train, prepare):
    stock = copy.deepcopy(codec)
    if prepare != "nothing attached":
        train(attach_adapter(codec, "sfma", **SMALL))
    if prepare == "switched off":
        set_adapter(codec, None)
    if prepare == "switched off here":
        with use_adapter(codec, None):
            baked = bake(codec)
    else:
        baked = bake(codec)
    assert baked is not codec
    assert not traces(baked)
    assert torch.equal(pixels(baked, image), pixels(stock, image))
    assert list(baked.state_dict()) == list(stock.state_dict())
    flags = [[p.requires_grad for p in model.parameters()] for model in (baked, stock)]
    assert flags[0] == flags[1]


def test_the_copy_is_independent_of_the_original(codec, image, train):
    train(attach_adapter(codec, "sfma", **SMALL))
    baked = bake(codec)
    expected = pixels(baked, image)
    train(codec, seed=1)
    assert torch.equal(pixels(baked, image), expected)
    after = pixels(codec, image)
    with torch.no_grad():
        for parameter in baked.parameters():
            parameter.zero_()
    assert torch.equal(pixels(codec, image), after)


def test_a_module_under_two_names_is_replaced_under_both(codec, image, train):
    codec.alias = codec.g_a[1]
    train(attach_adapter(codec, "scale", sites=["g_a.1"]))
    baked = bake(codec)
    assert baked.alias is baked.g_a[1]
    assert torch.equal(pixels(baked, image), pixels(codec, image))


def test_attributes_of_the_module_inside_are_seen(codec, train):
    baked = bake(train(attach_adapter(codec, "scale", sites=["g_a.0"])))
    assert baked.g_a[0].stride == (2, 2)
    assert baked.g_a[0].weight is baked.g_a[0].layer.weight
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = baked.g_a[0].no_such_thing


def test_it_copies_pickles_and_saves(codec, image, train):
    baked = bake(train(attach_adapter(codec, "sfma", **SMALL)))
    file = io.BytesIO()
    torch.save(baked, file)
    file.seek(0)
    for twin in (copy.deepcopy(baked), pickle.loads(pickle.dumps(baked)), torch.load(file, weights_only=False)):
        assert torch.equal(pixels(twin, image), pixels(baked, image))


def test_streams_of_the_copy_are_read_by_the_copy(codec, image, train):
    baked = bake(train(attach_adapter(codec, "sfma", **SMALL)))
    expected = decode(codec, encode(codec, image))
    assert torch.equal(decode(baked, encode(baked, image)), expected)


def test_adapters_can_sit_on_a_baked_codec(codec, image, train):
    baked = bake(train(attach_adapter(codec, "sfma", **SMALL)))
    before = pixels(baked, image)
    attach_adapter(baked, "scale")
    assert torch.equal(pixels(baked, image), before)
    assert host_of(baked).records["scale"].sites[0].module_class == "Adapted"


def test_a_wrapped_codec_is_baked_without_its_wrapper(codec, image, train):
    train(attach_adapter(codec, "sfma", **SMALL))
    baked = bake(nn.DataParallel(codec))
    assert type(baked) is type(codec)
    assert torch.equal(pixels(baked, image), pixels(codec, image))


def test_half_precision(codec, image, train):
    train(attach_adapter(codec, "conv-lora"), amount=0.02)
    train(attach_adapter(codec, "sfma", **SMALL), "sfma")
    set_adapter(codec, ["conv-lora", "sfma"])
    codec.bfloat16()
    baked = bake(codec)
    with torch.no_grad():
        ours, theirs = baked.g_a(image.bfloat16()).float(), codec.g_a(image.bfloat16()).float()
    assert (ours - theirs).abs().max() < 0.1 * theirs.abs().max()
    assert baked.g_a[0].weight.dtype == torch.bfloat16


@pytest.mark.parametrize("condition", ["hint", "side-info", "latent"])
def test_what_goes_past_the_codec_cannot_be_baked(codec, snapshot, condition):
    attach_adapter(codec, "ll-icm", condition=condition, width=4, levels=1)
    before = snapshot(codec)
    with pytest.raises(AdapterError, match=r"'ll-icm' cannot be baked.* what it sees at .* goes past"):
        bake(codec)
    assert snapshot(codec) == before
    set_adapter(codec, None)
    assert not traces(bake(codec))


@pytest.mark.parametrize("condition", ["x_hat", "none"])
def test_a_condition_of_the_decoded_picture_can_be_baked(codec, image, train, condition):
    train(attach_adapter(codec, "ll-icm", condition=condition, width=4, levels=1))
    baked = bake(codec)
    assert not traces(baked)
    assert torch.equal(pixels(baked, image), pixels(codec, image))
    assert adapter_modules(codec, "ll-icm")
