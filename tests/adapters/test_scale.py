"""Scale and shift: counts, equation, formats, files."""

import pytest
import torch

from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.describe import describe
from icmh_plugins.adapters.scale import Scale
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import ConfigError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

CODECS = {**TOYS, **COMPRESSAI_MODELS}


def scale(channels=6):
    return Scale(Site("g_a.1", "analysis", channels, 2, "GDN"), Scale.make_config({}))


def test_the_number_of_parameters(codec):
    assert sum(p.numel() for p in scale(128).parameters()) == 2 * 128
    assert describe(attach_adapter(codec, "scale")).adapter_parameters == 6 * 2 * 12


def test_it_has_no_options():
    with pytest.raises(ConfigError, match="no option 'init'"):
        Scale.make_config({"init": 1})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_starts_as_the_identity_in_every_format(dtype):
    x = torch.randn(2, 6, 5, 7).to(dtype)
    for module in (scale(), scale().to(dtype)):
        y = module(x)
        assert y.dtype == dtype
        assert torch.equal(y, x)


def test_the_equation():
    module, x = scale(2), torch.randn(3, 2, 4, 5)
    with torch.no_grad():
        module.gamma.copy_(torch.tensor([2.0, -1.0]).view(2, 1, 1))
        module.beta.copy_(torch.tensor([0.5, 3.0]).view(2, 1, 1))
    assert torch.equal(module(x), torch.stack([2 * x[:, 0] + 0.5, -x[:, 1] + 3], 1))


@pytest.mark.parametrize("name", ["tuple", "token", "mbt2018-mean"])
def test_gradients_reach_it_and_nothing_else(name, image):
    model = attach_adapter(CODECS[name]().train(), "scale")
    model(image)["x_hat"].square().mean().backward()
    moved = {key.rpartition(".")[2] for key, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"gamma", "beta"}
