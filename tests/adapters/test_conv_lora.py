"""Low-rank updates of convolutions: where they sit, what they compute, what merging gives."""

import json

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.activate import set_adapter
from icmh_plugins.adapters.attach import attach_adapter, detach_adapter
from icmh_plugins.adapters.bake import bake
from icmh_plugins.adapters.conv_lora import ConvLoRA
from icmh_plugins.adapters.describe import describe
from icmh_plugins.adapters.host import adapter_modules, host_of
from icmh_plugins.adapters.store import adapter_digest, load_adapter, save_adapter
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import AdapterFileError, ConfigError, SiteError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS, two_input_codec

LAYERS = {
    "strided": nn.Conv2d(4, 6, 5, stride=2, padding=2),
    "rectangular, dilated, without bias": nn.Conv2d(4, 6, (3, 5), padding=(2, 4), dilation=2, bias=False),
    "unpadded": nn.Conv2d(4, 6, 3),
    "reflecting": nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "grouped": nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "depthwise": nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "transposed": nn.ConvTranspose2d(4, 6, 5, stride=2, padding=2, output_padding=1),
    "transposed, grouped": nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1, groups=2),
}


CODECS = {**TOYS, **COMPRESSAI_MODELS}
SEVERAL = ["tuple", "token", "bmshj2018-factorized-relu", "mbt2018-mean", "cheng2020-attn", "elic2022-official"]


def beside(layer, **options):
    """An update of `layer` that has learned something, and the layer, both float64."""
    site = Site("g_a.0", "analysis", layer.out_channels, 2, type(layer).__name__)
    torch.manual_seed(0)
    adapter = ConvLoRA(site, ConvLoRA.make_config(options), layer)
    nn.init.normal_(adapter.up.weight)
    return adapter.double(), layer.double()


def transforms(model):
    """The codec's encoder and decoder, as functions from tensor to tensor."""
    return (model.to_latent, model.to_image) if hasattr(model, "to_latent") else (model.g_a, model.g_s)


def relative(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_merged_it_is_the_layer_with_the_update(layer):
    adapter, layer = beside(layer, rank=3)
    x = torch.randn(2, layer.in_channels, 9, 11, dtype=torch.float64)
    adapted, bias, keys = adapter(layer(x), x), layer.bias, list(layer.state_dict())
    assert not torch.allclose(adapted, layer(x))
    adapter.merge(layer)
    assert (layer(x) - adapted).abs().max() < 1e-12
    assert list(layer.state_dict()) == keys
    assert layer.bias is bias


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_number_of_parameters(layer):
    adapter, _ = beside(layer, rank=3)
    area = layer.kernel_size[0] * layer.kernel_size[1]
    assert sum(p.numel() for p in adapter.parameters()) == 3 * (area * layer.in_channels + layer.out_channels)


def test_the_update_has_the_rank_asked_for_and_is_scaled_by_alpha_over_rank():
    adapter, _ = beside(nn.Conv2d(8, 9, 3), rank=2, alpha=6.0)
    assert torch.linalg.matrix_rank(adapter.update().flatten(1)) == 2
    assert adapter.scale == 3.0


@pytest.mark.parametrize("options", [{"rank": 0}, {"alpha": 0.0}, {"ranks": 2}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError):
        ConvLoRA.make_config(options)


@pytest.mark.parametrize("name", SEVERAL)
def test_it_starts_as_nothing_and_can_be_taken_off(name, image, code, train, snapshot):
    model = CODECS[name]()
    with torch.no_grad():
        model(image)  # the first forward of a masked convolution applies its mask
    strings, pixels = code(model, image)
    before = snapshot(model)
    attach_adapter(model, "conv-lora", rank=2)
    ours, decoded = code(model, image)
    assert ours == strings
    assert torch.equal(decoded, pixels)

    train(model, amount=0.2)
    set_adapter(model, None)
    ours, decoded = code(model, image)
    assert ours == strings
    assert torch.equal(decoded, pixels)
    detach_adapter(model)
    after = snapshot(model)
    after["random state"] = before["random state"]
    assert after == before


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", SEVERAL)
@torch.no_grad()
def test_the_merged_codec_is_the_adapted_one(name, image, train, dtype, near):
    base, image = CODECS[name]().to(dtype), image.to(dtype)
    model = train(attach_adapter(CODECS[name]().to(dtype), "conv-lora", rank=2), amount=0.03)
    merged = bake(model)
    assert type(merged) is type(base)
    assert list(merged.state_dict()) == list(base.state_dict())
    y = transforms(model)[0](image)
    for number, (side, x) in enumerate((("analysis", image), ("synthesis", y.round()))):
        adapted = transforms(model)[number](x)
        assert relative(transforms(merged)[number](x), adapted) < near
        if side in host_of(model).records["conv-lora"].sides:  # the decoder of "token" has no convolution inside
            assert relative(transforms(base)[number](x), adapted) > 1e-2


def test_it_takes_all_convolutions_up_to_the_last_stage_of_either_side():
    codec = attach_adapter(COMPRESSAI_MODELS["cheng2020-anchor"](), "conv-lora")
    names = {site.name for site in host_of(codec).records["conv-lora"].sites}
    assert {"g_a.0.skip", "g_a.6", "g_s.1.subpel_conv.0", "g_s.6.conv2"} <= names
    assert {name.partition(".")[0] for name in names} == {"g_a", "g_s"}
    assert not any(name.startswith("g_s.7") for name in names)  # what gives the picture


@pytest.mark.parametrize(
    ("sites", "names"),
    [
        (["enc2"], {"g_a.0"}),
        (["g_s.2", "g_a.*"], {"g_s.2", "g_a.0", "g_a.2", "g_a.4", "g_a.6"}),
        ({"dec": ["dec*"]}, {"g_s.0", "g_s.2", "g_s.4"}),
        (["h_a.0"], {"h_a.0"}),
    ],
)
def test_names_and_patterns_mean_convolutions(codec, sites, names):
    attach_adapter(codec, "conv-lora", sites=sites)
    assert {site.name for site in host_of(codec).records["conv-lora"].sites} == names


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("g_a.1", r"behind layers of type Conv2d or ConvTranspose2d only, not at g_a.1 \(GDN\)"),
        ("g_a.2@before", r"not at g_a.2@before"),
        ("g_s.6", "may sit on"),
        ("h_s.0", "entropy_side"),
    ],
)
def test_other_places_are_refused(codec, snapshot, site, message):
    before = snapshot(codec)
    with pytest.raises(SiteError, match=message):
        attach_adapter(codec, "conv-lora", sites=[site])
    assert snapshot(codec) == before


def test_a_masked_convolution_is_no_convolution_to_it():
    codec = COMPRESSAI_MODELS["mbt2018"]()
    from compressai.layers import MaskedConv2d

    codec.g_a[2] = MaskedConv2d(12, 12, 5, stride=2, padding=2)
    with pytest.raises(SiteError, match="MaskedConv2d"):
        attach_adapter(codec, "conv-lora", sites=["g_a.2"])


def test_a_codec_described_by_hand():
    from icmh_plugins.testing.toy_two_inputs import two_input_profile

    codec = two_input_codec()
    with pytest.raises(SiteError, match="finds no site"):  # those described are activations
        attach_adapter(codec, "conv-lora", preset=two_input_profile())
    site = Site("g_a.2", "analysis", 12, 4, "Conv2d")
    attach_adapter(codec, "conv-lora", preset=two_input_profile(), sites=[site])
    assert host_of(codec).records["conv-lora"].sites == (site,)


def test_saved_and_loaded_it_is_the_same(codec, image, code, train, tmp_path):
    train(attach_adapter(codec, "conv-lora", rank=3, alpha=1.5), amount=0.2)
    strings, digest = code(codec, image)[0], adapter_digest(codec, "conv-lora")
    save_adapter(codec, tmp_path / "lora")
    other = COMPRESSAI_MODELS["mbt2018-mean"]()
    load_adapter(other, tmp_path / "lora")
    assert code(other, image)[0] == strings
    assert adapter_digest(other, "lora") == digest


def test_a_file_that_puts_it_elsewhere_is_refused(codec, tmp_path):
    save_adapter(attach_adapter(codec, "conv-lora", sites=["g_a.0"]), tmp_path / "lora")
    file = tmp_path / "lora" / "adapter_config.json"
    info = json.loads(file.read_text())
    info["sites"][0] |= {"path": "g_a.1", "module_class": "GDN"}
    file.write_text(json.dumps(info))
    with pytest.raises(AdapterFileError, match="sits behind layers"):
        load_adapter(COMPRESSAI_MODELS["mbt2018-mean"](), tmp_path / "lora")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_it_follows_the_codec_s_number_format(codec, image, train, dtype):
    train(attach_adapter(codec, "conv-lora", rank=2), amount=0.2)
    with torch.no_grad():
        expected = codec.g_a(image)
        codec.to(dtype)
        y = codec.g_a(image.to(dtype))
    assert y.dtype == dtype
    assert relative(y.double(), expected.double()) < 0.1
    assert {p.dtype for m in adapter_modules(codec, "conv-lora").values() for p in m.parameters()} == {dtype}


def test_under_autocast_shape_and_format_are_the_layer_s(codec, image, train):
    train(attach_adapter(codec, "conv-lora", rank=2))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert codec.g_a[0](image).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["tuple", "token"])
def test_codecs_with_tuples_and_tokens(name, image, train):
    model = train(attach_adapter(TOYS[name](), "conv-lora", rank=2), amount=0.2)
    with torch.no_grad():
        adapted = model(image)["x_hat"]
        set_adapter(model, None)
        assert not torch.equal(model(image)["x_hat"], adapted)


def test_the_table_counts_its_multiplications(codec):
    (row,) = (row for row in describe(attach_adapter(codec, "conv-lora", sites=["g_a.2"])).rows if row.adapter)
    assert row.parameters == 4 * (25 * 12 + 12)
    assert row.kmac_per_pixel == pytest.approx(row.parameters / 16 / 1000)
