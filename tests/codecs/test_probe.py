import copy
import io

import pytest
import torch
from torch import nn

from icmh_plugins.codecs.probe import probe
from icmh_plugins.codecs.tracing import trace
from icmh_plugins.errors import CodecError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

CODECS = {**TOYS, **COMPRESSAI_MODELS}


def layout(enc, dec, image, prefixes=("g_a", "g_s")):
    """Paths and strides as `probe` should list them."""
    a, s = prefixes
    return [
        *((f"{a}{index}", stride) for stride, index in enc.items()),
        *((f"{s}{index}", stride) for stride, index in dec.items()),
        (f"{s}{image}", 1),
    ]


GDN = layout({2: ".1", 4: ".3", 8: ".5", 16: ".6"}, {8: ".1", 4: ".3", 2: ".5"}, ".6")
ANCHOR = layout({2: ".1", 4: ".3", 8: ".5", 16: ".6"}, {16: ".0", 8: ".2", 4: ".4", 2: ".6"}, ".7.1")
ATTENTION = layout({2: ".1", 4: ".4", 8: ".6", 16: ".8"}, {16: ".1", 8: ".3", 4: ".6", 2: ".8"}, ".9.1")
ELIC = layout({2: ".3", 4: ".8", 8: ".12", 16: ".14"}, {16: ".0", 8: ".4", 4: ".9", 2: ".13"}, ".14")

EXPECTED = {
    **dict.fromkeys(COMPRESSAI_MODELS, GDN),
    "cheng2020-anchor": ANCHOR,
    "cheng2020-anchor-checkerboard": ANCHOR,
    "cheng2020-attn": ATTENTION,
    "elic2022-official": ELIC,
    "elic2022-chandelier": ELIC,
    "tuple": layout({2: "1", 4: "3", 8: "5", 16: "7"}, {16: "0", 8: "2", 4: "4", 2: "6"}, "7"),
    "token": [
        ("patch_embed", 2),
        *((f"layers.{index}", stride) for index, stride in enumerate((4, 8, 16))),
        *((f"syn_layers.{index}", stride) for index, stride in enumerate((8, 4, 2))),
        ("end_conv.2", 1),
    ],
    "wrapper": [
        (path.replace("g_a", "g_a.analysis_transform").replace("g_s", "g_s.synthesis_transform"), stride)
        for path, stride in GDN
    ],
    "slice": GDN,
}


@pytest.mark.parametrize("name", CODECS)
def test_finds_the_last_stage_at_every_stride_and_the_image(name):
    profile = probe(CODECS[name]())
    assert [(site.path, site.stride) for site in profile.sites] == EXPECTED[name]
    assert [site.side for site in profile.sites if site.stride == 1] == ["reconstruction"]
    assert profile.latent_stride == 16
    assert "entropy_bottleneck" in profile.entropy_modules or name.startswith(("cheng2020-anchor-", "elic"))


@pytest.mark.parametrize("name", CODECS)
def test_sites_describe_the_tensors_that_really_pass(name):
    model = CODECS[name]()
    seen = {}
    for site in probe(model).sites:
        model.get_submodule(site.path).register_forward_hook(
            lambda module, args, output, site=site: seen.__setitem__(site.alias, (site, output))
        )
    with torch.no_grad():
        model(torch.rand(1, 3, 64, 128))
    for site, output in seen.values():
        tensor = output if site.element is None else output[site.element]
        h, w = 64 // site.stride, 128 // site.stride
        assert tensor.shape == ((1, h * w, site.channels) if site.layout == "blc" else (1, site.channels, h, w))
        assert not isinstance(model.get_submodule(site.path), nn.Sequential)
    assert len(seen) == len(probe(model).sites)


@pytest.mark.parametrize("name", CODECS)
def test_probing_leaves_the_model_as_it_was(name):
    model = CODECS[name]()
    model.train()
    next(model.children()).eval()
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    probe(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", CODECS)
def test_copies_have_the_same_sites(name):
    model = CODECS[name]()
    profile = probe(model)
    assert probe(copy.deepcopy(model)) == profile
    if name not in ("cheng2020-attn", "elic2022-official", "elic2022-chandelier"):  # CompressAI cannot pickle these
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        assert probe(torch.load(buffer, weights_only=False)) == profile


def test_one_forward_serves_until_the_modules_change():
    model = TOYS["slice"]()
    first = trace(model)
    assert trace(model) is first
    model.g_s[5] = nn.Tanh()
    assert trace(model) is not first
    assert next(site for site in probe(model).sites if site.alias == "dec2").module_class == "Tanh"


def test_works_in_half_precision():
    assert [s.path for s in probe(TOYS["wrapper"]().bfloat16()).sites] == [path for path, _ in EXPECTED["wrapper"]]


def test_a_shared_module_is_noted_and_passed_over():
    model = TOYS["slice"]()
    model.g_a[3] = model.g_a[1]
    profile = probe(model)
    assert [s.path for s in profile.side("analysis")] == ["g_a.0", "g_a.2", "g_a.5", "g_a.6"]
    assert any("g_a.1 (GELU) cannot be adapted: it is called 2 times" in note for note in profile.notes)


def test_larger_images_are_tried_when_the_default_is_too_small():
    model = TOYS["wrapper"]()
    model.register_forward_pre_hook(_refuse_small)
    assert len(probe(model).sites) == 8


def _refuse_small(module, args):
    if args[0].shape[-2] < 512:
        raise RuntimeError("window larger than map")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2))

    def forward(self, x):
        return self.body(x)


def test_refuses_a_network_without_entropy_model():
    with pytest.raises(CodecError, match=r"Plain is not a codec: no entropy model found .* body \(Sequential\)"):
        probe(Plain())


def test_refuses_a_video_codec():
    from compressai.models.video import ScaleSpaceFlow

    with pytest.raises(
        CodecError, match=r"(?s)ScaleSpaceFlow does not take .*video and point-cloud.*preset=CodecProfile"
    ):
        probe(ScaleSpaceFlow())


@pytest.mark.parametrize("name", ["sfu2023-pcc-rec-pointnet", "sfu2024-pcc-rec-pointnet2-ssg"])
def test_refuses_point_cloud_codecs(name):
    import compressai.models  # noqa: F401  (fills the registry)
    from compressai.registry import MODELS

    with pytest.raises(
        CodecError, match=r"(?s)does not take one batch of images .*point-cloud codecs are not supported"
    ):
        probe(MODELS[name]())


def test_refuses_a_forward_without_likelihoods():
    model = TOYS["slice"]()
    model.forward = lambda x: {"x_hat": x, "strings": []}
    with pytest.raises(CodecError, match=r"'likelihoods', got \['x_hat', 'strings'\]"):
        probe(model)


def test_refuses_an_encoder_of_one_stride():
    model = TOYS["slice"]()
    model.g_a = nn.Sequential(nn.Conv2d(3, 16, 16, stride=16))
    with pytest.raises(CodecError, match=r"two strides or more .*found none.*g_s.1 \(synthesis, stride 8\)"):
        probe(model)


def test_refuses_a_square_probe():
    with pytest.raises(CodecError, match="square"):
        probe(TOYS["slice"](), size=(256, 256))
