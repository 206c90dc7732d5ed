"""Where a condition may come from, what each source needs, what it costs, and those that cost no bits.

A condition changes pixels after decoding, nothing else: no source sits on the hyperprior, context models or tables,
whose floating-point results encoder and decoder must share exactly. CLIP's they do not share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.clip.conditioner import Embedding, load_conditioner
from icmh_plugins.adapters.clip.preprocess import Resize
from icmh_plugins.adapters.coded_picture import send, take_signal, without_padding
from icmh_plugins.codecs.sites import Side
from icmh_plugins.errors import AdapterError

SourceName: TypeAlias = Literal["x_hat", "latent", "side-info", "hint", "none"]


@dataclass(frozen=True)
class Source:
    """A place that conditions come from.

    Attributes:
        encoder_needs: What it takes at the encoder, beside the codec.
        decoder_needs: What it takes at the decoder.
        tap: Site, beside the decoded image, where something is read: "picture" (what goes into the encoder), "latent"
            (what goes into the decoder), or "" for none.
    """

    encoder_needs: tuple[str, ...] = ()
    decoder_needs: tuple[str, ...] = ()
    tap: Literal["picture", "latent", ""] = ""

    @property
    def side(self) -> Side | None:
        """Side of the site that is read."""
        return {"picture": "analysis", "latent": "synthesis"}.get(self.tap)

    @property
    def uses_clip(self) -> bool:
        """Whether CLIP runs anywhere."""
        return "CLIP" in (*self.encoder_needs, *self.decoder_needs)


SOURCES: Final[dict[SourceName, Source]] = {
    "x_hat": Source(decoder_needs=("x_hat", "CLIP")),
    "latent": Source(decoder_needs=("y_hat",), tap="latent"),
    "side-info": Source(encoder_needs=("x", "CLIP"), decoder_needs=("message",), tap="picture"),
    "hint": Source(encoder_needs=("x", "CLIP"), decoder_needs=("message",), tap="picture"),
    "none": Source(),
}


@dataclass(frozen=True)
class Clip:
    """The CLIP weights of an adapter.

    Attributes:
        name: As `load_conditioner` takes it.
        sha256: Their digest.
        width: Length of their embeddings.
        resize: How pictures are brought to the tower's size.
        detach: Whether gradients stop at CLIP.
    """

    name: str
    sha256: str
    width: int
    resize: Resize | None = None
    detach: bool = True

    def embed(self, x: Tensor) -> Embedding:
        """Embeddings of pictures (B, 3, H, W), padding left out."""
        conditioner = load_conditioner(self.name, sha256=self.sha256, resize=self.resize, device=x.device)
        return conditioner(without_padding(x), self.detach)


class FromDecoded(nn.Module):
    """Source "x_hat", the paper's: CLIP looks at the decoded picture. No bits."""

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip, self.width = clip, clip.width

    def forward(self, x: Tensor) -> Embedding:
        """Embed decoded pictures (B, 3, H, W)."""
        return self.clip.embed(x)


class LatentTap(nn.Module):
    """Sends e = P(mean and spread of y_hat over the picture), from where y_hat enters the decoder."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.predict = nn.Sequential(nn.Linear(2 * channels, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, y: Tensor) -> None:
        """Look at latents (B, C, h, w)."""
        with torch.autocast(y.device.type, enabled=False):
            y = y.float().flatten(2)
            send(self, self.predict(torch.cat([y.mean(2), y.std(2, correction=0)], 1)))


class FromLatent(nn.Module):
    """Source "latent": what `LatentTap` saw in the same decoding. No bits, and no CLIP at all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Embedding:
        """The embedding of the latents of `x`, (B, width)."""
        return one_vector(signal_or_zeros(x, self.width))


class FromNothing(nn.Module):
    """Source "none": zero for every picture, so that the condition is one learned vector. For ablations."""

    width = 1

    def forward(self, x: Tensor) -> Embedding:
        """Zeros (B, 1)."""
        return one_vector(torch.zeros(len(x), 1, device=x.device))


def one_vector(e: Tensor) -> Embedding:
    """An embedding whose content and degradation are the same."""
    return Embedding(e, e)


def signal_or_zeros(x: Tensor, width: int) -> Tensor:
    """What was sent in this forward pass (B, width); zeros where a module is run on its own, as for counting MACs.

    Raises:
        AdapterError: Something of another shape was sent.
    """
    signal = take_signal()
    if signal is None:
        return torch.zeros(len(x), width, device=x.device)
    if signal.shape != (len(x), width):
        raise AdapterError(
            f"a condition of shape {tuple(signal.shape)} came for {len(x)} pictures and length {width}: it is that of "
            "another adapter or batch. Remedy: set_adapter(model, ...) with one adapter that needs a condition, and "
            "whole batches"
        )
    return signal
