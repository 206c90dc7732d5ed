import pytest
import torch
from torch import nn

from icmh_plugins.adapters.tiling import tiled


@pytest.fixture
def network():
    """Reaches 3 pixels, and sees zeros beyond the border as every convolution does."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)).double()


@pytest.mark.parametrize("size", [(50, 40), (16, 40), (33, 1), (1, 33), (17, 16)])
@torch.no_grad()
def test_tiles_give_the_whole(network, size):
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(tiled(network, x, 16, 3), network(x), rtol=0, atol=1e-14)


@torch.no_grad()
def test_a_halo_smaller_than_the_reach_is_seen(network):
    x = torch.rand(1, 3, 50, 40, dtype=torch.float64)
    assert (tiled(network, x, 16, 2) - network(x)).abs().max() > 1e-6


@pytest.mark.parametrize(("tile", "size"), [(0, (64, 64)), (64, (64, 64)), (16, (16, 9))])
def test_small_pictures_are_not_cut(tile, size):
    seen = []
    tiled(lambda x: seen.append(x.shape[-2:]) or x, torch.zeros(1, 3, *size), tile, 5)
    assert seen == [size]


def test_no_call_sees_more_than_a_tile_and_its_halo():
    sizes = []
    tiled(lambda x: sizes.append(x.shape[-2:]) or x, torch.zeros(1, 3, 70, 100), 32, 5)
    assert max(max(size) for size in sizes) == 42
    assert len(sizes) == 12


def test_gradients_pass(network):
    x = torch.rand(1, 3, 20, 20, dtype=torch.float64, requires_grad=True)
    (whole,) = torch.autograd.grad(network(x).square().sum(), x)
    (parts,) = torch.autograd.grad(tiled(network, x, 8, 3).square().sum(), x)
    torch.testing.assert_close(parts, whole)
