"""Two operations whose stock gradients waste most of a training step on a CPU; same values, cheaper backward.

* `rfft2`: PyTorch's backward of a real FFT runs a full complex one. The gradient is itself a real inverse FFT.
* `depthwise`: the weight gradient of a 5x5 depthwise convolution has no fast kernel, that of a 3x3 one has. A 5x5
  window is four overlapping 3x3 windows.

While compiling or exporting, and where no gradient is needed, the plain operations are used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_INVERSE = {"backward": "forward", "ortho": "ortho"}


def rfft2(x: Tensor, norm: str) -> Tensor:
    """`torch.fft.rfft2` of a real (B, C, H, W) tensor; norm "backward" or "ortho"."""
    return _RFFT2.apply(x, norm) if _trains(x) else torch.fft.rfft2(x, norm=norm)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Depthwise 5x5 convolution, padding 2, of (B, C, H, W) with weight (C, 1, 5, 5)."""
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
    if _trains(weight) and x.device.type == "cpu":
        return _Depthwise5x5.apply(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=2, groups=len(weight))


def _trains(tensor: Tensor) -> bool:
    return torch.is_grad_enabled() and tensor.requires_grad and not torch.compiler.is_compiling()


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
    height, width, channels = *x.shape[-2:], len(weight)
    padded, out = F.pad(x, (2, 2, 2, 2)), torch.empty_like(weight)
    window = weight[:, :, :3, :3].contiguous()
    for row in (0, 2):
        for column in (0, 2):
            part = padded[:, :, row : row + height + 2, column : column + width + 2]
            out[:, :, row : row + 3, column : column + 3] = torch.ops.aten.convolution_backward(
                grad, part, window, None, [1, 1], [0, 0], [1, 1], False, [0, 0], channels, [False, True, False]
            )[1]
    return out
