"""The model card written beside every adapter."""

from __future__ import annotations

from typing import Any

from icmh_plugins.adapters.file import AdapterFile

_LABELS = {"options": "task options", "lmbda": "lambda"}


def model_card(info: AdapterFile, parameters: int) -> str:
    """A Markdown card: what it is, what it needs, what it was trained for, what was measured."""
    lines = [
        f"# {info.name}",
        "",
        f"An adapter for a frozen image codec, made with [icmh-plugins]. It holds {parameters:,} values; the codec is "
        "not in it and stays bit for bit what it was.",
        "",
        "    import icmh_plugins as icmh",
        "    icmh.load_adapter(codec, 'this-folder')",
        "",
        "| | |",
        "|---|---|",
        f"| adapter | `{info.adapter}` {info.plugin_version} |",
        f"| base codec | {info.base.model_class}, fingerprint `{info.base.fingerprint[:16]}` |",
        f"| sites | {', '.join(f'`{site.path}`' for site in info.sites)} |",
        f"| adapter options | {_pairs(info.config)} |",
        *(f"| {_LABELS.get(key, key)} | {_show(value)} |" for key, value in info.metadata.items() if key != "metrics"),
        "",
        *_results(info.metadata.get("metrics")),
        "[icmh-plugins]: Adapters and tasks for CompressAI-compatible codecs",
        "",
    ]
    return "\n".join(lines)


def _results(metrics: Any) -> list[str]:
    if not isinstance(metrics, dict) or not metrics:
        return ["No measured results were recorded.", ""]
    rows = [f"| {key} | {_show(value)} |" for key, value in metrics.items()]
    return ["## Measured", "", "| metric | value |", "|---|---|", *rows, ""]


def _pairs(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items()) or "none"


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return _pairs(value) if isinstance(value, dict) else str(value)
