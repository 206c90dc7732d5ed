"""Operations whose stock forms waste most of an adapter's time on a CPU; same values, and plain PyTorch elsewhere.

* `pointwise`, `relayout`: convolutions are several times faster in ``channels_last``. The stock change of layout is
  slow, and 1x1 convolutions of less than 16 images on one thread go to a slower library than all others.
* `depthwise`: the weight gradient of a 5x5 depthwise convolution has no fast kernel, that of a 5x3 one has.
* `rfft2`: PyTorch's backward of a real FFT runs a full complex one. The gradient is itself a real inverse FFT.

While compiling or exporting, and on other devices, the plain operations are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_INVERSE = {"backward": "forward", "ortho": "ortho"}


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """1x1 convolution of (B, C, H, W) with weight (N, C, 1, 1); best in ``channels_last``, as its result is."""
    if not _tuned(x):
        return F.conv2d(x, weight, bias)
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch * height, 1, width, channels)  # every row an image of a larger batch
    out = F.conv2d(rows.permute(0, 3, 1, 2), weight)
    out.add_(bias.to(out.dtype)[:, None, None])  # not in the convolution, whose sum for the bias's gradient is crude
    return out.permute(0, 2, 3, 1).reshape(batch, height, width, len(weight)).permute(0, 3, 1, 2)


def fan(x: Tensor, layers: Sequence[nn.Conv2d]) -> list[Tensor]:
    """What each of several 1x1 convolutions gives for `x`, as one convolution."""
    weight, bias = torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])
    parts = pointwise(x, weight, bias).split([layer.out_channels for layer in layers], 1)
    return [part.contiguous(memory_format=torch.channels_last) for part in parts] if _tuned(x) else list(parts)


def relayout(x: Tensor, memory_format: torch.memory_format) -> Tensor:
    """`x` (B, C, H, W) in a memory format; its gradient comes back in the format of `x`."""
    if x.is_contiguous(memory_format=memory_format) or not _tuned(x):
        return x
    return _Relayout.apply(x, memory_format)


def memory_format_of(x: Tensor) -> torch.memory_format:
    """``channels_last`` or ``contiguous_format``, the latter for anything that is neither or both."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Depthwise 5x5 convolution, padding 2, of (B, C, H, W) with weight (C, 1, 5, 5)."""
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
    if _trains(weight) and _tuned(x):
        return _Depthwise5x5.apply(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=2, groups=len(weight))


def rfft2(x: Tensor, norm: str) -> Tensor:
    """`torch.fft.rfft2` of a real (B, C, H, W) tensor; norm "backward" or "ortho"."""
    if _trains(x) and not torch.compiler.is_compiling():
        return _RFFT2.apply(x, norm)
    return torch.fft.rfft2(x, norm=norm)


def _tuned(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _trains(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


class _Relayout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, memory_format: torch.memory_format) -> Tensor:
        ctx.memory_format = memory_format_of(x)
        return _transposed(x, memory_format)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _transposed(grad, ctx.memory_format), None


def _transposed(x: Tensor, memory_format: torch.memory_format) -> Tensor:
    # PyTorch's copy is fast from a transposed matrix to a contiguous one: one for each image.
    if x.is_contiguous(memory_format=memory_format):
        return x
    out = torch.empty_like(x, memory_format=memory_format)
    for pair in zip(out, x, strict=True):
        target, image = (part.flatten(1) for part in pair)
        if memory_format is torch.channels_last:
            target, image = target.t(), image.t()
        target.copy_(image)
    return out


class _RFFT2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: str) -> Tensor:
        ctx.size, ctx.norm = x.shape[-2:], norm
        return torch.fft.rfft2(x, norm=norm)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        height, width = ctx.size
        # irfft2 counts every column twice (itself and its mirror) but the first and, for even widths, the last.
        grad = grad.clone()
        grad[..., 1 : (width + 1) // 2] *= 0.5
        return torch.fft.irfft2(grad, s=(height, width), norm=_INVERSE[ctx.norm]), None


class _Depthwise5x5(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad_x = F.conv2d(grad, weight.flip(2, 3), padding=2, groups=len(weight))
        return grad_x, _weight_gradient(x, weight, grad), grad.sum((0, 2, 3))


def _weight_gradient(x: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
    # A 5x5 window is two overlapping 5x3 windows.
    width, channels = x.shape[-1], len(weight)
    padded, out = F.pad(x, (2, 2)), torch.empty_like(weight)
    window = weight[..., :3].contiguous()
    for column in (0, 2):
        part = padded[..., column : column + width + 2]
        out[..., column : column + 3] = torch.ops.aten.convolution_backward(
            grad, part, window, None, [1, 1], [2, 0], [1, 1], False, [0, 0], channels, [False, True, False]
        )[1]
    return out
