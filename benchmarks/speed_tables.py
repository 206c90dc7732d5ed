"""The tables of the speed benchmark, from its JSON.

    python benchmarks/speed_tables.py

fills docs/speed.md again from benchmarks/results/speed.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def tables(results: dict[str, Any]) -> str:
    """Every measured section as Markdown."""
    return "\n\n".join(_SECTIONS[name](value) for name, value in results.items())


def fill_page(path: Path, results: dict[str, Any]) -> None:
    """Replace what stands between the two marks of a page."""
    before, _, rest = path.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{tables(results)}\n\n{END}{after}")


def _machine(machine: dict[str, Any]) -> str:
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads unless stated, torch "
        f"{machine['torch']}. Load of the machine before the run: {machine['load_before']:.1f}."
    )


def _sfma(rows: Sequence[dict[str, Any]]) -> str:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["threads"], row["channels"], row["middle"], row["memory_format"]), []).append(row)
    strides = [f"stride {row['stride']}" for row in next(iter(groups.values()))]
    head = ("threads", "C, n", "memory format", *strides, "together", "forward alone", "largest difference")
    lines = [
        (
            str(threads),
            f"{channels}, {middle}",
            memory_format,
            *(_faster([row], "step") for row in group),
            f"**{_faster(group, 'step')}**",
            _faster(group, "forward"),
            f"{max(row['largest_relative_difference'] for row in group):.0e}",
        )
        for (threads, channels, middle, memory_format), group in groups.items()
    ]
    title = "### SFMA, forward and backward: published form / ours, ms"
    return f"{title}\n\n{_table(head, lines)}"


def _faster(rows: Sequence[dict[str, Any]], what: str) -> str:
    theirs, ours = (sum(row[what][form] for row in rows) for form in ("published", "ours"))
    return f"{1e3 * theirs:.0f} / {1e3 * ours:.0f} = {theirs / ours:.2f}"


def _coding(rows: Sequence[dict[str, Any]]) -> str:
    head = ("picture", "", "codec's own method, ms", "base, ms", "with SFMA, ms", "SFMA / base")
    lines = [
        (
            f"{row['width']}x{row['height']}",
            verb,
            *(f"{1e3 * row[verb][who]:.0f}" for who in ("stock", "base", "sfma")),
            f"**{row[verb]['sfma'] / row[verb]['base']:.2f}x**",
        )
        for row in rows
        for verb in ("encode", "decode")
    ]
    return f"### Encoding and decoding\n\n{_table(head, lines)}\n\nWhere the time goes with SFMA:\n\n{_parts(rows)}"


def _parts(rows: Sequence[dict[str, Any]]) -> str:
    columns = [(row, verb) for row in rows for verb in ("encode", "decode")]
    head = ("ms", *(f"{verb} {row['width']}x{row['height']}" for row, verb in columns))
    labels = dict.fromkeys(label for row, verb in columns for label in row[f"{verb}_parts"])
    lines = [(label, *(f"{1e3 * row[f'{verb}_parts'].get(label, 0):.1f}" for row, verb in columns)) for label in labels]
    return _table(head, lines)


def _training(result: dict[str, Any]) -> str:
    time, memory = result["seconds"], result["peak_bytes"]
    lines = [
        ("time of a step, s", *_compared(time, 1, 2)),
        ("memory of a step, MB", *_compared(memory, 1e6, 0)),
    ]
    title = f"### A training step, batch {result['batch']} of {result['crop']}x{result['crop']}, float32"
    return f"{title}\n\n" + _table(("", "plain loop", "`fit`", "ratio"), lines)


def _compared(values: dict[str, float], unit: float, digits: int) -> Sequence[str]:
    plain, ours = values["plain"] / unit, values["ours"] / unit
    return f"{plain:.{digits}f}", f"{ours:.{digits}f}", f"**{plain / ours:.2f}x**"


def _attaching(result: dict[str, float]) -> str:
    lines = [(name, f"{1e3 * value:.0f}") for name, value in result.items()]
    return "### Attaching\n\n" + _table(("", "ms"), lines)


def _files(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        (
            f"{row['codec']}, n={row['middle']}",
            f"{row['adapter_folder'] / 1e6:.2f}",
            f"{row['state_dict'] / 1e6:.2f}",
            f"**{row['state_dict'] / row['adapter_folder']:.1f}x**",
        )
        for row in rows
    ]
    return "### Files\n\n" + _table(("", "adapter folder, MB", "state dict of codec and adapters, MB", "ratio"), lines)


def _startup(result: dict[str, Any]) -> str:
    empty = result["seconds"]["python -c pass"]
    lines = [(f"`{name}`", f"{value:.3f}", f"{value - empty:+.3f}") for name, value in result["seconds"].items()]
    head = (f"fresh processes, Python {result['python']}", "s", "over an empty process, s")
    return "### Start-up\n\n" + _table(head, lines)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_SECTIONS = {
    "machine": _machine,
    "sfma": _sfma,
    "coding": _coding,
    "training": _training,
    "attaching": _attaching,
    "files": _files,
    "startup": _startup,
}


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    fill_page(here.parent / "docs" / "speed.md", json.loads((here / "results" / "speed.json").read_text()))
