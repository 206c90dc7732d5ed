"""The adapter: its options, and one small module per site."""

from __future__ import annotations

import torch
from pydantic import Field

import icmh_plugins as icmh


class GateConfig(icmh.AdapterConfig):
    """Options of `Gate`. Adapter files carry them; unknown ones are refused.

    Attributes:
        limit: Largest relative change of a channel.
    """

    limit: float = Field(1.0, gt=0)


class Gate(icmh.Adapter):
    """A bounded gain per channel, x (1 + limit tanh(w)). It starts at w = 0 and then returns its input bit for bit."""

    Config = GateConfig
    sides = ("analysis", "synthesis")
    strides = (2, 4, 8)
    paper = "None; an example to start from"

    def __init__(self, site: icmh.Site, config: GateConfig) -> None:
        super().__init__(site, config)
        self.limit = config.limit
        self.weight = torch.nn.Parameter(torch.zeros(site.channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the channels of a feature map (B, C, H, W)."""
        return (x * (1 + self.limit * self.weight.tanh())).to(x.dtype)
