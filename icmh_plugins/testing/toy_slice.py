"""A TCM-shaped toy: y is coded slice by slice, each slice seeing earlier ones, into one string for the whole batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.testing.toy_parts import ToyCodec, down, up


class SliceCodec(ToyCodec):
    """Four slices of y, two support slices, latent residual prediction; decodes batches of one image only."""

    slices = 4
    support = 2

    def __init__(self, width: int = 12, latent: int = 16) -> None:
        super().__init__(width, latent)
        part = latent // self.slices
        self.g_a = nn.Sequential(
            down(3, width), nn.GELU(), down(width, width), nn.GELU(), down(width, width), nn.GELU(), down(width, latent)
        )
        self.g_s = nn.Sequential(
            up(latent, width), nn.GELU(), up(width, width), nn.GELU(), up(width, width), nn.GELU(), up(width, 3)
        )
        seen = [2 * latent + min(index, self.support) * part for index in range(self.slices)]
        self.cc_transforms = nn.ModuleList(nn.Conv2d(channels, 2 * part, 3, padding=1) for channels in seen)
        self.lrp_transforms = nn.ModuleList(nn.Conv2d(channels + part, part, 3, padding=1) for channels in seen)

    def to_latent(self, x: Tensor) -> Tensor:
        """Image to y."""
        return self.g_a(x)

    def to_image(self, y_hat: Tensor) -> Tensor:
        """y_hat to image."""
        return self.g_s(y_hat)

    def context(self, index: int, hyper: Tensor, done: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Context, scales and means of one slice from the hyper features and the slices decoded so far."""
        context = torch.cat([hyper, *done[: self.support]], 1)
        scales, means = self.cc_transforms[index](context).chunk(2, 1)
        return context, scales, means

    def refine(self, index: int, context: Tensor, y_hat: Tensor) -> Tensor:
        """Add the predicted rounding residual to one slice."""
        return y_hat + 0.5 * self.lrp_transforms[index](torch.cat([context, y_hat], 1)).tanh()

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Reconstruct images (B, 3, H, W): a dict of ``x_hat`` and ``likelihoods``."""
        y = self.to_latent(x)
        z_hat, z_likelihoods = self.entropy_bottleneck(self.h_a(y))
        hyper, done, likelihoods = self.h_s(z_hat), [], []
        for index, part in enumerate(y.chunk(self.slices, 1)):
            context, scales, means = self.context(index, hyper, done)
            y_hat, likelihood = self.gaussian_conditional(part, scales, means=means)
            likelihoods.append(likelihood)
            done.append(self.refine(index, context, y_hat))
        x_hat = self.to_image(torch.cat(done, 1))
        return {"x_hat": x_hat, "likelihoods": {"y": torch.cat(likelihoods, 1), "z": z_likelihoods}}

    def compress(self, x: Tensor) -> dict[str, Any]:
        """Code one image (1, 3, H, W), or a batch that `decompress` cannot read back."""
        from compressai.ans import BufferedRansEncoder

        y, encoder = self.to_latent(x), BufferedRansEncoder()
        z = self.h_a(y)
        z_strings = self.entropy_bottleneck.compress(z)
        hyper, done = self.h_s(self.entropy_bottleneck.decompress(z_strings, z.shape[-2:])), []
        for index, part in enumerate(y.chunk(self.slices, 1)):
            context, scales, means = self.context(index, hyper, done)
            symbols = self.gaussian_conditional.quantize(part, "symbols", means)
            encoder.encode_with_indexes(symbols.flatten().tolist(), self.indexes(scales), *self.tables())
            done.append(self.refine(index, context, symbols + means))
        return {"strings": [[encoder.flush()], z_strings], "shape": z.shape[-2:]}

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """The image of `compress`'s strings, clamped to [0, 1]."""
        from compressai.ans import RansDecoder

        decoder = RansDecoder()
        decoder.set_stream(strings[0][0])
        hyper, done = self.h_s(self.entropy_bottleneck.decompress(strings[1], shape)), []
        for index in range(self.slices):
            context, scales, means = self.context(index, hyper, done)
            symbols = torch.tensor(decoder.decode_stream(self.indexes(scales), *self.tables()), dtype=means.dtype)
            done.append(self.refine(index, context, symbols.reshape(1, *means.shape[1:]) + means))
        return {"x_hat": self.to_image(torch.cat(done, 1)).clamp(0, 1)}

    def indexes(self, scales: Tensor) -> list[int]:
        """Table rows of the scales, flat."""
        return self.gaussian_conditional.build_indexes(scales).flatten().tolist()

    def tables(self) -> tuple[list[list[int]], list[int], list[int]]:
        """Distribution tables, their lengths and offsets as the range coder takes them."""
        model = self.gaussian_conditional
        return model.quantized_cdf.tolist(), model.cdf_length.tolist(), model.offset.tolist()
