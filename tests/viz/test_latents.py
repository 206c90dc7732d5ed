import numpy as np
import pytest
import torch
from PIL import Image

from icmh_plugins.adapters.activate import set_adapter, use_adapter
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.host import adapter_modules
from icmh_plugins.errors import AdapterError, CodecError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS
from icmh_plugins.viz.latents import latent_maps
from icmh_plugins.viz.maps import plot_maps
from icmh_plugins.viz.pictures import plot_views

IMAGE = torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(0))
BUILDERS = {
    **TOYS,
    **{name: COMPRESSAI_MODELS[name] for name in ("bmshj2018-factorized", "mbt2018", "elic2022-official")},
}


@pytest.fixture
def adapted():
    codec = attach_adapter(COMPRESSAI_MODELS["mbt2018-mean"](), "sfma")
    for module in adapter_modules(codec, "sfma").values():
        module.s_up.bias.data.add_(0.3)
    return codec


@pytest.mark.parametrize("name", BUILDERS)
def test_latent_is_what_the_synthesis_gets(name):
    codec, image = BUILDERS[name](), IMAGE[:, :64]  # no padding at this size
    maps = latent_maps(codec, image)
    assert maps.y_hat.shape[1:] == maps.bits.shape == maps.spectrum.shape == (4, 8)
    synthesis = codec.g_s if isinstance(getattr(codec, "g_s", None), torch.nn.Module) else codec.to_image
    with torch.no_grad():
        out, shown = codec(image[None]), synthesis(maps.y_hat[None]).clamp(0, 1)[0]
    bits = -max(out["likelihoods"].values(), key=torch.Tensor.numel).log2()
    assert torch.allclose(maps.bits, bits[0].mean(0))
    assert torch.allclose(shown, maps.decoded, atol=1e-5)
    assert torch.equal(maps.decoded, out["x_hat"][0].clamp(0, 1))


def test_maps_cover_the_picture_only():
    maps = latent_maps(COMPRESSAI_MODELS["mbt2018-mean"](), IMAGE[:, :81, :100])
    assert maps.y_hat.shape[1:] == maps.bits.shape == (6, 7)
    assert maps.decoded.shape == (3, 81, 100)


def test_spectrum_has_zero_frequency_in_the_middle():
    maps = latent_maps(COMPRESSAI_MODELS["mbt2018-mean"](), torch.full((3, 128, 128), 0.5))
    middle = maps.spectrum[4, 4]
    assert middle == pytest.approx(float(maps.y_hat.sum((1, 2)).abs().mean()), rel=1e-4)


def test_maps_follow_the_active_adapter(adapted):
    on = latent_maps(adapted, IMAGE)
    with use_adapter(adapted, None):
        off = latent_maps(adapted, IMAGE)
    base = latent_maps(COMPRESSAI_MODELS["mbt2018-mean"](), IMAGE)
    assert torch.equal(off.bits, base.bits)
    assert not torch.equal(on.bits, base.bits)


def test_hooks_are_gone_afterwards(adapted):
    before = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in adapted.modules())
    latent_maps(adapted, IMAGE)
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in adapted.modules()) == before


class Hidden(torch.nn.Module):
    """A codec whose synthesis is no module."""

    def __init__(self, codec):
        super().__init__()
        self.inner = codec

    def forward(self, x):
        out = self.inner(x)
        return {**out, "likelihoods": {"y": out["likelihoods"]["y"][:, :5]}}


def test_latent_that_is_nowhere():
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    with pytest.raises(CodecError, match=r"\(1, 5, 8, 8\)"):
        latent_maps(Hidden(codec), IMAGE)


def test_pictures_are_written(adapted, tmp_path):
    plot_maps(adapted, IMAGE, tmp_path / "maps.png")
    plot_views(adapted, IMAGE, tmp_path / "views.png")
    for name in ("maps.png", "views.png"):
        width, height = Image.open(tmp_path / name).size
        assert width > 1500
        assert height > 300
    assert np.asarray(Image.open(tmp_path / "maps.png").convert("RGB")).std() > 20


def test_maps_need_something_to_compare(adapted, tmp_path):
    set_adapter(adapted, None)
    with pytest.raises(AdapterError, match="no adapter is active"):
        plot_maps(adapted, IMAGE, tmp_path / "maps.png")
