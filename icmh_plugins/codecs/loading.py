"""Getting a codec by name: shipped with this package, from CompressAI's zoo, from a checkpoint, or from any factory."""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from icmh_plugins._deps import require
from icmh_plugins.codecs.checkpoints import read_checkpoint
from icmh_plugins.codecs.classical import CLASSICAL
from icmh_plugins.codecs.entropy import has_tables
from icmh_plugins.errors import CodecError, IcmhError, suggest

log = logging.getLogger(__name__)

_ZOO = re.compile(r"(?P<architecture>[\w-]+):(?P<quality>\d+)")
_FACTORY = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<attribute>[A-Za-z_]\w*)")


def load_codec(spec: str, checkpoint: str | os.PathLike[str] | None = None) -> nn.Module:
    """Load a codec in eval mode, with its coding tables.

    Args:
        spec: One of

            * a codec shipped with this package: ``"mbt2018-mean-n64m96-q1"`` (see `shipped_codecs`);
            * ``"architecture:quality"`` of CompressAI's zoo: ``"mbt2018-mean:4"`` (downloaded without a checkpoint);
            * ``"jpeg:quality"`` or ``"webp:quality"``, 1 to 100: Pillow's, for adapters behind the decoder;
            * an architecture of CompressAI with a checkpoint: ``"mbt2018-mean"``;
            * ``"package.module:factory"``: anything callable without arguments that returns a codec.
        checkpoint: Weights to load: ``.safetensors``, or a file of `torch.save` (read with ``weights_only=True``).

    Raises:
        CodecError: The name is unknown, or the checkpoint cannot be read or does not fit.
    """
    model = _build(spec, checkpoint)
    if not isinstance(model, nn.Module):
        raise CodecError(f"{spec} gave a {type(model).__name__}, not a torch.nn.Module.")
    if not has_tables(model):
        _fill_tables(model, spec)
    return model.eval()


def shipped_codecs() -> tuple[str, ...]:
    """Names of the codecs whose weights come with this package."""
    folder = _shipped_folder()
    return tuple(sorted(path.stem for path in folder.glob("*.safetensors"))) if folder.is_dir() else ()


def _build(spec: str, checkpoint: str | os.PathLike[str] | None) -> Any:
    if not isinstance(spec, str):
        raise CodecError(f"a codec is loaded by its name, got {spec!r}. Known: {', '.join(shipped_codecs())}")
    if spec in shipped_codecs():
        return _from_weights(_architecture_of(spec), checkpoint or _shipped_folder() / f"{spec}.safetensors")
    name, _, quality = spec.partition(":")
    if name in CLASSICAL:
        return _classical(name, quality, checkpoint)
    if match := _ZOO.fullmatch(spec):
        if checkpoint is not None:
            return _from_weights(match["architecture"], checkpoint)
        return _from_zoo(match["architecture"], int(match["quality"]))
    if match := _FACTORY.fullmatch(spec):
        return _from_factory(match["module"], match["attribute"], checkpoint)
    if checkpoint is None:
        known = [*shipped_codecs(), *_architectures(), *CLASSICAL]
        raise CodecError(
            f"{spec!r} is not a codec shipped with this package. An architecture of CompressAI needs a quality "
            f"('mbt2018-mean:4') or a checkpoint; picture formats are 'jpeg:QUALITY' and 'webp:QUALITY', other codecs "
            f"'package.module:factory'.{suggest(spec, known)}"
        )
    return _from_weights(spec, checkpoint)


def _from_weights(architecture: str, checkpoint: str | os.PathLike[str]) -> nn.Module:
    known = _architectures()
    if architecture not in known:
        raise CodecError(f"CompressAI has no architecture {architecture!r}.{suggest(architecture, known)}")
    # Only for CompressAI's own codecs: "downsample", which it renames, is a present name in others (STF).
    rename = require("compressai.zoo", "a codec of CompressAI").load_state_dict
    return _load(lambda weights: known[architecture].from_state_dict(rename(weights)), checkpoint, architecture)


def _from_zoo(architecture: str, quality: int) -> nn.Module:
    zoo = require("compressai.zoo", "loading a pretrained codec").image_models
    if architecture not in zoo:
        raise CodecError(f"CompressAI's zoo has no pretrained {architecture!r}.{suggest(architecture, zoo)}")
    try:
        return zoo[architecture](quality=quality, metric="mse", pretrained=True)
    except (ValueError, RuntimeError, OSError) as error:
        raise CodecError(
            f"cannot get pretrained {architecture} at quality {quality}: {type(error).__name__}: {error}. "
            "Without a network, give a checkpoint file."
        ) from error


def _classical(name: str, quality: str, checkpoint: str | os.PathLike[str] | None) -> nn.Module:
    if not quality.isdecimal():
        raise CodecError(f"{name} needs a quality from 1 to 100, got {quality!r}. Remedy: '{name}:30'")
    if checkpoint is not None:
        raise CodecError(f"{name} has no weights: leave the checkpoint {checkpoint} out.")
    return CLASSICAL[name](int(quality))


def _from_factory(module: str, attribute: str, checkpoint: str | os.PathLike[str] | None) -> Any:
    try:
        factory: Callable[[], Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise CodecError(f"cannot import {module}:{attribute}: {error}") from error
    try:
        model = factory()
    except IcmhError:
        raise
    except Exception as error:
        raise CodecError(
            f"{module}:{attribute} gave no codec ({type(error).__name__}: {error}). It is called without arguments and "
            "returns the codec"
        ) from error
    if checkpoint is not None:
        _load(model.load_state_dict, checkpoint, f"{module}:{attribute}")
    return model


def _load(load: Callable[[dict[str, Tensor]], Any], checkpoint: str | os.PathLike[str], codec: str) -> Any:
    weights = read_checkpoint(checkpoint)
    try:
        return load(weights)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CodecError(f"{checkpoint} holds no weights of {codec}: {type(error).__name__}: {error}") from error


def _fill_tables(model: nn.Module, spec: str) -> None:
    if not hasattr(model, "update"):
        raise CodecError(f"{spec} has no coding tables and no update() to compute them: it cannot write streams.")
    log.warning(
        "%s came without coding tables; computed here. They differ between machines: before its streams travel, save "
        "the codec with its tables (torch.save(model.state_dict(), ...)).",
        spec,
    )
    model.update()


def _architectures() -> dict[str, type[nn.Module]]:
    require("compressai.models", "a codec of CompressAI")
    models = require("compressai.registry", "a codec of CompressAI").MODELS
    return {name: cls for name, cls in models.items() if hasattr(cls, "from_state_dict")}


def _architecture_of(shipped: str) -> str:
    return max((name for name in _architectures() if shipped.startswith(name)), key=len)


def _shipped_folder() -> Path:
    return Path(str(resources.files("icmh_plugins"))) / "assets" / "codecs"
