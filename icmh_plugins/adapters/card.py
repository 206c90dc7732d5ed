"""The model card written beside every adapter: Markdown with the front matter that Hugging Face reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from icmh_plugins.adapters.file import AdapterFile

SHIPPED: Final = {
    "7b4d405c061e901023b88ded76630864cfffce20050436e991b37e4c04bcdee9": "mbt2018-mean-n64m96-q1",
    "a19698ca9275ec1a7f794baf679fab46d2f775210469d1e2ecf33a52e1cf0ec9": "mbt2018-mean-n64m96-q2",
    "089d66fae4c1b90844ce0763e7500afdf4e7a5a2204e16b776827737b4036f33": "mbt2018-mean-n64m96-q3",
    "a9ccdc35899876b0b9f01ce75970b529570cd1a4952769be9a0114292c1a45a1": "mbt2018-mean-n64m96-q4",
}
"""Fingerprints of the shipped codecs, so that a card can name the one its adapter was made on."""

_LABELS = {"options": "task options", "lmbda": "lambda"}
_PURPOSE = ("task", "options", "lmbda")
_ELSEWHERE = frozenset({"metrics", "measured on", "results", "license", "codec", "base_model", "training"})


def model_card(info: AdapterFile, parameters: int, address: str | None = None) -> str:
    """A Markdown card: what it is, how to load it, what it sits on, how it was trained, what was measured.

    It depends on its arguments alone, and not on the order of keys in them, which a file does not keep.

    Args:
        info: Contents of the adapter's file.
        parameters: Number of values in it.
        address: Where it is published, ``"hf://user/name"``; None for a folder on disk.
    """
    sections = (
        _front_matter(info),
        [f"# {_cell(info.name)}", "", *_introduction(info, parameters)],
        ["## Load it", "", *_loading(info, address)],
        ["## Base codec", "", *_base(info)],
        ["## Sites", "", *_sites(info)],
        ["## Options", "", *_pairs_table(_sorted(info.config), "The adapter has no options.")],
        ["## Training", "", *_pairs_table(_training(info.metadata), "Nothing was recorded.")],
        ["## Results", "", *_results(_points(info.metadata))],
        ["## Licence", "", _licence(info.metadata)],
    )
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _front_matter(info: AdapterFile) -> list[str]:
    about = info.metadata
    task = [str(about["task"]).lower()] if about.get("task") else []
    tags = ["icmh-plugins", "image-compression", "image-coding-for-machines", info.adapter.rpartition(":")[2], *task]
    fields = {"library_name": "icmh-plugins", "license": about.get("license", "unknown")}
    if base := about.get("base_model"):
        fields |= {"base_model": base, "base_model_relation": "adapter"}
    fields["tags"] = list(dict.fromkeys(tags))
    return ["---", yaml.safe_dump(fields, sort_keys=False, allow_unicode=True).rstrip(), "---"]


def _introduction(info: AdapterFile, parameters: int) -> list[str]:
    return [
        f"An adapter `{info.adapter}` for a frozen image codec, made with icmh-plugins {info.icmh_plugins_version}. It "
        f"holds {parameters:,} values. The codec is not in it, and stays bit for bit what it was.",
    ]


def _loading(info: AdapterFile, address: str | None) -> list[str]:
    spec = info.metadata.get("codec") or SHIPPED.get(info.base.fingerprint)
    codec = f"icmh.load_codec({spec!r})" if spec else f"...  # the {info.base.model_class} described below"
    where = f"{address!r})" if address else f"'.', name={info.name!r})  # '.' is this folder"
    source = info.adapter.partition(":")[0]
    packages = [f"'icmh-plugins{'[hub]' if address else ''}'", *([source] if source not in _NO_PACKAGE else [])]
    return [
        f"    pip install {' '.join(packages)}",
        "",
        "```python",
        "import icmh_plugins as icmh",
        "",
        f"codec = {codec}",
        f"icmh.load_adapter(codec, {where}",
        "```",
    ]


_NO_PACKAGE = frozenset({"icmh-plugins", "local", "session"})  # ours, and those that were never packaged


def _base(info: AdapterFile) -> list[str]:
    side = "Encoder and decoder must both have the adapter." if info.entropy_side else ""
    lines = [f"{info.base.model_class}, SHA-256 of its parameters `{info.base.fingerprint}`. No other codec fits."]
    return [*lines, "", side] if side else lines


def _sites(info: AdapterFile) -> list[str]:
    rows = (
        (f"`{site.path}`", site.side, str(site.channels), str(site.stride), site.module_class, site.where)
        for site in info.sites
    )
    return _table(("site", "side", "channels", "stride", "module", "before or after it"), rows)


def _training(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What it was trained for, what else is known, then how."""
    purpose = {_LABELS.get(key, key): metadata[key] for key in _PURPOSE if key in metadata}
    others = {key: value for key, value in metadata.items() if key not in _ELSEWHERE | set(_PURPOSE)}
    training = metadata.get("training", {})
    return purpose | _sorted(others) | _sorted(training if isinstance(training, Mapping) else {"training": training})


def _points(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The measured points; one more for "metrics", the plain form."""
    points = [*metadata.get("results", ())]
    if isinstance(metrics := metadata.get("metrics"), Mapping):
        points.insert(0, {"values": metrics, "description": metadata.get("measured on")})
    return [point for point in points if point.get("values")]


def _results(points: Sequence[Mapping[str, Any]]) -> list[str]:
    if not points:
        return ["No measured results were recorded."]
    names = sorted({name for point in points for name in point["values"]})
    labels = [point.get("label") or f"point {number}" for number, point in enumerate(points, 1)]
    rows = ([name, *(_show(point["values"].get(name, "")) for point in points)] for name in names)
    conditions = [f"* {_cell(label)}: {_conditions(point)}" for label, point in zip(labels, points, strict=True)]
    return [*_table(("measure", *labels), rows), "", *conditions]


def _conditions(point: Mapping[str, Any]) -> str:
    count, protocol = point.get("images"), point.get("protocol")
    parts = (
        point.get("description"),
        point.get("dataset"),
        f"{count} images" if count else "",
        f"protocol {protocol}" if protocol else "",
    )
    return _cell("; ".join(part for part in parts if part) or "how it was measured was not recorded")


def _licence(metadata: Mapping[str, Any]) -> str:
    stated = f"`{metadata['license']}`" if "license" in metadata else "Not stated"
    return f"{stated}. The codec and the data that it was trained on have licences of their own."


def _pairs_table(values: Mapping[str, Any], empty: str) -> list[str]:
    rows = [(key, _show(value)) for key, value in values.items()]
    return _table(("what", "value"), rows) if rows else [empty]


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(values.items()))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(map(_cell, row))} |" for row in cells]


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        set_ones = {key: each for key, each in _sorted(value).items() if each is not None}
        return ", ".join(f"{key}={_show(each)}" for key, each in set_ones.items()) or "none"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_show, value))}]"
    return str(value)
