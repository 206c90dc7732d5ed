"""The blocks of the dynamic adaptation network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icmh_plugins.adapters.dynamic_convolution import MixedConv2d
from icmh_plugins.adapters.kernels import pointwise


class ResidualBlock(nn.Module):
    """u + P2 ReLU(K3 ReLU(P1 u)): 1x1 down, 3x3, 1x1 up; 3.25 C^2 + 2 C parameters with a bottleneck of one half."""

    def __init__(self, width: int, middle: int, post_relu: bool = False, kernels: int = 1) -> None:
        """Build the block.

        Args:
            width: Channels C of its input and output.
            middle: Channels inside.
            post_relu: ReLU after the sum.
            kernels: With more than one, K3 is mixed out of them by the mean of u over the picture.
        """
        super().__init__()
        self.reduce = nn.Conv2d(width, middle, 1)
        self.filter = nn.Conv2d(middle, middle, 3, padding=1) if kernels == 1 else MixedConv2d(middle, width, kernels)
        self.expand = nn.Conv2d(middle, width, 1)
        self.post_relu, self.mixes = post_relu, kernels > 1

    def forward(self, u: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        middle = pointwise(u, self.reduce.weight, self.reduce.bias).relu_()
        middle = F.relu(self.filter(middle, u) if self.mixes else self.filter(middle), inplace=True)
        out = u + pointwise(middle, self.expand.weight, self.expand.bias)
        return out.relu_() if self.post_relu else out


class AttentionBlock(nn.Module):
    """u + T(u) * sigmoid(P M(u)): a trunk T and a mask M of three residual blocks each, P a 1x1 convolution."""

    def __init__(self, width: int, block: Callable[[], nn.Module]) -> None:
        """Build the block out of residual blocks for `width` channels that `block` makes."""
        super().__init__()
        self.trunk = nn.Sequential(*(block() for _ in range(3)))
        self.mask = nn.Sequential(*(block() for _ in range(3)), nn.Conv2d(width, width, 1))

    def forward(self, u: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return torch.addcmul(u, self.trunk(u), torch.sigmoid(self.mask(u)))
