"""The fixed restoration networks of the measuring data, rebuilt from its README; the weights stay there.

Each is a module (B, 3, H, W) -> (B, 3, H, W) on [0, 1], for ``create_task("restoration", network=...)``.
"""

from __future__ import annotations

import itertools

import torch
from measuring import data_folder
from torch import Tensor, nn
from torch.nn import functional as F

from icmh_plugins.tasks.checkpoints import load_weights


def restorer(word: str) -> nn.Module:
    """The network for a degradation, with its weights, in eval mode.

    FFDNet (Zhang et al., 2018) for "noisy", PReNet (Ren et al., 2019) for "rainy", IAT (Cui et al., 2022) for
    "low-light"; each was trained for uncompressed pictures.
    """
    network, file = {
        "noisy": (FFDNet(25 / 255), "ffdnet_color.pth"),
        "rainy": (PReNet(), "prenet_rain100h.pth"),
        "low-light": (IAT(), "iat_lol_v1.pth"),
    }[word]
    load_weights(network, data_folder() / "weights" / "restore" / file)
    return network.eval().requires_grad_(False)


def _chain(channels: list[int]) -> nn.Sequential:
    """3x3 convolutions with a ReLU between each two."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class FFDNet(nn.Module):
    """Colour denoiser that is told the noise level."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.model, self.sigma = _chain([13, *[96] * 11, 12]), sigma

    def forward(self, y: Tensor) -> Tensor:
        """Denoise images (B, 3, H, W)."""
        height, width = y.shape[-2:]
        small = F.pixel_unshuffle(F.pad(y, (0, width % 2, 0, height % 2), mode="replicate"), 2)
        level = torch.full_like(small[:, :1], self.sigma)
        return F.pixel_shuffle(self.model(torch.cat([small, level], 1)), 2)[..., :height, :width]


class PReNet(nn.Module):
    """Rain removal in six recurrent steps with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(nn.Conv2d(6, 32, 3, padding=1), nn.ReLU())
        for name in ("conv_i", "conv_f", "conv_o", "conv_g"):
            setattr(self, name, nn.Sequential(nn.Conv2d(64, 32, 3, padding=1)))
        for index in range(1, 6):
            setattr(self, f"res_conv{index}", nn.Sequential(*_chain([32, 32, 32]), nn.ReLU()))
        self.conv = nn.Sequential(nn.Conv2d(32, 3, 3, padding=1))

    def forward(self, y: Tensor) -> Tensor:
        """Derain images (B, 3, H, W)."""
        x, h = y, y.new_zeros(len(y), 32, *y.shape[-2:])
        c = h
        for _ in range(6):
            u = torch.cat([self.conv0(torch.cat([y, x], 1)), h], 1)
            i, f, o = (torch.sigmoid(gate(u)) for gate in (self.conv_i, self.conv_f, self.conv_o))
            c = f * c + i * torch.tanh(self.conv_g(u))
            h = r = o * torch.tanh(c)
            for index in range(1, 6):
                r = F.relu(r + getattr(self, f"res_conv{index}")(r))
            x = y + self.conv(r)
        return x


class IAT(nn.Module):
    """Low-light enhancement: a local branch for gains and offsets, a global one for colours and gamma."""

    def __init__(self) -> None:
        super().__init__()
        self.local_net, self.global_net = _Local(), _Global()

    def forward(self, x: Tensor) -> Tensor:
        """Light up images (B, 3, H, W)."""
        y = self.local_net(x)
        gamma, colours = self.global_net(x)
        mixed = torch.einsum("bij,bjhw->bihw", colours, y)
        return mixed.clamp(1e-8, 1) ** gamma.view(-1, 1, 1, 1)


class _Local(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.mul_blocks, self.add_blocks = (nn.Sequential(*(_Block() for _ in range(3))) for _ in range(2))
        self.mul_end = nn.Sequential(nn.Conv2d(16, 3, 3, padding=1), nn.ReLU())
        self.add_end = nn.Sequential(nn.Conv2d(16, 3, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        f = F.leaky_relu(self.conv1(x), 0.2)
        return x * self.mul_end(self.mul_blocks(f) + f) + self.add_end(self.add_blocks(f) + f)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.norm1, self.norm2 = _ColourNorm(), _ColourNorm()
        self.conv1, self.conv2 = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)
        self.attn = nn.Conv2d(16, 16, 5, padding=2, groups=16)
        self.mlp = _Mlp(nn.Conv2d(16, 64, 1), nn.Conv2d(64, 16, 1))
        self.gamma_1, self.gamma_2 = (nn.Parameter(torch.ones(1, 16, 1, 1)) for _ in range(2))

    def forward(self, v: Tensor) -> Tensor:
        v = v + self.pos_embed(v)
        v = v + self.gamma_1 * self.conv2(self.attn(self.conv1(self.norm1(v))))
        return v + self.gamma_2 * self.mlp(self.norm2(v))


class _ColourNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.ones(1, 1, 16)), nn.Parameter(torch.zeros(1, 1, 16))
        self.color = nn.Parameter(torch.eye(16))

    def forward(self, v: Tensor) -> Tensor:
        alpha, beta = (each.reshape(1, -1, 1, 1) for each in (self.alpha, self.beta))
        return torch.einsum("ij,bjhw->bihw", self.color, v) * alpha + beta


class _Mlp(nn.Module):
    def __init__(self, fc1: nn.Module, fc2: nn.Module) -> None:
        super().__init__()
        self.fc1, self.fc2 = fc1, fc2

    def forward(self, v: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(v)))


class _Global(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_large = nn.Module()
        self.conv_large.proj = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.GELU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64),
        )  # fmt: skip
        self.generator = _Generator()
        self.gamma_base, self.color_base = nn.Parameter(torch.ones(1)), nn.Parameter(torch.eye(3))
        self.gamma_linear, self.color_linear = nn.Linear(64, 1), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        t = self.generator(self.conv_large.proj(x))
        gamma = self.gamma_linear(t[:, 0]) + self.gamma_base
        return gamma, self.color_linear(t[:, 1:]).view(-1, 3, 3) + self.color_base


class _Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Conv2d(64, 64, 3, padding=1, groups=64)
        self.norm1, self.norm2 = nn.LayerNorm(64), nn.LayerNorm(64)
        self.attn, self.mlp = _Attention(), _Mlp(nn.Linear(64, 256), nn.Linear(256, 64))

    def forward(self, t: Tensor) -> Tensor:
        t = (t + self.pos_embed(t)).flatten(2).transpose(1, 2)
        t = self.attn(self.norm1(t))
        return t + self.mlp(self.norm2(t))


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.zeros(1, 10, 64))
        self.k, self.v = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
        self.proj = nn.Linear(64, 64)

    def forward(self, n: Tensor) -> Tensor:
        q, k, v = (
            each.unflatten(-1, (4, 16)).transpose(1, 2)
            for each in (self.q.expand(len(n), -1, -1), self.k(n), self.v(n))
        )
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
