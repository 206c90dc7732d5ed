"""Facts of the dynamic adaptation network: blocks, counts, reach, sizes, tiles."""

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.describe import count_macs
from icmh_plugins.adapters.dynamic import REACH, Dynamic
from icmh_plugins.adapters.dynamic_blocks import AttentionBlock, ResidualBlock
from icmh_plugins.adapters.dynamic_convolution import MixedConv2d
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import ConfigError

IMAGE = Site("g_s.6", "reconstruction", 3, 1, "ConvTranspose2d")
WIDTHS = {32: 39_811, 64: 148_227, 96: 325_251, 128: 570_883, 192: 1_267_971}


def dynamic(seed=0, **options):
    torch.manual_seed(seed)
    return Dynamic(IMAGE, Dynamic.make_config(options))


def trained(**options):
    """One whose last convolution is as random as the others."""
    network = dynamic(**options)
    network.w_out.reset_parameters()
    return network


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("width", "parameters"), WIDTHS.items())
def test_parameters(width, parameters):
    assert size(dynamic(width=width)) == parameters == 33.5 * width**2 + 172 * width + 3
    assert size(ResidualBlock(width, width // 2)) == 3.25 * width**2 + 2 * width


def test_width_64_is_the_default():
    assert size(dynamic()) == 148_227
    assert size(dynamic().blocks[0]) == 13_440


def test_layers():
    network = dynamic()
    shapes = [layer.weight.shape for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert len(shapes) == 33
    assert len(network.state_dict()) == len(list(network.parameters())) == 66
    assert [shape[-1] for shape in shapes].count(5) == 2
    assert [tuple(shape) for shape in shapes].count((64, 64, 1, 1)) == 1
    assert not list(network.buffers())
    kinds = {type(module) for module in network.modules()}
    assert kinds == {Dynamic, nn.Conv2d, nn.Sequential, ResidualBlock, AttentionBlock}
    assert [type(block) for block in network.blocks] == [ResidualBlock] * 2 + [AttentionBlock] + [ResidualBlock] * 2


@pytest.mark.parametrize("width", [32, 64])
def test_multiply_accumulates(width):
    assert count_macs(dynamic(width=width), IMAGE) == 256**2 * (33.5 * width**2 + 150 * width)


def test_block_equations():
    block = dynamic(width=8, bottleneck=0.25).blocks[2]
    u = torch.randn(1, 8, 5, 6)

    def residual(unit, x):
        return x + unit.expand(torch.relu(unit.filter(torch.relu(unit.reduce(x)))))

    def chain(units, x):
        for unit in units:
            x = residual(unit, x)
        return x

    mask = torch.sigmoid(block.mask[3](chain(block.mask[:3], u)))
    torch.testing.assert_close(block(u), u + chain(block.trunk, u) * mask)
    assert block.trunk[0].filter.weight.shape == (2, 2, 3, 3)


@pytest.mark.parametrize("options", [{}, {"post_relu": True}, {"unshuffle": 2}, {"tile": 16}, {"kernels": 3}])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (37, 1), (23, 50), (2, 2)])
@torch.no_grad()
def test_untrained_it_returns_its_input(options, shape):
    x = 3 * torch.rand(2, 3, *shape) - 1
    assert torch.equal(dynamic(width=8, **options)(x), x)


@torch.no_grad()
def test_a_pixel_reaches_eleven_pixels_and_no_further():
    network = trained(width=8).double()
    x = torch.rand(1, 3, 41, 41, dtype=torch.float64)
    changed = x.clone()
    changed[..., 20, 20] += 1
    moved = (network(changed) != network(x)).any(1)[0].nonzero()
    assert moved.min(0).values.tolist() == [20 - REACH] * 2
    assert moved.max(0).values.tolist() == [20 + REACH] * 2


@pytest.mark.parametrize("options", [{}, {"post_relu": True}, {"unshuffle": 2}])
@pytest.mark.parametrize("shape", [(65, 90), (31, 100), (1, 70)])
@torch.no_grad()
def test_tiles_give_the_whole_picture(options, shape):
    tiles, whole = (trained(width=8, tile=tile, **options).double() for tile in (16, 0))
    x = torch.rand(1, 3, *shape, dtype=torch.float64)
    torch.testing.assert_close(tiles(x), whole(x), rtol=0, atol=1e-13)


@torch.no_grad()
def test_memory_is_that_of_a_tile():
    network, largest = dynamic(width=8, tile=64), []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda *call: largest.append(call[2].shape[-2:].numel()))
    network(torch.rand(1, 3, 300, 200))
    assert max(largest) == (64 + 2 * REACH) ** 2


@torch.no_grad()
def test_post_relu_differs_and_costs_nothing():
    plain, post = trained(width=8), trained(width=8, post_relu=True)
    x = torch.rand(1, 3, 20, 20)
    assert not torch.allclose(plain(x), post(x))
    assert size(plain) == size(post)


def test_unshuffled_it_works_at_half_the_size():
    network = dynamic(width=32, unshuffle=2)
    assert count_macs(network, IMAGE) * 4 == 256**2 * (33.5 * 32**2 + 12 * 25 * 32 * 2)
    assert network.w_in.weight.shape == (32, 12, 5, 5)


def test_mixed_kernels_cost_about_2_25_c_squared_each():
    plain, mixed = (size(dynamic(width=64, kernels=kernels).blocks[0]) for kernels in (1, 4))
    assert mixed - plain == pytest.approx(2.25 * 64**2 * 3, rel=0.05)


@torch.no_grad()
def test_each_picture_of_a_batch_gets_its_own_kernel():
    torch.manual_seed(0)
    layer = MixedConv2d(4, 8, 3).eval()
    layer.weigh.weight.mul_(50)
    layer.steps.fill_(1000)
    x, features = torch.randn(2, 4, 9, 7), torch.randn(2, 8, 9, 7) + torch.tensor([2.0, -2.0]).view(2, 1, 1, 1)
    mixes = torch.softmax(layer.weigh(torch.relu(layer.squeeze(features.mean((2, 3))))), 1)
    assert (mixes[0] - mixes[1]).abs().max() > 0.1
    for index, mix in enumerate(mixes):
        parts = [
            share * nn.functional.conv2d(x[index : index + 1], weight, bias, padding=1)
            for share, weight, bias in zip(mix, layer.weight, layer.bias, strict=True)
        ]
        torch.testing.assert_close(layer(x, features)[index], sum(parts)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_kernels_cool_down_while_training_only(dtype):
    layer = MixedConv2d(4, 8, 2).to(dtype)
    x, features = torch.rand(1, 4, 4, 4, dtype=dtype), torch.rand(1, 8, 4, 4, dtype=dtype)
    assert float(layer.tau()) == 30
    layer.train()(x, features)
    assert float(layer.tau()) == pytest.approx(30 - 29 / 1000)
    layer.eval()(x, features)
    assert float(layer.tau()) == pytest.approx(30 - 29 / 1000)
    layer.steps.fill_(999)
    layer.train()(x, features)
    layer(x, features)
    assert float(layer.tau()) == 1


def test_mixed_kernels_see_the_whole_picture():
    sizes, network = [], dynamic(width=8, kernels=2, tile=16)
    network.w_in.register_forward_hook(lambda *call: sizes.append(tuple(call[2].shape[-2:])))
    network(torch.rand(1, 3, 40, 50))
    assert sizes == [(40, 50)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_number_formats(dtype):
    network = trained(width=4).to(dtype)
    assert network(torch.rand(1, 3, 9, 9, dtype=dtype)).dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        assert trained(width=4)(torch.rand(1, 3, 9, 9)).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widht": 8}, "Did you mean 'width'"),
        ({"width": 0}, "width"),
        ({"unshuffle": 3}, "unshuffle"),
        ({"tile": 33}, "tile"),
        ({"kernels": 0}, "kernels"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ConfigError, match=words):
        Dynamic.make_config(options)
