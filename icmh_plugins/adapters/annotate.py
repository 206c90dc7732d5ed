"""What its author says of an adapter: measured results, licence, codec. Files and model cards carry it."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from icmh_plugins.adapters.host import require_host
from icmh_plugins.adapters.results import measured_points
from icmh_plugins.adapters.store import adapter_digest, only_name
from icmh_plugins.errors import ConfigError

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def annotate(
    model: nn.Module,
    name: str | None = None,
    *,
    results: Any = None,
    measured_on: str | None = None,
    license: str | None = None,
    codec: str | None = None,
    base_model: str | None = None,
) -> None:
    """Note facts about an adapter, for its next save. What is not given stays as it was.

    Args:
        model: A codec with adapters.
        name: Which adapter; may be left out when only one is attached or active.
        results: Measured points, in place of those noted before: what `evaluate` returns, a `RateCurve`, the JSON of
            ``icmh eval``, a mapping such as ``{"bpp": 0.12, "top1": 0.71}``, or a list of these. They belong to the
            adapter as it is now: once it is trained on, a save leaves them out.
        measured_on: The data of these results: ``"650 images of ImageNet validation, 224x224 crops"``.
        license: Identifier as Hugging Face writes it: ``"apache-2.0"``, ``"cc-by-nc-4.0"``, ``"other"``.
        codec: What `load_codec` takes to load the base codec: ``"mbt2018-mean:4"``.
        base_model: Repository of the base codec on the hub, ``"user/name"``.

    Raises:
        AdapterError: Unknown name, or several adapters and no name given.
        ConfigError: The licence or the repository is not written so.
        DataError: The results hold no numbers, or are those of another adapter.
    """
    host = require_host(model)
    record = host.record(name or only_name(host))
    if license is not None and not _LICENSE.fullmatch(license.lower()):
        raise ConfigError(f"license takes an identifier such as 'apache-2.0' or 'other', got {license!r}")
    if base_model is not None and not _REPOSITORY.fullmatch(base_model):
        raise ConfigError(f"base_model takes 'user/name', got {base_model!r}")
    points = None if results is None else measured_points(results, adapter_digest(model, record.name), measured_on)
    facts = {"results": points, "license": license and license.lower(), "codec": codec, "base_model": base_model}
    record.metadata.update({key: value for key, value in facts.items() if value is not None})
