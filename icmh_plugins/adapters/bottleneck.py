"""The plain bottleneck adapter: 1x1 down, ReLU, 1x1 up, added to its input.

After Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019, with 1x1 convolutions for the linear
layers and the up-projection at zero, so that attaching changes nothing. A baseline for SFMA.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.sites import Site


class BottleneckConfig(AdapterConfig):
    """Options of `Bottleneck`.

    Attributes:
        middle_dim: Channels of the bottleneck.
    """

    middle_dim: int = Field(64, ge=1, le=4096)


class Bottleneck(Adapter):
    """x + W_u ReLU(W_d x): 2Cn + n + C parameters."""

    Config = BottleneckConfig
    paper = "Houlsby et al., ICML 2019 (form); ours for codecs"

    def __init__(self, site: Site, config: BottleneckConfig) -> None:
        super().__init__(site, config)
        self.down = nn.Conv2d(site.channels, config.middle_dim, 1)
        self.up = nn.Conv2d(config.middle_dim, site.channels, 1)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt a feature map (B, C, H, W); shape and dtype are kept."""
        return x + self.up(torch.relu(self.down(x))).to(x.dtype)
