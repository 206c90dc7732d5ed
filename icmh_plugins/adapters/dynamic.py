"""The dynamic adaptation network g_t: the decoded image for people becomes the one for machines, from the same bits.

Paper: Zhu et al., "Learned Image Compression for Both Humans and Machines via Dynamic Adaptation", ICIP 2024. "Dynamic"
names the method; g_t is a plain residual network on pixels with one attention block.

From the paper (framework figure and slides; the full text was not available): the blocks, their order, and the skip.
Ours: width and bottleneck (64 and one half), stride 1 throughout, the zero-initialised last convolution, so that
attaching changes nothing, `post_relu` (CompressAI's residual unit), `unshuffle`, `tile`, and kernels that depend on the
picture (`kernels`, off by default).
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.adapters.dynamic_blocks import AttentionBlock, ResidualBlock
from icmh_plugins.adapters.tiling import tiled
from icmh_plugins.codecs.padding import crop, pad
from icmh_plugins.codecs.sites import Site

REACH = 11
"""Pixels (of the network's own grid) that an output pixel sees on either side: a window of 23 x 23."""


class DynamicConfig(AdapterConfig):
    """Options of `Dynamic`.

    Attributes:
        width: Channels C (the paper does not give it).
        bottleneck: Channels inside a residual block, as a fraction of `width` (the figure suggests one half).
        post_relu: ReLU after the sum of a residual block, as CompressAI has it; the paper's figure has none.
        unshuffle: 2 works on 2x2 blocks of pixels as 12 channels at half the size: about four times faster; not of
            the paper.
        tile: Larger pictures are worked on in tiles of this side, exactly, which bounds the memory; 0 never tiles.
        kernels: K > 1 mixes the 3x3 kernels of residual blocks out of K, by the picture ("dynamic convolution"); not of
            the paper. Whole pictures only: `tile` is then of no effect.
    """

    width: int = Field(64, ge=1, le=4096)
    bottleneck: float = Field(0.5, gt=0, le=1)
    post_relu: bool = False
    unshuffle: Literal[1, 2] = 1
    tile: int = Field(512, ge=0, multiple_of=2)
    kernels: int = Field(1, ge=1, le=16)


class Dynamic(Adapter):
    """x_bar = x_hat + g_t(x_hat), with g_t: 5x5 convolution, RB, RB, AB, RB, RB, 5x5 convolution.

    Sits on the decoded image, so that bits and the human view are those of the codec without it.

    Parameters at the defaults: 33.5 C^2 + 172 C + 3.
    """

    Config = DynamicConfig
    sides = ("reconstruction",)
    strides = None
    paper = "Zhu et al., Learned Image Compression for Both Humans and Machines via Dynamic Adaptation, ICIP 2024"

    def __init__(self, site: Site, config: DynamicConfig) -> None:
        super().__init__(site, config)
        channels, middle = site.channels * config.unshuffle**2, max(1, round(config.width * config.bottleneck))
        block = partial(ResidualBlock, config.width, middle, config.post_relu, config.kernels)
        self.scale, self.tile = config.unshuffle, config.tile if config.kernels == 1 else 0
        self.w_in = nn.Conv2d(channels, config.width, 5, padding=2)
        self.blocks = nn.Sequential(block(), block(), AttentionBlock(config.width, block), block(), block())
        self.w_out = nn.Conv2d(config.width, channels, 5, padding=2)
        nn.init.zeros_(self.w_out.weight)
        nn.init.zeros_(self.w_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt decoded images (B, 3, H, W) of any size from 1x1, not clamped; shape and dtype are kept."""
        return x + tiled(self._residual, x, self.tile, self.scale * REACH).to(x.dtype)

    def _residual(self, x: Tensor) -> Tensor:
        whole, size = pad(x, self.scale)
        blocks = F.pixel_unshuffle(whole, self.scale).contiguous(memory_format=torch.channels_last)
        residual = self.w_out(self.blocks(self.w_in(blocks)))
        return crop(F.pixel_shuffle(residual, self.scale), size)
