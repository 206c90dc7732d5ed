"""Networks of timm by name, and what timm's own attributes say about a network."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from icmh_plugins._deps import require
from icmh_plugins.errors import ConfigError, DataError, suggest
from icmh_plugins.tasks.checkpoints import load_weights

_LOGGER = logging.getLogger(__name__)


def create_network(
    name: str,
    *,
    checkpoint: str | Path | None = None,
    pretrained: bool = True,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a timm network in eval mode.

    Args:
        name: As in ``timm.list_models()``, with or without a weight tag: ``"resnet50.tv_in1k"``.
        checkpoint: Local weights; then nothing is downloaded.
        pretrained: Without a checkpoint, download the published weights; False leaves random ones (logged).
        options: Further arguments of ``timm.create_model``, such as ``pad_type="same"``.

    Raises:
        ConfigError: The name is unknown, or an option is not one of the network's.
        DataError: The checkpoint does not fit, or the download failed.
    """
    timm = require("timm", "the classification task with a network name")
    if not timm.is_model(name.partition(".")[0]) and not name.startswith("hf-hub:"):
        raise ConfigError(
            f"timm has no network {name!r}.{suggest(name, difflib.get_close_matches(name, timm.list_models(), n=5))}"
        )
    download = pretrained and checkpoint is None
    try:
        network = timm.create_model(name, pretrained=download, **(options or {}))
    except TypeError as error:
        raise ConfigError(f"timm's {name} does not take these network_options: {error}") from error
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"the weights of timm's {name} could not be loaded ({error}); give a local file as checkpoint="
        ) from error
    if checkpoint is not None:
        load_weights(network, checkpoint)
    elif not pretrained:
        _LOGGER.warning("timm's %s has random weights: what it measures means nothing", name)
    return network.eval()


def default_layers(network: nn.Module) -> tuple[str, ...]:
    """The last layer of each resolution (timm's ``feature_info``), or () for a network that does not say."""
    return tuple(dict.fromkeys(info["module"] for info in getattr(network, "feature_info", ())))


def input_settings(network: nn.Module) -> dict[str, Any]:
    """Mean, std and (only where the network takes one size alone) input_size, or {} for a network that does not say."""
    cfg = getattr(network, "pretrained_cfg", None) or {}
    settings = {key: tuple(cfg[key]) for key in ("mean", "std") if key in cfg}
    if cfg.get("fixed_input_size"):
        settings["input_size"] = cfg["input_size"][-1]
    return settings
