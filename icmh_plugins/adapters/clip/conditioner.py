"""The conditioner: a frozen CLIP tower that turns pictures of any size into embeddings."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.clip.open_clip import build_tower, own_words, word_embeddings
from icmh_plugins.adapters.clip.preprocess import Preprocess, Resize
from icmh_plugins.adapters.clip.spec import ClipWeights, find_clip
from icmh_plugins.data.degradations import CLEAN, WORDS


class Embedding(NamedTuple):
    """What is known of pictures: `content` (B, d) and `degradation` (B, d); without DA-CLIP one vector twice."""

    content: Tensor
    degradation: Tensor

    def scaled(self) -> Embedding:
        """Both brought to a mean square of 1, since their norms differ between towers."""
        return Embedding(*(nn.functional.normalize(e, dim=-1) * e.shape[-1] ** 0.5 for e in self))


class ClipConditioner(nn.Module):
    """A CLIP image tower, frozen for good: without gradients, in eval mode whatever `train` is called with.

    Args:
        tower: Maps preprocessed pictures (B, 3, S, S) to embeddings (B, d), or to content and degradation.
        preprocess: What the tower needs done before.

    Attributes:
        width: d.
    """

    def __init__(self, tower: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.tower = tower.eval().requires_grad_(False)
        self.preprocess = preprocess
        self.width = self(torch.zeros(1, 3, *preprocess.size)).content.shape[-1]

    def forward(self, x: Tensor, detach: bool = True) -> Embedding:
        """Embed pictures.

        Args:
            x: (B, 3, H, W) of any size from 1x1; values outside [0, 1] are clipped.
            detach: Run without gradients; off, they reach `x` through the tower.

        Returns:
            Float32 embeddings (B, d) as the tower gives them, not normalised; in float32 under any autocast.
        """
        with (
            torch.autocast(x.device.type, enabled=False),
            torch.set_grad_enabled(torch.is_grad_enabled() and not detach),
        ):
            out = self.tower(self.preprocess(x))
        return Embedding(*out) if isinstance(out, tuple) else Embedding(out, out)

    def train(self, mode: bool = True) -> ClipConditioner:
        """Stays in eval mode."""
        return super().train(False)


def load_conditioner(
    clip: str, *, sha256: str = "", resize: Resize | None = None, device: torch.device | str = "cpu"
) -> ClipConditioner:
    """Build a conditioner from weights on this machine; equal calls share one.

    Args:
        clip: ``"tiny"``, ``"local-dir:FOLDER"``, ``"open_clip:MODEL@FILE"`` or ``"daclip:FILE"``.
        sha256: Digest that the weights must have; "" takes any.
        resize: How pictures are brought to the tower's size; None takes the tower's own way.
        device: Where it runs.

    Raises:
        ConfigError: The weights are missing, others than expected (the message has both digests), or do not fit.
        MissingDependencyError: open_clip is not installed.
    """
    return _build(find_clip(clip, sha256), resize, torch.device(device))


def degradation_words(clip: str, *, sha256: str = "") -> tuple[tuple[str, ...], Tensor]:
    """The words that a tower tells apart: DA-CLIP's ten (and "clean" where it knows that), and their embeddings (W, d).

    Raises:
        ConfigError: As `load_conditioner`, or a tower with words of its own lacks some of the ten.
    """
    return _words(find_clip(clip, sha256))


def classify(degradation: Tensor, prototypes: Tensor) -> Tensor:
    """Logits (B, W) of embeddings (B, d) against `prototypes` of unit length (W, d): 100 times the cosine."""
    return 100 * nn.functional.normalize(degradation, dim=-1) @ prototypes.to(degradation).T


@cache
def _build(weights: ClipWeights, resize: Resize | None, device: torch.device) -> ClipConditioner:
    with torch.random.fork_rng(devices=[]):  # building draws initial weights; training must not notice
        tower, config = build_tower(weights)
    preprocess = Preprocess.of(config)
    return ClipConditioner(tower, replace(preprocess, resize=resize) if resize else preprocess).to(device)


@cache
def _words(weights: ClipWeights) -> tuple[tuple[str, ...], Tensor]:
    words = (*WORDS, CLEAN) if CLEAN in own_words(weights) else WORDS
    with torch.random.fork_rng(devices=[]):
        return words, word_embeddings(weights, words)
