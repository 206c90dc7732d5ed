"""Everything that needs open_clip: building CLIP models from local files, and the words they know."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icmh_plugins._deps import require
from icmh_plugins.adapters.clip.daclip import DAClip, DAClipState, read_daclip
from icmh_plugins.adapters.clip.spec import CONFIG, ClipWeights
from icmh_plugins.codecs.checkpoints import UNREADABLE, reason
from icmh_plugins.errors import ConfigError, suggest

_FEATURE = "a CLIP condition of the ll-icm adapter"
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
_LOGGER = logging.getLogger(__name__)


def build_tower(weights: ClipWeights) -> tuple[nn.Module, dict[str, Any]]:
    """The image tower alone, and its ``preprocess_cfg``.

    Raises:
        MissingDependencyError: open_clip is not installed.
        ConfigError: The weights do not fit the architecture.
    """
    if weights.kind != "daclip":
        visual = _whole_clip(weights).visual
        return visual, visual.preprocess_cfg
    state = read_daclip(weights.path)
    daclip = DAClip(_clip_of(state, weights).visual)
    with _fitting(weights):
        state.fill(daclip)
    return daclip, _openai_preprocessing(daclip.visual.image_size)


@torch.no_grad()
def word_embeddings(weights: ClipWeights, words: Sequence[str]) -> Tensor:
    """The text tower's embeddings of `words` (W, d), of unit length.

    The configuration of a tower in a folder may list the tower's own "words": token i then stands for word i, and the
    number of words for the end. Other towers get the words through their tokenizer.

    Raises:
        ConfigError: The tower lists its words, and one of `words` is not among them; or it has too few tokens.
    """
    own = own_words(weights)
    unknown = [word for word in words if own and word not in own]
    if unknown:
        raise ConfigError(f"the tower {weights.name!r} does not know {unknown[0]!r}.{suggest(unknown[0], own)}")
    tokens = torch.tensor([[own.index(word), len(own)] for word in words]) if own else _tokenizer(weights)(list(words))
    clip = _whole_clip(weights).eval()
    with _fitting(weights):
        return F.normalize(clip.encode_text(tokens).float(), dim=-1)


def own_words(weights: ClipWeights) -> tuple[str, ...]:
    """The words that a tower was trained on, where its configuration lists them.

    Raises:
        ConfigError: The configuration is damaged.
    """
    return tuple(_configuration(weights).get("words", ())) if weights.kind in ("tiny", "local-dir") else ()


def _configuration(weights: ClipWeights) -> dict[str, Any]:
    """The configuration in the folder of a tower."""
    try:
        found = json.loads((weights.path / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{CONFIG} of CLIP weights {weights.name!r} cannot be read: {error}") from error
    words = found.get("words", []) if isinstance(found, dict) else None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ConfigError(
            f"{CONFIG} of CLIP weights {weights.name!r} must hold an object, and 'words' in it a list of words. "
            "Remedy: take the file that came with the weights"
        )
    return found


def _whole_clip(weights: ClipWeights) -> nn.Module:
    open_clip = require("open_clip", _FEATURE)
    if weights.kind == "daclip":
        return _clip_of(read_daclip(weights.path), weights)
    if weights.kind != "open_clip":
        _configuration(weights)
        with _fitting(weights):
            return open_clip.create_model(f"local-dir:{weights.path}", require_pretrained=True)
    if open_clip.get_model_config(weights.model) is None:
        raise ConfigError(f"open_clip has no model {weights.model!r}.{suggest(weights.model, open_clip.list_models())}")
    published = _published_preprocessing(weights.model)
    with _fitting(weights):
        return open_clip.create_model(weights.model, pretrained=str(weights.path), force_preprocess_cfg=published)


def _clip_of(state: DAClipState, weights: ClipWeights) -> nn.Module:
    """The CLIP inside a DA-CLIP file."""
    make = require("open_clip", _FEATURE).CLIP
    with _fitting(weights):
        model = make(**state.shape())
        model.load_state_dict(state.clip)
    return model


@contextmanager
def _fitting(weights: ClipWeights) -> Iterator[None]:
    try:
        yield
    except (*UNREADABLE, AssertionError, ArithmeticError, AttributeError, TypeError) as error:  # open_clip's too
        raise ConfigError(
            f"CLIP weights {weights.name!r} do not fit their architecture, or are damaged{reason(error)}. Remedy: "
            "check the name of the model, or download the file again"
        ) from error


def _published_preprocessing(model: str) -> dict[str, Any]:
    """A file of weights does not say its mean and std: take those of the published weights of this architecture."""
    open_clip = require("open_clip", _FEATURE)
    tags = open_clip.list_pretrained_tags_by_model(model)
    found = [open_clip.get_pretrained_cfg(model, tag) for tag in tags]
    known = {json.dumps({key: each[key] for key in _PREPROCESSING if each.get(key)}, sort_keys=True) for each in found}
    if len(known) > 1:
        _LOGGER.warning("weights of %s have been published with several preprocessings; taking CLIP's own", model)
    return json.loads(known.pop()) if len(known) == 1 else {}


def _tokenizer(weights: ClipWeights) -> Any:
    open_clip = require("open_clip", _FEATURE)
    if weights.kind == "daclip":
        return open_clip.SimpleTokenizer()
    return open_clip.get_tokenizer(weights.model or f"local-dir:{weights.path}")


def _openai_preprocessing(size: Any) -> dict[str, Any]:
    """DA-CLIP files do not say theirs; all published ones were trained with this."""
    open_clip = require("open_clip", _FEATURE)
    return {"size": size, "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
