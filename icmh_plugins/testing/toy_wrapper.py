"""An MLIC++-shaped toy: transforms are custom modules around a Sequential, likelihoods have long keys."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from icmh_plugins.testing.toy_parts import ToyCodec, down, up


class Analysis(nn.Module):
    """Four down-sampling convolutions in `analysis_transform`."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.analysis_transform = nn.Sequential(
            down(3, width), nn.GELU(), down(width, width), nn.GELU(), down(width, width), nn.GELU(), down(width, latent)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Image to y."""
        return self.analysis_transform(x)


class Synthesis(nn.Module):
    """Four up-sampling convolutions in `synthesis_transform`."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.synthesis_transform = nn.Sequential(
            up(latent, width), nn.GELU(), up(width, width), nn.GELU(), up(width, width), nn.GELU(), up(width, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """y_hat to image."""
        return self.synthesis_transform(x)


class WrapperCodec(ToyCodec):
    """`g_a.analysis_transform`, `g_s.synthesis_transform`, keys ``y_likelihoods`` and ``z_likelihoods``."""

    def __init__(self, width: int = 12, latent: int = 16) -> None:
        super().__init__(width, latent)
        self.g_a = Analysis(width, latent)
        self.g_s = Synthesis(width, latent)

    def to_latent(self, x: Tensor) -> Tensor:
        """Image to y."""
        return self.g_a(x)

    def to_image(self, y_hat: Tensor) -> Tensor:
        """y_hat to image."""
        return self.g_s(y_hat)

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Reconstruct images (B, 3, H, W); the keys of ``likelihoods`` are the long ones."""
        out = super().forward(x)
        out["likelihoods"] = {f"{key}_likelihoods": value for key, value in out["likelihoods"].items()}
        return out
