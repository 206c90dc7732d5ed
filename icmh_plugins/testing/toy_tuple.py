"""A TIC-shaped toy: `g_a`, `g_s`, `h_a`, `h_s` are methods over numbered layers; stages return (tensor, list)."""

from __future__ import annotations

from torch import Tensor, nn

from icmh_plugins.testing.toy_parts import ToyCodec, down, up


class Stage(nn.Module):
    """A residual block that also returns a list of by-products, as Swin stages return their attention maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, list[Tensor]]:
        """Return the features, and the gate in a list."""
        gate = self.mix(x).sigmoid()
        return x + x * gate, [gate]


class TupleCodec(ToyCodec):
    """Encoder: down, stage, down, stage, ... at strides 2 to 16; decoder: the same backwards."""

    def __init__(self, width: int = 12, latent: int = 16) -> None:
        super().__init__(width, latent)
        widths = [3, width, width, width, latent]
        for level in range(4):
            self.add_module(f"g_a{2 * level}", down(widths[level], widths[level + 1]))
            self.add_module(f"g_a{2 * level + 1}", Stage(widths[level + 1]))
            self.add_module(f"g_s{2 * level}", Stage(widths[4 - level]))
            self.add_module(f"g_s{2 * level + 1}", up(widths[4 - level], widths[3 - level]))

    def add_hyper(self, width: int, latent: int) -> None:
        """Make the numbered layers of the hyper transforms."""
        self.h_a0, self.h_a1, self.h_a2 = nn.Conv2d(latent, width, 3, padding=1), Stage(width), down(width, width)
        self.h_a3 = down(width, width)
        self.h_s0, self.h_s1, self.h_s2 = up(width, width), Stage(width), up(width, 2 * latent)

    def g_a(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Image to y, with the by-products of the stages."""
        maps = []
        for level in range(4):
            x = getattr(self, f"g_a{2 * level}")(x)
            x, more = getattr(self, f"g_a{2 * level + 1}")(x, x.shape[-2:])
            maps += more
        return x, maps

    def g_s(self, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        """y_hat to image, with the by-products of the stages."""
        maps = []
        for level in range(4):
            y, more = getattr(self, f"g_s{2 * level}")(y, y.shape[-2:])
            y = getattr(self, f"g_s{2 * level + 1}")(y)
            maps += more
        return y, maps

    def to_latent(self, x: Tensor) -> Tensor:
        """Image to y."""
        return self.g_a(x)[0]

    def to_image(self, y_hat: Tensor) -> Tensor:
        """y_hat to image."""
        return self.g_s(y_hat)[0]

    def to_hyper(self, y: Tensor) -> Tensor:
        """Latent y to z."""
        y = self.h_a0(y)
        return self.h_a3(self.h_a2(self.h_a1(y, y.shape[-2:])[0]))

    def gaussian(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and means of y from z_hat."""
        z = self.h_s0(z_hat)
        scales, means = self.h_s2(self.h_s1(z, z.shape[-2:])[0]).chunk(2, 1)
        return scales, means
