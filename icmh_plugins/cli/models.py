"""The options by which commands name a codec and its adapters, and loading them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torch import nn

Codec = Annotated[
    str,
    typer.Option("--codec", help="A codec shipped with icmh, 'architecture:quality', 'jpeg:30', or 'module:factory'."),
]
Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", help="Weights to load into the codec, with its tables.")
]
Adapters = Annotated[list[Path] | None, typer.Option("--adapter", help="Adapter folder; may be repeated.")]


def load_model(codec: str, checkpoint: Path | None, adapters: Sequence[Path]) -> nn.Module:
    """The codec with the adapters of all folders active.

    Args:
        codec: As `load_codec` takes it.
        checkpoint: Weights, or None.
        adapters: Adapter folders.
    """
    from icmh_plugins.adapters.activate import set_adapter
    from icmh_plugins.adapters.store import load_adapter
    from icmh_plugins.codecs.loading import load_codec

    model = load_codec(codec, checkpoint)
    if adapters:
        set_adapter(model, [load_adapter(model, folder).name for folder in adapters])
    return model
