"""The channel gate: counts, equation, formats, files."""

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.channel_gate import ChannelGate
from icmh_plugins.adapters.describe import describe
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import ConfigError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

CODECS = {**TOYS, **COMPRESSAI_MODELS}


def gate(channels=6, **options):
    torch.manual_seed(0)
    return ChannelGate(Site("g_a.1", "analysis", channels, 2, "GDN"), ChannelGate.make_config(options))


def excited(channels=6, **options):
    module = gate(channels, **options)
    nn.init.normal_(module.excite.weight, std=5)
    return module


@pytest.mark.parametrize(("channels", "reduction", "middle"), [(128, 16, 8), (192, 8, 24), (12, 16, 1), (20, 16, 1)])
def test_the_number_of_parameters(channels, reduction, middle):
    count = sum(p.numel() for p in gate(channels, reduction=reduction).parameters())
    assert count == 2 * channels * middle + middle + channels


def test_the_table_of_a_codec(codec):
    assert describe(attach_adapter(codec, "channel-gate", reduction=4)).adapter_parameters == 6 * (2 * 12 * 3 + 3 + 12)


@pytest.mark.parametrize("options", [{"reduction": 0}, {"reduce": 2}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError):
        gate(**options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_starts_as_the_identity_in_every_format(dtype):
    x = torch.randn(2, 6, 5, 7).to(dtype)
    y = gate().to(dtype)(x)
    assert y.dtype == dtype
    assert torch.equal(y, x)


def test_the_equation():
    module, x = excited(reduction=2), torch.randn(3, 6, 4, 5)
    mean = x.mean((2, 3))
    inside = torch.relu(mean @ module.squeeze.weight.T + module.squeeze.bias)
    factors = 2 * torch.sigmoid(inside @ module.excite.weight.T + module.excite.bias)
    torch.testing.assert_close(module(x), x * factors[:, :, None, None])
    assert 0 < factors.min() < 0.9
    assert 1.1 < factors.max() < 2


def test_each_picture_of_a_batch_has_its_own_gates():
    module, x = excited(reduction=2), torch.randn(3, 6, 4, 5)
    torch.testing.assert_close(module(x)[1:2], module(x[1:2]))


def test_under_autocast_the_format_is_kept():
    x = torch.randn(1, 6, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert excited()(x).dtype == torch.float32
        assert excited()(x.bfloat16()).dtype == torch.bfloat16
