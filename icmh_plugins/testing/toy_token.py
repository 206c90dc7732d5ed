"""An STF-shaped toy: no g_a or g_s, a patch embedding and lists of stages that pass (tokens, height, width)."""

from __future__ import annotations

from torch import Tensor, nn

from icmh_plugins.testing.toy_parts import ToyCodec

Tokens = tuple[Tensor, int, int]


class Shrink(nn.Module):
    """Merge 2x2 tokens: (B, H*W, C), H, W to (B, H*W/4, D), H/2, W/2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Linear(inputs, inputs)
        self.reduction = nn.Linear(4 * inputs, outputs)

    def forward(self, x: Tensor, h: int, w: int) -> Tokens:
        """Return merged tokens and their new height and width."""
        x = x + self.mix(x).tanh()
        x = x.reshape(len(x), h // 2, 2, w // 2, 2, -1).transpose(2, 3).flatten(3).flatten(1, 2)
        return self.reduction(x), h // 2, w // 2


class Grow(nn.Module):
    """Split each token into 2x2: (B, H*W, C), H, W to (B, 4*H*W, D), 2H, 2W."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Linear(inputs, inputs)
        self.expansion = nn.Linear(inputs, 4 * outputs)

    def forward(self, x: Tensor, h: int, w: int) -> Tokens:
        """Return split tokens and their new height and width."""
        x = self.expansion(x + self.mix(x).tanh())
        x = x.reshape(len(x), h, w, 2, 2, -1).transpose(2, 3).reshape(len(x), 4 * h * w, -1)
        return x, 2 * h, 2 * w


class TokenCodec(ToyCodec):
    """Token widths `width`, 2 `width` and `latent` at strides 4, 8, 16; the decoder also passes stride 2."""

    def __init__(self, width: int = 8, latent: int = 16) -> None:
        super().__init__(width, latent)
        self.g_a, self.g_s = None, None
        self.patch_embed = nn.Conv2d(3, width, 2, stride=2)
        self.layers = nn.ModuleList([Shrink(width, width), Shrink(width, 2 * width), Shrink(2 * width, latent)])
        self.syn_layers = nn.ModuleList([Grow(latent, 2 * width), Grow(2 * width, width), Grow(width, width)])
        self.end_conv = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(width, 3, 1)
        )

    def to_latent(self, x: Tensor) -> Tensor:
        """Image to y."""
        x = self.patch_embed(x)
        h, w = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        for layer in self.layers:
            x, h, w = layer(x, h, w)
        return x.transpose(1, 2).unflatten(2, (h, w))

    def to_image(self, y_hat: Tensor) -> Tensor:
        """y_hat to image."""
        h, w = y_hat.shape[-2:]
        x = y_hat.flatten(2).transpose(1, 2)
        for layer in self.syn_layers:
            x, h, w = layer(x, h, w)
        return self.end_conv(x.transpose(1, 2).unflatten(2, (h, w)))
