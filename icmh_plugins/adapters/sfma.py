"""SFMA, the spatial-frequency modulation adapter of Adapt-ICMH.

Paper: Li, Li, Ding, Dai, Cao, Li, Zou, Xiong: "Image Compression for Machine and Human Vision with Spatial-Frequency
Adaptation", ECCV 2024, arXiv 2407.09853.

From the official code: the equations below, layer names and shapes (official tensors load unchanged), the placement
after three stages of strides 2, 4, 8 on each side, ``fft_norm="backward"``, PyTorch's default initialisation
(``init="paper"``).
From the paper: the six variants (Fig. 5). How residuals run in the sequential ones is unknown; ours: one per branch.
Ours: the zero-initialised up-projections (``init="identity"``), so that attaching changes nothing; multiplying the
spectrum by its gate directly (equal to the published amplitude/phase form, since the gate is real and positive);
the frequency branch in float32 under any autocast.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.adapters.kernels import depthwise, fan, memory_format_of, pointwise, relayout, rfft2
from icmh_plugins.codecs.sites import Site

Variant = Literal["parallel", "sma", "fma", "fma_sma", "sma_fma", "sma_sma"]


class SFMAConfig(AdapterConfig):
    """Options of `SFMA`.

    Attributes:
        middle_dim: Channels n of the bottleneck (published: 64; ablated 32, 64, 128).
        adapt_factor: Scale s of the residual (published: 1).
        variant: "parallel" is the published module; "sma", "fma" one branch; "fma_sma", "sma_fma" in sequence;
            "sma_sma" two spatial branches in parallel.
        init: "identity" zeroes the up-projections; "paper" keeps PyTorch's default, which changes the codec at once.
        fft_norm: "backward" (published) leaves amplitudes growing with the feature size; "ortho" removes that.
    """

    middle_dim: int = Field(64, ge=1, le=4096)
    adapt_factor: float = 1.0
    variant: Variant = "parallel"
    init: Literal["identity", "paper"] = "identity"
    fft_norm: Literal["backward", "ortho"] = "backward"


class SFMA(Adapter):
    """x + s (S(x) + F(x)) with a spatial branch S and a frequency branch F, each C -> n -> C.

    S = W_su ReLU(DW5x5(W_s1 x) * (W_s2 x));  F = W_fu ReLU(irFFT(G * Y)),  Y = rFFT(W_fd x),
    G = sigmoid(W_fi ReLU(DW3x3(|Y|))) in (0, 1).  All W are 1x1 convolutions with bias.

    Parameters of one "parallel" adapter: n^2 + 5Cn + 40n + 2C.
    """

    Config = SFMAConfig
    needs_fp32 = True
    paper = "Adapt-ICMH, ECCV 2024, arXiv 2407.09853"

    def __init__(self, site: Site, config: SFMAConfig) -> None:
        super().__init__(site, config)
        self.factor, self.fft_norm = config.adapt_factor, config.fft_norm
        self.branches = _BRANCHES[config.variant]
        sequential = config.variant in ("fma_sma", "sma_fma")
        self.stages = tuple((prefix,) for prefix in self.branches) if sequential else (self.branches,)
        for prefix in self.branches:
            layers = _frequency_layers if prefix == "f" else _spatial_layers
            for name, layer in layers(site.channels, config.middle_dim).items():
                self.add_module(f"{prefix}_{name}", layer)
            if config.init == "identity":
                _zero(self.get_submodule(f"{prefix}_up"))

    def forward(self, x: Tensor) -> Tensor:
        """Modulate a feature map (B, C, H, W) of any size; shape, dtype and memory format are kept."""
        y = x if torch.is_autocast_enabled(x.device.type) else x.to(next(self.parameters()).dtype)
        for stage in self.stages:
            y = torch.add(y, self._change(stage, y), alpha=self.factor)
        return y.to(x.dtype)

    def _change(self, stage: tuple[str, ...], x: Tensor) -> Tensor:
        """The sum of some branches. Down-projections run as one; an up-projection of middle maps side by side sums."""
        layers = [self.get_submodule(name) for prefix in stage for name in _DOWNS[prefix]]
        downs = iter(fan(relayout(x, torch.channels_last), layers))
        middle = [
            self._frequency(next(downs)) if p == "f" else self._spatial(p, next(downs), next(downs)) for p in stage
        ]
        ups = [self.get_submodule(f"{prefix}_up") for prefix in stage]
        weight, bias = torch.cat([up.weight for up in ups], 1), torch.stack([up.bias for up in ups]).sum(0)
        change = pointwise(torch.cat(middle, 1).relu_(), weight, bias)
        return relayout(change, memory_format_of(x))

    def _spatial(self, prefix: str, filtered: Tensor, gate: Tensor) -> Tensor:
        dw = self.get_submodule(f"{prefix}_dw")
        return depthwise(filtered, dw.weight, dw.bias) * gate

    def _frequency(self, h: Tensor) -> Tensor:
        planes, last = torch.contiguous_format, torch.channels_last
        with torch.autocast(h.device.type, enabled=False):
            spectrum = rfft2(relayout(h.to(self.f_dw.weight.dtype), planes), self.fft_norm)
            gate = torch.relu(self.f_dw(relayout(spectrum.abs(), last)))
            gate = torch.sigmoid(relayout(pointwise(gate, self.f_inter.weight, self.f_inter.bias), planes))
            return relayout(torch.fft.irfft2(gate * spectrum, s=h.shape[-2:], norm=self.fft_norm), last)


_DOWNS = {"s": ("s_down1", "s_down2"), "s2": ("s2_down1", "s2_down2"), "f": ("f_down",)}

_BRANCHES: dict[str, tuple[str, ...]] = {
    "parallel": ("s", "f"),
    "sma": ("s",),
    "fma": ("f",),
    "fma_sma": ("f", "s"),
    "sma_fma": ("s", "f"),
    "sma_sma": ("s", "s2"),
}


def _spatial_layers(channels: int, middle: int) -> dict[str, nn.Module]:
    return {
        "down1": nn.Conv2d(channels, middle, 1),
        "down2": nn.Conv2d(channels, middle, 1),
        "dw": nn.Conv2d(middle, middle, 5, padding=2, groups=middle),
        "up": nn.Conv2d(middle, channels, 1),
    }


def _frequency_layers(channels: int, middle: int) -> dict[str, nn.Module]:
    return {
        "down": nn.Conv2d(channels, middle, 1),
        "dw": nn.Conv2d(middle, middle, 3, padding=1, groups=middle),
        "inter": nn.Conv2d(middle, middle, 1),
        "up": nn.Conv2d(middle, channels, 1),
    }


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
