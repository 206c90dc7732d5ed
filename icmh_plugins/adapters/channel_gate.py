"""A gate for every channel, computed from the means of all channels over the picture.

Paper: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018.
From there: squeeze by the mean, two fully connected layers with ReLU and a sigmoid, reduction 16.
Ours: the gate is twice the sigmoid and its last layer starts at zero, so that it starts at exactly one and attaching
changes nothing; biases; the places in a codec.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.sites import Site


class ChannelGateConfig(AdapterConfig):
    """Options of `ChannelGate`.

    Attributes:
        reduction: Channels of the map over those inside, C / m; at least one is kept.
    """

    reduction: int = Field(16, ge=1, le=4096)


class ChannelGate(Adapter):
    """x * 2 sigmoid(W_2 ReLU(W_1 mean(x))), gates in (0, 2).

    With m = max(1, floor(C / reduction)) channels inside: 2Cm + m + C parameters. The mean is over the whole map, so
    that the gates of a crop are not those of its picture.
    """

    Config = ChannelGateConfig
    paper = "Hu et al., Squeeze-and-Excitation Networks, CVPR 2018 (form); ours for codecs"

    def __init__(self, site: Site, config: ChannelGateConfig) -> None:
        super().__init__(site, config)
        middle = max(1, site.channels // config.reduction)
        self.squeeze = nn.Linear(site.channels, middle)
        self.excite = nn.Linear(middle, site.channels)
        for parameter in self.excite.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt a feature map (B, C, H, W); shape and dtype are kept."""
        gate = 2 * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
        return x * gate[..., None, None].to(x.dtype)
