"""A codec in the style of TIC: `g_a` and `g_s` are methods over numbered layers, and blocks return tuples.

Nothing of it is third-party code; it is small, untrained, and shaped like codecs that people have.
"""

from __future__ import annotations

from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.models import CompressionModel
from torch import Tensor, nn

Maps = list[Tensor]
"""By-products of the blocks, in the order of the calls."""


class Block(nn.Module):
    """Attention over channels; gives its map away beside the features, as the blocks of TIC do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Maps]:
        """Features (B, C, H, W), of which only the first element of the tuple goes on."""
        attention = self.mix(x).sigmoid()
        return x * (0.5 + attention), [attention]


class SmallTIC(CompressionModel):
    """A mean-scale hyperprior with N channels inside and M in the latent, of stride 16."""

    def __init__(self, N: int = 16, M: int = 24) -> None:  # noqa: N803  (as CompressAI calls them)
        super().__init__()
        self.N, self.M = N, M
        self.g_a0, self.g_a1 = _down(3, N), Block(N)
        self.g_a2, self.g_a3 = _down(N, N), Block(N)
        self.g_a4, self.g_a5 = _down(N, N), Block(N)
        self.g_a6, self.g_a7 = _down(N, M), Block(M)
        self.g_s0, self.g_s1 = Block(M), _up(M, N)
        self.g_s2, self.g_s3 = Block(N), _up(N, N)
        self.g_s4, self.g_s5 = Block(N), _up(N, N)
        self.g_s6, self.g_s7 = Block(N), _up(N, 3)
        self.h_a = nn.Sequential(_down(M, N), nn.GELU(), _down(N, N))
        self.h_s = nn.Sequential(_up(N, N), nn.GELU(), _up(N, 2 * M))
        self.entropy_bottleneck = EntropyBottleneck(N)
        self.gaussian_conditional = GaussianConditional(None)

    def g_a(self, x: Tensor) -> tuple[Tensor, Maps]:
        """Pictures (B, 3, H, W) to y (B, M, H/16, W/16), and the maps."""
        return self._through("g_a", x)

    def g_s(self, y: Tensor) -> tuple[Tensor, Maps]:
        """Latent y to pictures, and the maps."""
        return self._through("g_s", y)

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Reconstruct pictures (B, 3, H, W): "x_hat" and "likelihoods"."""
        y, _ = self.g_a(x)
        z_hat, z_likelihoods = self.entropy_bottleneck(self.h_a(y))
        scales, means = self.h_s(z_hat).chunk(2, 1)
        y_hat, y_likelihoods = self.gaussian_conditional(y, scales, means=means)
        x_hat, _ = self.g_s(y_hat)
        return {"x_hat": x_hat, "likelihoods": {"y": y_likelihoods, "z": z_likelihoods}}

    def compress(self, x: Tensor) -> dict[str, Any]:
        """Code pictures into one y string and one z string each."""
        y, _ = self.g_a(x)
        z = self.h_a(y)
        z_strings = self.entropy_bottleneck.compress(z)
        scales, means = self._gaussian(z_strings, z.shape[-2:])
        indexes = self.gaussian_conditional.build_indexes(scales)
        return {
            "strings": [self.gaussian_conditional.compress(y, indexes, means=means), z_strings],
            "shape": z.shape[-2:],
        }

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """The pictures of `compress`'s strings, in [0, 1]."""
        scales, means = self._gaussian(strings[1], shape)
        indexes = self.gaussian_conditional.build_indexes(scales)
        x_hat, _ = self.g_s(self.gaussian_conditional.decompress(strings[0], indexes, means=means))
        return {"x_hat": x_hat.clamp(0, 1)}

    def _gaussian(self, z_strings: list[bytes], shape: tuple[int, int]) -> tuple[Tensor, ...]:
        return self.h_s(self.entropy_bottleneck.decompress(z_strings, shape)).chunk(2, 1)

    def _through(self, transform: str, x: Tensor) -> tuple[Tensor, Maps]:
        maps = []
        for index in range(8):
            x = getattr(self, f"{transform}{index}")(x)
            if isinstance(x, tuple):
                x, more = x
                maps += more
        return x, maps


def small_tic() -> SmallTIC:
    """A codec with random weights, the same at every call, ready to write streams."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = SmallTIC().eval()
    codec.g_a6.weight.data *= 100  # untrained, the latent would be rounded to zeros
    codec.update()
    return codec


def _down(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)


def _up(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)
