"""Sources whose condition is found at the encoder, on the uncompressed picture, and sent in the stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icmh_plugins.adapters.clip.conditioner import Embedding, classify, degradation_words
from icmh_plugins.adapters.coded_picture import message_for, send
from icmh_plugins.adapters.condition_sources import Clip, one_vector, signal_or_zeros
from icmh_plugins.data.degradations import CLEAN, WORDS
from icmh_plugins.errors import StreamError

HINTS: Final = (*WORDS, CLEAN)
"""What the byte of a hint stands for."""


class SideInfoTap(nn.Module):
    """v = tanh(W CLIP(x)), each of its k values rounded to one of 2^b levels; gradients pass the rounding unchanged."""

    def __init__(self, clip: Clip, dims: int, bits: int) -> None:
        super().__init__()
        self.clip, self.bits = clip, bits
        self.project = nn.Linear(2 * clip.width, dims)

    def forward(self, x: Tensor) -> None:
        """Look at the pictures (B, 3, H, W) that are being coded."""
        with torch.autocast(x.device.type, enabled=False):
            v = torch.tanh(self.project(torch.cat(self.clip.embed(x).scaled(), 1)))
        levels = ((v.detach() + 1) / 2 * (2**self.bits - 1)).round()
        rounded = v + (_values(levels, self.bits) - v).detach()
        send(self, rounded, pack_levels(levels[0].long().tolist(), self.bits))


class FromSideInfo(nn.Module):
    """Source "side-info": the embedding of the uncompressed picture, k b bits. The decoder needs no CLIP."""

    def __init__(self, dims: int, bits: int) -> None:
        super().__init__()
        self.width, self.bits = dims, bits

    def forward(self, x: Tensor) -> Embedding:
        """The values sent (B, k)."""
        message = message_for(self)
        if message is None:
            return one_vector(signal_or_zeros(x, self.width))
        levels = torch.tensor([unpack_levels(message, self.width, self.bits)], device=x.device)
        return one_vector(_values(levels.float(), self.bits))


class HintTap(nn.Module):
    """The degradation of the uncompressed picture, by CLIP: the word whose embedding is nearest; one byte."""

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, x: Tensor) -> None:
        """Look at the pictures (B, 3, H, W) that are being coded."""
        words, prototypes = degradation_words(self.clip.name, sha256=self.clip.sha256)
        nearest = classify(self.clip.embed(x).degradation, prototypes).argmax(1)
        hints = torch.tensor([HINTS.index(words[index]) for index in nearest.tolist()], device=x.device)
        send(self, F.one_hot(hints, len(HINTS)).float(), bytes([int(hints[0])]))


class FromHint(nn.Module):
    """Source "hint": the degradation class of the uncompressed picture, 8 bits. The decoder needs no CLIP."""

    width = len(HINTS)

    def forward(self, x: Tensor) -> Embedding:
        """The class as a vector with one 1, (B, 11)."""
        message = message_for(self)
        if message is None:
            return one_vector(signal_or_zeros(x, self.width))
        if len(message) != 1 or message[0] >= len(HINTS):
            raise StreamError(
                f"stream is damaged: its hint is {message[:4].hex()}, known are 00 to {len(HINTS) - 1:02x}"
            )
        return one_vector(F.one_hot(torch.tensor([message[0]], device=x.device), len(HINTS)).float())


def pack_levels(levels: Sequence[int], bits: int) -> bytes:
    """Numbers of `bits` bits each in a row, high bits first; the last byte is filled with zeros."""
    table = np.array(levels, dtype=np.uint16)[:, None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(table.astype(np.uint8)).tobytes()


def unpack_levels(message: bytes, count: int, bits: int) -> list[int]:
    """The `count` numbers that `pack_levels` packed.

    Raises:
        StreamError: The message has another length.
    """
    if len(message) != -(-count * bits // 8):
        raise StreamError(
            f"stream is damaged: its side information has {len(message)} bytes, not {count} values of {bits} bits"
        )
    table = np.unpackbits(np.frombuffer(message, np.uint8), count=count * bits).reshape(count, bits)
    return (table.astype(np.int64) << np.arange(bits - 1, -1, -1)).sum(1).tolist()


def _values(levels: Tensor, bits: int) -> Tensor:
    """Levels 0 to 2^b - 1 as values from -1 to 1."""
    return levels * 2 / (2**bits - 1) - 1
