"""An adapter's modules by themselves, and what goes into and comes out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.coded_picture import forward_pass
from icmh_plugins.codecs.sites import Site


@dataclass(frozen=True)
class Part:
    """One module of an adapter, and the codec's module that it belongs to."""

    site: Site
    module: nn.Module
    layer: nn.Module

    def inputs(self, images: int, height: int, width: int, scale: float = 1.0) -> tuple[Tensor, ...]:
        """Seeded arguments for the module: a feature map (B, C, H, W), of pictures in [0, 1].

        For classes with `layers` it is what the layer makes of another such map, which comes with it.
        """
        generator = torch.Generator().manual_seed(4)
        if self.module.layers is None:
            make = torch.rand if self.site.channels == 3 and self.site.stride == 1 else torch.randn
            return (scale * make(images, self.site.channels, height, width, generator=generator),)
        channels = self.module.example_inputs(self.site, 64)[1].shape[1]
        given = scale * torch.randn(images, channels, height, width, generator=generator)
        with torch.no_grad():
            return self.layer(given), given


def adapted(part: Part, inputs: Sequence[Tensor]) -> Tensor:
    """The output, without gradients."""
    with torch.no_grad(), forward_pass():
        return part.module(*inputs)


def differentiated(part: Part, inputs: Sequence[Tensor]) -> Tensor:
    """The output, with gradients left in inputs and parameters if there are any."""
    with forward_pass():
        y = part.module(*inputs)
    if y.requires_grad:
        y.float().square().sum().backward()
    return y


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two results are equal but for the order of sums."""
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(b.abs().max())))


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference of two results."""
    return float((a - b).abs().max())
