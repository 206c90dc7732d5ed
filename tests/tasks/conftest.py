from __future__ import annotations

import pytest
import torch
from torch import nn


class TinyNet(nn.Module):
    """Two layers with an in-place activation between, one that returns a tuple, one that never runs; ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(4)
        self.pair = Doubling()
        self.unused = nn.Identity()
        self.head = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.act(self.first(x)))
        x, _ = self.pair(x)
        return self.head(x.mean((2, 3)))


class Doubling(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, int]:
        return 2 * x, 1


@pytest.fixture
def tiny_net() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
