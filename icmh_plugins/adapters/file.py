"""The adapter file: its schema and its atomic folder. No pickle anywhere.

A folder holds `adapter_config.json` (schema: `AdapterFile`), `adapter.safetensors` (keys ``<site>.<parameter>``) and
`README.md`, a model card.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from typing_extensions import TypedDict

from icmh_plugins.errors import AdapterFileError

CONFIG, TENSORS, CARD = "adapter_config.json", "adapter.safetensors", "README.md"


class BaseInfo(BaseModel):
    """The codec an adapter was made on: class name and SHA-256 of its parameters."""

    model_config = ConfigDict(extra="forbid")
    model_class: str
    fingerprint: str


class SiteInfo(BaseModel):
    """A `Site` as data."""

    model_config = ConfigDict(extra="forbid")
    path: str
    side: Literal["analysis", "synthesis", "reconstruction", "entropy"]
    channels: int
    stride: int
    module_class: str
    layout: Literal["nchw", "nhwc", "blc"] = "nchw"
    element: int | str | None = None
    where: Literal["after", "before"] = "after"


class MeasuredPoint(TypedDict, total=False):
    """One measured rate of an adapter: numbers by name, what they were measured on, and the adapter's digest then."""

    __pydantic_config__ = ConfigDict(extra="allow")
    values: dict[str, float]
    label: str
    description: str
    dataset: str
    protocol: str
    images: int
    adapter_digest: str


class Metadata(TypedDict, total=False):
    """What an adapter was trained for, and what its author says of it. Other keys are free."""

    __pydantic_config__ = ConfigDict(extra="allow")
    results: list[MeasuredPoint]
    license: str
    codec: str
    base_model: str


class AdapterFile(BaseModel):
    """Contents of `adapter_config.json`; `AdapterFile.model_json_schema()` is the published schema."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["icmh-adapter"] = "icmh-adapter"
    format_version: Literal[1] = 1
    name: str
    adapter: str
    plugin_version: str = ""
    icmh_plugins_version: str
    config: dict[str, Any]
    sites: list[SiteInfo]
    entropy_side: bool = False
    base: BaseInfo
    tensors_sha256: str
    metadata: Metadata = {}


def write_folder(folder: Path, info: AdapterFile, tensors: dict[str, Tensor], card: str) -> None:
    """Write an adapter folder; it appears whole or not at all, and replaces only another adapter folder.

    Raises:
        AdapterFileError: The path is taken by something else, or by an adapter folder with other files in it, or it
            cannot be written.
    """
    folder = Path(folder).absolute()
    try:
        _check_replaceable(folder)
        _write(folder, info, tensors, card)
    except OSError as error:
        raise AdapterFileError(
            f"{folder} cannot be written ({error.strerror or error}). Remedy: another path, or room on the disk"
        ) from error


def read_folder(folder: Path) -> tuple[AdapterFile, dict[str, Tensor]]:
    """Read and check an adapter folder.

    Raises:
        AdapterFileError: It is missing, damaged, truncated, or of another format; the message says which file.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise AdapterFileError(f"{folder} is not an adapter folder: it has no {CONFIG}. Remedy: check the path")
    try:
        info = AdapterFile.model_validate_json((folder / CONFIG).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise AdapterFileError(f"{folder / CONFIG} cannot be used: {where}: {first['msg']}") from None
    try:
        blob = (folder / TENSORS).read_bytes()
        if hashlib.sha256(blob).hexdigest() != info.tensors_sha256:
            raise AdapterFileError(
                f"{folder / TENSORS} is damaged: its SHA-256 is not the one in {CONFIG}. Remedy: copy the folder again"
            )
        return info, load_tensors(blob)
    except (OSError, SafetensorError) as error:
        raise AdapterFileError(f"{folder / TENSORS} cannot be read ({error}). Remedy: copy the folder again") from None


def _write(folder: Path, info: AdapterFile, tensors: dict[str, Tensor], card: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    blob = save_tensors(tensors, metadata={"format": "pt"})
    info = info.model_copy(update={"tensors_sha256": hashlib.sha256(blob).hexdigest()})
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        scratch.chmod(0o755)
        (scratch / TENSORS).write_bytes(blob)
        (scratch / CONFIG).write_text(json.dumps(info.model_dump(), indent=2, sort_keys=True) + "\n")
        (scratch / CARD).write_text(card, encoding="utf-8")
        _swap(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_replaceable(folder: Path) -> None:
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not found and (folder.is_dir() or not folder.exists()):
        return
    if CONFIG not in found:
        raise AdapterFileError(f"{folder} exists and is not an adapter folder. Remedy: give another path")
    others = sorted(found - {CONFIG, TENSORS, CARD})
    if others:
        raise AdapterFileError(f"{folder} also holds {', '.join(others)}, which would be lost. Remedy: another path")


def _swap(scratch: Path, folder: Path) -> None:
    if not folder.exists():
        scratch.replace(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent)) / folder.name
    folder.replace(old)
    try:
        scratch.replace(folder)
    except BaseException:
        old.replace(folder)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)
