"""A toy that cannot be probed: its forward wants a second argument, its `compress` and `decompress` do not."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.testing.toy_parts import ToyCodec, down, up


class TwoInputCodec(ToyCodec):
    """Sequential `g_a` and `g_s`, and a forward that takes a gain beside the images."""

    def __init__(self, width: int = 12, latent: int = 16) -> None:
        super().__init__(width, latent)
        self.g_a = nn.Sequential(
            down(3, width), nn.GELU(), down(width, width), nn.GELU(), down(width, width), nn.GELU(), down(width, latent)
        )
        self.g_s = nn.Sequential(
            up(latent, width), nn.GELU(), up(width, width), nn.GELU(), up(width, width), nn.GELU(), up(width, 3)
        )

    def to_latent(self, x: Tensor) -> Tensor:
        """Image to y."""
        return self.g_a(x)

    def to_image(self, y_hat: Tensor) -> Tensor:
        """y_hat to image."""
        return self.g_s(y_hat)

    def forward(self, x: Tensor, gain: Tensor) -> dict[str, Any]:
        """Reconstruct images (B, 3, H, W) that are scaled by `gain` first."""
        return super().forward(x * gain)


def two_input_profile() -> CodecProfile:
    """The codec described by hand: one stage on either side."""
    sites = (Site("g_a.3", "analysis", 12, 4, "GELU"), Site("g_s.3", "synthesis", 12, 4, "GELU"))
    return CodecProfile("TwoInputCodec", sites, 16, ("entropy_bottleneck", "gaussian_conditional"))
