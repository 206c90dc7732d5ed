"""A convolution whose kernel is mixed out of several, for every picture anew.

Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", CVPR 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HOTTEST = 30.0
"""tau of an untrained convolution: so near to equal weights that all kernels learn."""

COOLING = 1000
"""Training steps until tau is 1."""


class MixedConv2d(nn.Module):
    """A 3x3 convolution with kernel sum_k pi_k K_k, pi = softmax(W2 ReLU(W1 s) / tau), s the mean of some features.

    tau falls from 30 to 1 while training, by an equal amount every step.
    """

    def __init__(self, channels: int, context: int, kernels: int) -> None:
        """Build the kernels and what weighs them.

        Args:
            channels: Of input and output.
            context: Of the features that choose the kernel.
            kernels: How many there are.
        """
        super().__init__()
        layers = [nn.Conv2d(channels, channels, 3) for _ in range(kernels)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))
        self.squeeze = nn.Linear(context, max(1, context // 4))
        self.weigh = nn.Linear(max(1, context // 4), kernels)
        self.register_buffer("steps", torch.tensor(0))  # a whole number, which half precision leaves alone

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Convolve each picture of `x` (B, C, H, W) with the kernel that `features` (B, C', H, W) choose for it."""
        if self.training:
            self.steps.add_(1)
        scores = self.weigh(torch.relu(self.squeeze(features.mean((2, 3)))))
        mix = torch.softmax(scores / self.tau(), 1).to(self.weight.dtype)
        weight, bias = torch.einsum("bk,koihw->boihw", mix, self.weight), mix @ self.bias
        batch, channels, *size = x.shape
        side_by_side = x.reshape(1, batch * channels, *size)
        out = F.conv2d(side_by_side, weight.flatten(0, 1), bias.flatten(), padding=1, groups=batch)
        return out.reshape(x.shape)

    def tau(self) -> Tensor:
        """The temperature after the training steps so far, 30 to 1, float32."""
        return (HOTTEST - (HOTTEST - 1) * self.steps / COOLING).clamp(min=1)
