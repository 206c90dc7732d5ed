"""JPEG and WebP behind the interface of a learned codec, so that adapters can post-process what they decode.

The coded strings are whole files as Pillow writes them, so that rates are those of real files.
"""

from __future__ import annotations

import io
from typing import Any, ClassVar, Final

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn

from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.errors import CodecError, ConfigError, StreamError


class PillowCodec(nn.Module):
    """A picture format of Pillow as a codec; 8 bits a channel, any image size, nothing to train but adapters.

    Its quality is a buffer, so that no optimiser changes it; `g_s` passes the decoded picture on, and is where
    adapters of it sit.

    Class attributes:
        writes_files: See `writes_files`.
        format: Pillow's name of the format.
        largest: Longest side that the format holds, pixels.
        options: Further options of Pillow's ``save``.
    """

    writes_files: ClassVar[bool] = True
    format: ClassVar[str]
    largest: ClassVar[int]
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, quality: int) -> None:
        """Set the quality, 1 (smallest files) to 100.

        Raises:
            ConfigError: It is out of range.
        """
        super().__init__()
        if not 1 <= quality <= 100:
            raise ConfigError(f"the quality of {self.format} is 1 to 100, got {quality}")
        self.register_buffer("quality", torch.tensor(float(quality)))
        name = torch.tensor(list(self.format.encode()), dtype=torch.uint8)
        self.register_buffer("format_name", name)  # so that fingerprints of formats differ
        self.g_s = nn.Identity()

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Code and decode images (B, 3, H, W) in [0, 1]; no gradient passes.

        Returns:
            "x_hat" (B, 3, H, W), and as "likelihoods" one half for every bit of the files.
        """
        files = [self._write(picture) for picture in x]
        bits = 8 * sum(map(len, files))
        likelihoods = {"file": torch.full((bits,), 0.5, device=x.device)}
        return {"x_hat": self.g_s(self._read_all(files, tuple(x.shape[-2:]))), "likelihoods": likelihoods}

    def compress(self, x: Tensor) -> dict[str, Any]:
        """The files of images (B, 3, H, W) in [0, 1]."""
        return {"strings": [[self._write(picture) for picture in x]], "shape": x.shape[-2:]}

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """The images (B, 3, H, W) of `compress`'s files, in [0, 1].

        Raises:
            StreamError: A file is damaged, or of another format or size.
        """
        return {"x_hat": self.g_s(self._read_all(strings[0], tuple(shape))).clamp(0, 1)}

    def _write(self, picture: Tensor) -> bytes:
        if max(picture.shape[-2:]) > self.largest:
            raise CodecError(f"{self.format} holds up to {self.largest} pixels a side, got {tuple(picture.shape[-2:])}")
        pixels = picture.detach().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, self.format, quality=round(float(self.quality)), **self.options)
        return file.getvalue()

    def _read_all(self, files: list[bytes], size: tuple[int, int]) -> Tensor:
        pixels = torch.stack([self._read(file, size) for file in files])
        return pixels.to(self.quality.device).permute(0, 3, 1, 2).float().div(255)

    def _read(self, file: bytes, size: tuple[int, int]) -> Tensor:
        try:
            with Image.open(io.BytesIO(file), formats=[self.format]) as image:
                if image.size != size[::-1]:  # before anything is allocated for it
                    raise StreamError(f"stream is damaged: it holds a picture of {image.size[::-1]}, not {size}")
                return torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8).view(*size, 3)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            if isinstance(error, StreamError):
                raise
            raise StreamError(f"stream is damaged: its {self.format} file cannot be read ({error})") from None


class JPEG(PillowCodec):
    """Baseline JPEG with Huffman tables of its own and 4:2:0 chroma, Pillow's default."""

    format = "JPEG"
    largest = 65_500
    options: ClassVar = {"optimize": True}


class WebP(PillowCodec):
    """Lossy WebP."""

    format = "WEBP"
    largest = 16_383


CLASSICAL: Final[dict[str, type[PillowCodec]]] = {"jpeg": JPEG, "webp": WebP}
"""Classical codecs by the name that `load_codec` takes: ``"jpeg:30"``."""


def writes_files(model: nn.Module) -> bool:
    """Whether the codec says that its strings are whole files: it has no coding tables and needs no padding."""
    return bool(getattr(model, "writes_files", False))


def profile(model: nn.Module) -> CodecProfile:
    """The one place where adapters can sit: the decoded picture."""
    image = Site("g_s", "reconstruction", channels=3, stride=1, module_class="Identity")
    return CodecProfile(type(model).__name__, (image,), latent_stride=1, entropy_modules=(), source="declared")
