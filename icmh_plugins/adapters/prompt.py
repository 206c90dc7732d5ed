"""From embeddings to the condition that steers a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.clip.conditioner import Embedding


class PromptMixer(nn.Module):
    """c = A (softmax(MLP(d)) * p) + B e, from a degradation embedding d and a content embedding e.

    The first term is DA-CLIP's: a learned prompt p, weighted by the degradation. DA-CLIP gives e to cross-attention
    with a single token, which adds the same vector at every pixel; here B e does that. Ours too: both embeddings are
    brought to a mean square of 1 first, since their norms differ between towers.
    """

    def __init__(self, width: int, condition: int) -> None:
        """Build it for embeddings of length `width` and conditions of length `condition`."""
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(width, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.prompt = nn.Parameter(torch.rand(1, condition))
        self.degradation = nn.Linear(condition, condition)
        self.content = nn.Linear(width, condition)

    def forward(self, embedding: Embedding) -> Tensor:
        """The condition (B, condition), float32 under any autocast."""
        with torch.autocast(embedding.content.device.type, enabled=False):
            content, degradation = (part.to(self.prompt.dtype) for part in embedding.scaled())
            prompt = torch.softmax(self.weigh(degradation), dim=1) * self.prompt
            return self.degradation(prompt) + self.content(content)
