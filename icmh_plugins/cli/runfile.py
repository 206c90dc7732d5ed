"""The run file of ``icmh train``: YAML, checked whole before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, Field, model_validator

from icmh_plugins._config import FrozenConfig, validate_config
from icmh_plugins.cli.datasection import DataSection
from icmh_plugins.data.spelling import split_source
from icmh_plugins.errors import ConfigError, DataError, suggest
from icmh_plugins.registry import catalog
from icmh_plugins.training.config import FitConfig


class CodecSection(FrozenConfig):
    """Which codec, as `load_codec` takes it. A plain string in the file is its `spec`."""

    spec: str
    checkpoint: str | None = None


class AdapterSection(FrozenConfig):
    """What to train: a new adapter (`name`, as `attach_adapter` takes it), or a saved one (`load`).

    A saved one is a folder, or ``hf://user/name`` on the Hugging Face hub.
    """

    name: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    sites: list[str] | dict[str, list[str]] | None = None
    preset: str | None = None
    load: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> AdapterSection:
        if (self.name is None) == (self.load is None):
            raise ValueError("give either 'name' (a new adapter) or 'load' (the folder of a saved one)")
        if self.load and (self.options or self.sites or self.preset):
            raise ValueError("a saved adapter brings its own options and sites")
        return self


class TaskSection(FrozenConfig):
    """What to train for, as `create_task` takes it."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class RunFile(FrozenConfig):
    """One training run. Paths are relative to the current folder.

    Attributes:
        codec: The codec.
        adapter: The adapter; may be left out where `fit` trains the codec itself.
        task: The task.
        data: Pictures, degraded as they are read where wanted, or pairs.
        validation: Held-out data, measured at every checkpoint.
        fit: The options of `fit`.
        out: Folder of the run.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", ...
        tensorboard: Also log to TensorBoard.
    """

    codec: CodecSection
    adapter: AdapterSection | None = None
    task: TaskSection
    data: DataSection
    validation: DataSection | None = None
    fit: FitConfig
    out: str
    device: str = Field("auto", pattern=r"^(auto|(cpu|cuda|mps|xpu)(:\d+)?)$")
    tensorboard: bool = False

    def to_yaml(self) -> str:
        """The whole run as a run file, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


_SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "codec": CodecSection,
    "adapter": AdapterSection,
    "task": TaskSection,
    "data": DataSection,
    "validation": DataSection,
    "fit": FitConfig,
}
_SHORT: Final = {"codec": "spec", "adapter": "name", "task": "name", "data": "source", "validation": "source"}
"""What a plain string in place of a section means."""


def read_run(path: Path, overrides: Sequence[str] = ()) -> RunFile:
    """Read a run file and apply overrides.

    Args:
        path: The file.
        overrides: ``key=value`` with dots for nested keys (``fit.lmbda=6.7``); values as YAML reads them.

    Raises:
        ConfigError: The file is missing or no YAML mapping, or an option is unknown (with the nearest known one),
            out of range or missing, or `out` is a file or the data itself.
        UnknownPluginError: Nobody offers the adapter, task or preset.
        DataError: Data or adapter folder do not exist.
    """
    values = _load(path)
    for key, short in _SHORT.items():
        if isinstance(values.get(key), str):
            values[key] = {short: values[key]}
    for override in overrides:
        _apply(values, override)
    run = _validate(values)
    _check_names(run)
    _check_paths(run)
    return run


def _load(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the run file {path}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"the run file {path} must be a mapping (codec: ..., adapter: ..., task: ..., ...)")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"an override is key=value, for example fit.lmbda=6.7; got {override!r}")
    *parents, last = dotted.split(".")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot read the value of {override!r}: {error}") from None
    if not parents and last in _SHORT and isinstance(value, str):
        value = {_SHORT[last]: value}
    for key in parents:
        inner = values.get(key)
        values[key] = {} if inner is None else inner
        values = values[key]
        if not isinstance(values, dict):
            raise ConfigError(f"cannot set {dotted!r}: {key!r} is {values!r}, not a section")
    values[last] = value


def _validate(values: Mapping[str, Any]) -> RunFile:
    _check_keys(values)
    sections = {}
    for key, section in _SECTIONS.items():
        if values.get(key) is None:
            continue
        if not isinstance(values[key], dict):
            raise ConfigError(f"section {key!r} of the run file must be a mapping, got {values[key]!r}")
        sections[key] = validate_config(section, values[key], owner=f"section {key!r} of the run file")
    run = validate_config(RunFile, {**values, **sections}, owner="the run file")
    if run.adapter is None and not run.fit.trains_codec:
        raise ConfigError("there is no adapter to train. Remedy: adapter=sfma, or fit.trainable=codec")
    return run


def _check_keys(values: Mapping[str, Any]) -> None:
    known = RunFile.model_fields
    for key in values:
        if key not in known:
            raise ConfigError(f"the run file has no option {key!r}.{suggest(str(key), known)}")
    missing = [key for key, field in known.items() if field.is_required() and values.get(key) is None]
    if missing:
        raise ConfigError(f"the run file lacks {', '.join(missing)}. Remedy: add it there, or give it as key=value")


def _check_names(run: RunFile) -> None:
    catalog.find("task", run.task.name)
    if run.adapter and run.adapter.name:
        catalog.find("adapter", run.adapter.name)
    if run.adapter and run.adapter.preset:
        catalog.find("codec-profile", run.adapter.preset)


def _check_paths(run: RunFile) -> None:
    for key, section in (("data", run.data), ("validation", run.validation)):
        if section:
            section.check(key)
    load = run.adapter.load if run.adapter else None
    on_hub = load is not None and load.startswith("hf:")
    paths = {"codec.checkpoint": run.codec.checkpoint, "adapter.load": None if on_hub else load}
    for key, path in paths.items():
        if path is not None and not Path(path).exists():
            raise DataError(f"{key}: {path} does not exist. Remedy: paths are relative to the current folder")
    _check_out(run)


def _check_out(run: RunFile) -> None:
    out = Path(run.out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out: {run.out} is a file. Remedy: name a folder, for example out=runs/a")
    sections = [section for section in (run.data, run.validation) if section]
    taken = [path for section in sections for path in split_source(section.source)[1]]
    taken += [Path(section.clean) for section in sections if section.clean]
    if out.resolve() in {path.resolve() for path in taken}:
        raise ConfigError(f"out: {run.out} is the data itself. Remedy: another folder, for example out=runs/a")
