"""Scale and shift of every channel: the smallest adapter.

Paper: Lian et al., "Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning", NeurIPS 2022, for
vision transformers.
From there: the equation.
Ours: the places in a codec, and the start at exactly one and zero, so that attaching changes nothing. It is not merged
into weights, since the stages of codecs mostly end in a normalisation or an activation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.sites import Site


class Scale(Adapter):
    """gamma * x + beta, one of each per channel: 2C parameters."""

    paper = "Lian et al., Scaling & Shifting Your Features, NeurIPS 2022 (form); ours for codecs"

    def __init__(self, site: Site, config: AdapterConfig) -> None:
        super().__init__(site, config)
        self.gamma = nn.Parameter(torch.ones(site.channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(site.channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Adapt a feature map (B, C, H, W); shape and dtype are kept."""
        return (self.gamma * x + self.beta).to(x.dtype)
