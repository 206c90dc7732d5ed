"""Publishing an adapter on the Hugging Face hub; `load_adapter` takes it from there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import nn

from icmh_plugins.adapters.card import model_card
from icmh_plugins.adapters.file import CARD, read_folder
from icmh_plugins.adapters.huggingface_hub import upload
from icmh_plugins.adapters.store import save_adapter


def push_to_hub(
    model: nn.Module,
    repo: str,
    *,
    name: str | None = None,
    private: bool = False,
    token: str | None = None,
    message: str | None = None,
) -> str:
    """Publish one adapter: its file, its tensors and a model card. The codec does not leave this machine.

    ``load_adapter(codec, "hf://user/name")`` loads it elsewhere. `annotate` puts results and a licence on the card.

    Args:
        model: A codec with adapters.
        repo: ``"user/name"``; made if it does not exist.
        name: Which adapter; may be left out when only one is attached or active.
        private: Make a new repository private; one that exists stays as it is.
        token: Of an account that may write; by default the one of ``hf auth login`` or `HF_TOKEN`.
        message: Of the commit.

    Returns:
        Address of the commit's page.

    Raises:
        AdapterError: Unknown name, or several adapters and no name given.
        AdapterFileError: The hub cannot be reached, or refuses.
        ConfigError: `repo` is not written as ``user/name``.
        MissingDependencyError: huggingface_hub is not installed.
        NumericalError: A tensor holds NaN or infinity.
    """
    with tempfile.TemporaryDirectory(prefix="icmh-push-") as scratch:
        folder = save_adapter(model, Path(scratch) / "adapter", name)
        info, tensors = read_folder(folder)
        card = model_card(info, sum(tensor.numel() for tensor in tensors.values()), f"hf://{repo}")
        (folder / CARD).write_text(card, encoding="utf-8")
        return upload(folder, repo, private=private, token=token, message=message or f"Adapter {info.name}")
