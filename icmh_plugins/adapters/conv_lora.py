"""Low-rank updates of convolutions, which can be merged into their weights.

Paper: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, arXiv 2106.09685, for linear layers.
From there: the update (alpha / r) B A of a frozen weight, with B zero at the start.
Ours: the form for convolutions (A has the kernel of the layer, B is 1x1), transposed and grouped ones included, where
it sits, and the defaults. The adapter of Zhong et al., "Convolution Meets LoRA", ICLR 2024, is another one: it has
convolutions inside the bottleneck.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.sites import Site

_GEOMETRY = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")


class ConvLoRAConfig(AdapterConfig):
    """Options of `ConvLoRA`.

    Attributes:
        rank: Rank r of the update, in each group of a grouped convolution.
        alpha: The update is scaled by alpha / r.
    """

    rank: int = Field(4, ge=1, le=4096)
    alpha: float = Field(8.0, gt=0)


class ConvLoRA(Adapter):
    """y + (alpha / r) B A x behind a convolution y = W x + b: that is one with the kernel W + (alpha / r) B A.

    A is a convolution like W, from C_in to r channels, B one of 1x1 from r to C_out; both have no bias.

    Parameters for a kernel of k x k: r (k^2 C_in + C_out).
    """

    Config = ConvLoRAConfig
    strides = None
    layers = (nn.Conv2d, nn.ConvTranspose2d)
    mergeable = True
    paper = "Hu et al., LoRA, ICLR 2022 (form); ours for convolutions"

    def __init__(self, site: Site, config: ConvLoRAConfig, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__(site, config, layer)
        self.scale = config.alpha / config.rank
        self.down = _narrow(layer, config.rank)
        self.up = nn.Conv2d(self.down.out_channels, layer.out_channels, 1, groups=layer.groups, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        """Update what the convolution made of `given`, `x` (B, C_out, H, W); shape and dtype are kept."""
        return torch.add(x, self.up(self.down(given)).to(x.dtype), alpha=self.scale)

    @torch.no_grad()
    def merge(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Add the update to the kernel of `layer`; computed in float64 and rounded once."""
        weight = (layer.weight.double() + self.scale * self.update()).to(layer.weight.dtype)
        layer.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)

    def update(self) -> Tensor:
        """B A as a kernel shaped like that of the layer, float64."""
        groups, down = self.down.groups, self.down.weight.double()
        up = self.up.weight.double().flatten(1).unflatten(0, (groups, -1))  # g, C_out / g, r
        if isinstance(self.down, nn.ConvTranspose2d):  # its kernel is C_in, C_out / g, k, k
            return torch.einsum("gor,girkl->giokl", up, down.unflatten(0, (groups, -1))).flatten(0, 1)
        return torch.einsum("gor,grikl->goikl", up, down.unflatten(0, (groups, -1))).flatten(0, 1)

    def example_inputs(self, site: Site, side: int) -> tuple[Tensor, ...]:
        """Zeros (1, C_out, H, W) and the input that the layer would have made them from."""
        size, stride = side // site.stride, self.down.stride[0]
        size = size // stride if isinstance(self.down, nn.ConvTranspose2d) else size * stride
        given = self.down.weight.new_zeros(1, self.down.in_channels, size, size)
        return torch.zeros_like(self.up(self.down(given))), given


def _narrow(layer: nn.Conv2d | nn.ConvTranspose2d, rank: int) -> nn.Conv2d | nn.ConvTranspose2d:
    """A convolution like `layer`, with `rank` output channels in each group and no bias."""
    options = {name: getattr(layer, name) for name in _GEOMETRY}
    if isinstance(layer, nn.ConvTranspose2d):
        options["output_padding"] = layer.output_padding
    return type(layer)(layer.in_channels, rank * layer.groups, bias=False, **options)
