"""The restoration head: a one-step U-Net on the decoded picture, steered by a condition.

Blocks after NAFNet (Chen et al., "Simple Baselines for Image Restoration", ECCV 2022), with scale and shift from the
condition in both halves, as DA-CLIP's author describes for NAFNet. Ours: NAFNet's channel attention, an average over
the whole picture, is left out, since the condition does the global part; so tiles give what the whole picture gives.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icmh_plugins.adapters.tiling import tiled
from icmh_plugins.codecs.padding import crop, pad


class ConditionedBlock(nn.Module):
    """u -> v = u + beta B(modulated norm(u)) -> v + gamma G(modulated norm(v)), with gates that multiply two halves."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.film = nn.Linear(condition, 4 * channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.narrow = nn.Conv2d(channels, channels, 1)
        self.feed = nn.Conv2d(channels, 2 * channels, 1)
        self.back = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        for parameter in self.film.parameters():
            nn.init.zeros_(parameter)

    def forward(self, u: Tensor, condition: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape under `condition` (B, K)."""
        scale1, shift1, scale2, shift2 = self.film(condition)[..., None, None].chunk(4, 1)
        v = _normalised(u) * (1 + scale1) + shift1
        v = u + self.beta * self.narrow(_gated(self.depthwise(self.widen(v))))
        w = _normalised(v) * (1 + scale2) + shift2
        return v + self.gamma * self.back(_gated(self.feed(w)))


class RestorationHead(nn.Module):
    """x_hat -> x_hat + g r(x_hat, condition): r a U-Net, g in (0, 1) a gate of the condition, one number a picture.

    The last convolution starts at zero, so that an untrained head returns its input unchanged, bit for bit.
    """

    def __init__(
        self, channels: int, width: int, levels: int, blocks: int, condition: int, gate: bool, tile: int
    ) -> None:
        """Build an untrained head.

        Args:
            channels: Of the picture.
            width: Channels at full resolution; they double at each level.
            levels: Times that the size is halved.
            blocks: Blocks at each level, on the way down and up.
            condition: Length K of the condition.
            gate: Whether there is a gate; without, g = 1.
            tile: Larger pictures are restored in tiles of this side, a multiple of 2 ** levels; 0 never tiles.
        """
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        self.intro = nn.Conv2d(channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(_stage(c, blocks, condition) for c in widths[:-1])
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in widths[:-1])
        self.middle = _stage(widths[-1], blocks, condition)
        self.ups = nn.ModuleList(nn.Conv2d(2 * c, 4 * c, 1, bias=False) for c in reversed(widths[:-1]))
        self.decoders = nn.ModuleList(_stage(c, blocks, condition) for c in reversed(widths[:-1]))
        self.ending = nn.Conv2d(width, channels, 3, padding=1)
        self.gate = nn.Linear(condition, 1) if gate else None
        self.multiple, self.tile = 2**levels, tile
        self.halo = self.multiple * -(-_reach(levels, blocks) // self.multiple)
        for parameter in self.ending.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Restore pictures (B, C, H, W) of any size from 1x1 under `condition` (B, K); shape and dtype are kept."""
        whole, size = pad(x.to(self.intro.weight.dtype), self.multiple)
        tile = 0 if torch.is_grad_enabled() else self.tile
        residual = crop(tiled(lambda part: self._residual(part, condition), whole, tile, self.halo), size)
        if self.gate is not None:
            residual = residual * torch.sigmoid(self.gate(condition))[..., None, None]
        return x + residual.to(x.dtype)

    def _residual(self, x: Tensor, condition: Tensor) -> Tensor:
        u, skips = self.intro(x.contiguous(memory_format=torch.channels_last)), []
        for stage, down in zip(self.encoders, self.downs, strict=True):
            u = _run(stage, u, condition)
            skips.append(u)
            u = down(u)
        u = _run(self.middle, u, condition)
        for up, stage in zip(self.ups, self.decoders, strict=True):
            u = _run(stage, F.pixel_shuffle(up(u), 2) + skips.pop(), condition)
        return self.ending(u)


def _stage(channels: int, blocks: int, condition: int) -> nn.ModuleList:
    return nn.ModuleList(ConditionedBlock(channels, condition) for _ in range(blocks))


def _run(stage: nn.ModuleList, u: Tensor, condition: Tensor) -> Tensor:
    for block in stage:
        u = block(u, condition)
    return u


def _normalised(u: Tensor) -> Tensor:
    """Zero mean and unit variance over the channels of every pixel, in float32 under autocast."""
    return F.layer_norm(u.permute(0, 2, 3, 1), u.shape[1:2], eps=1e-6).permute(0, 3, 1, 2)


def _gated(u: Tensor) -> Tensor:
    first, second = u.chunk(2, 1)
    return first * second


def _reach(levels: int, blocks: int) -> int:
    """How far an output pixel sees, at most: 3x3 filters at every scale, and the cell of 2^levels pixels it lies in."""
    return 2 + sum(2 * blocks * 2**level for level in range(levels)) + (blocks + 1) * 2**levels
