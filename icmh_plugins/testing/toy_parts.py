"""What the toy codecs share: a mean-scale hyperprior around any pair of transforms, and lively seeded weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_TABLES = ("_quantized_cdf", "_offset", "_cdf_length", "scale_table")
_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_ENTROPY_GAIN = 3.5  # spreads the scales over the table; torch's default initialisation shrinks them to its floor


def down(inputs: int, outputs: int) -> nn.Conv2d:
    """A convolution that halves height and width."""
    return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)


def up(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)


class ToyCodec(nn.Module):
    """A working mean-scale hyperprior codec on plain `nn.Module`; subclasses supply the two transforms.

    Args:
        width: Channels of the hidden layers.
        latent: Channels of y.
    """

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        from compressai.entropy_models import EntropyBottleneck, GaussianConditional

        self.entropy_bottleneck = EntropyBottleneck(width)
        self.gaussian_conditional = GaussianConditional(None)
        self.add_hyper(width, latent)

    def add_hyper(self, width: int, latent: int) -> None:
        """Make the layers of the hyper transforms."""
        self.h_a = nn.Sequential(down(latent, width), nn.LeakyReLU(), down(width, width))
        self.h_s = nn.Sequential(up(width, width), nn.LeakyReLU(), up(width, 2 * latent))

    def to_latent(self, x: Tensor) -> Tensor:
        """Image (B, 3, H, W) to y (B, M, H/16, W/16)."""
        raise NotImplementedError

    def to_image(self, y_hat: Tensor) -> Tensor:
        """Latent y_hat (B, M, H/16, W/16) to image (B, 3, H, W)."""
        raise NotImplementedError

    def to_hyper(self, y: Tensor) -> Tensor:
        """Latent y to z (B, N, H/64, W/64)."""
        return self.h_a(y)

    def gaussian(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and means of y, each (B, M, H/16, W/16)."""
        scales, means = self.h_s(z_hat).chunk(2, 1)
        return scales, means

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Reconstruct images (B, 3, H, W): a dict of ``x_hat`` and ``likelihoods``."""
        y = self.to_latent(x)
        z_hat, z_likelihoods = self.entropy_bottleneck(self.to_hyper(y))
        scales, means = self.gaussian(z_hat)
        y_hat, y_likelihoods = self.gaussian_conditional(y, scales, means=means)
        return {"x_hat": self.to_image(y_hat), "likelihoods": {"y": y_likelihoods, "z": z_likelihoods}}

    def compress(self, x: Tensor) -> dict[str, Any]:
        """Code images (B, 3, H, W) into one y string and one z string each."""
        y = self.to_latent(x)
        z = self.to_hyper(y)
        z_strings = self.entropy_bottleneck.compress(z)
        scales, means = self.gaussian(self.entropy_bottleneck.decompress(z_strings, z.shape[-2:]))
        indexes = self.gaussian_conditional.build_indexes(scales)
        return {
            "strings": [self.gaussian_conditional.compress(y, indexes, means=means), z_strings],
            "shape": z.shape[-2:],
        }

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """The images of `compress`'s strings, clamped to [0, 1]."""
        scales, means = self.gaussian(self.entropy_bottleneck.decompress(strings[1], shape))
        indexes = self.gaussian_conditional.build_indexes(scales)
        y_hat = self.gaussian_conditional.decompress(strings[0], indexes, means=means)
        return {"x_hat": self.to_image(y_hat).clamp(0, 1)}

    def update(self, scale_table: Tensor | None = None, force: bool = False) -> bool:
        """Fill the tables of the entropy models; True if any changed."""
        from compressai.models.base import get_scale_table

        table = get_scale_table() if scale_table is None else scale_table
        updated = self.gaussian_conditional.update_scale_table(table, force=force)
        return self.entropy_bottleneck.update(force=force) or updated

    def aux_loss(self) -> Tensor:
        """Loss of the bottleneck's quantiles."""
        return self.entropy_bottleneck.loss()

    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool = True) -> Any:
        """Load, after giving the table buffers the sizes of the incoming ones."""
        for path in ("entropy_bottleneck", "gaussian_conditional"):
            for table in _TABLES:
                if f"{path}.{table}" in state_dict:
                    getattr(self, path).register_buffer(table, torch.empty_like(state_dict[f"{path}.{table}"]))
        return super().load_state_dict(state_dict, strict=strict)


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Build under `seed` without disturbing the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


@torch.no_grad()
def enliven(
    model: nn.Module,
    analysis: Iterable[nn.Module],
    synthesis: Iterable[nn.Module],
    to_latent: Callable[[Tensor], Tensor],
    to_image: Callable[[Tensor], Tensor],
) -> nn.Module:
    """Scale random weights until latents, entropy parameters and images are lively; fill the tables; eval mode."""
    model.eval()
    picture = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    _grow(_weights(analysis), lambda: to_latent(picture), 2.0)
    latent = to_latent(picture).round()
    _grow(_weights(synthesis), lambda: to_image(latent), 0.2)
    transforms = {id(weight) for weight in _weights([*analysis, *synthesis])}
    for weight in _weights([model], (nn.Conv2d, nn.ConvTranspose2d)):
        if id(weight) not in transforms:
            weight.mul_(_ENTROPY_GAIN)
    model.update(force=True)
    return model


def _weights(modules: Iterable[nn.Module], kinds: tuple[type, ...] = _LAYERS) -> list[Tensor]:
    return [part.weight for module in modules for part in module.modules() if isinstance(part, kinds)]


def _grow(weights: list[Tensor], output: Callable[[], Tensor], deviation: float) -> None:
    while output().std() < deviation:
        for weight in weights:
            weight.mul_(1.2)
