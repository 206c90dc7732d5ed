"""The convolutions and layouts that are tuned for CPUs give what the plain ones give, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.kernels import fan, memory_format_of, pointwise, relayout

FORMATS = [torch.contiguous_format, torch.channels_last]
SHAPES = [(2, 3, 4, 5), (1, 2, 1, 3), (3, 1, 2, 1), (1, 1, 1, 1)]


def tensor(*shape, memory_format=torch.contiguous_format):
    x = torch.randn(shape, dtype=torch.float64)
    return (x.contiguous(memory_format=memory_format) if x.dim() == 4 else x).requires_grad_()


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_pointwise_is_a_1x1_convolution(shape, memory_format):
    x, weight, bias = tensor(*shape, memory_format=memory_format), tensor(4, shape[1], 1, 1), tensor(4)
    torch.testing.assert_close(pointwise(x, weight, bias), nn.functional.conv2d(x, weight, bias))
    assert torch.autograd.gradcheck(pointwise, (x, weight, bias))


@pytest.mark.parametrize("memory_format", FORMATS)
def test_pointwise_gives_channels_last(memory_format):
    x = tensor(2, 3, 16, 8, memory_format=memory_format)
    out = pointwise(x, tensor(4, 3, 1, 1), tensor(4))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_fan_is_each_convolution_of_the_same_input():
    layers = nn.ModuleList([nn.Conv2d(3, width, 1) for width in (4, 1, 2)]).double()
    x = tensor(2, 3, 4, 5)
    for part, layer in zip(fan(x, layers), layers, strict=True):
        torch.testing.assert_close(part, layer(x))
    assert torch.autograd.gradcheck(lambda x: fan(x, layers), (x,))


@pytest.mark.parametrize("before", FORMATS)
@pytest.mark.parametrize("after", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_relayout_changes_the_layout_only_and_gives_the_gradient_in_the_old_one(shape, before, after):
    x = tensor(*shape, memory_format=before)
    out = relayout(x, after)
    assert torch.equal(out, x)
    assert out.is_contiguous(memory_format=after)
    (gradient,) = torch.autograd.grad((out * out).sum(), x)
    torch.testing.assert_close(gradient, 2 * x)
    assert gradient.is_contiguous(memory_format=before)


def test_relayout_takes_views_of_any_strides():
    x = torch.randn(2, 6, 4, 8)[:, ::2, :, ::2]
    for memory_format in FORMATS:
        out = relayout(x, memory_format)
        assert torch.equal(out, x)
        assert out.is_contiguous(memory_format=memory_format)


def test_the_format_of_what_is_neither_or_both_is_contiguous():
    x = torch.randn(2, 6, 4, 8)
    assert memory_format_of(x.contiguous(memory_format=torch.channels_last)) is torch.channels_last
    assert memory_format_of(x) is torch.contiguous_format
    assert memory_format_of(x.transpose(2, 3)) is torch.contiguous_format
    assert memory_format_of(x[:, :1]) is torch.contiguous_format
