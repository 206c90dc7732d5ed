"""The few pieces of HTML that the report is made of. `escape` is for text; everything else takes and gives HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

__all__ = ["card", "details", "escape", "figure", "page", "section", "table"]


def page(title: str, body: Iterable[str]) -> str:
    """A whole page with its style inside."""
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(filter(None, body))
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *content: str) -> str:
    """A headed section; nothing when it has no content."""
    inside = "\n".join(filter(None, content))
    return f"<section>\n<h2>{escape(title)}</h2>\n{inside}\n</section>" if inside else ""


def card(value: str, about: str) -> str:
    """One number, large, and what it is; plain text both."""
    kind = ' class="none"' if value.startswith("none") else ""
    return f'<div class="card"><b{kind}>{escape(value)}</b><span class="soft">{escape(about)}</span></div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text; the first cell of a row names it."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = [
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>" for row in rows
    ]
    body = "\n".join(lines)
    return f'<div class="scroll"><table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def figure(path: str | Path, caption: str) -> str:
    """A PNG file, inlined, with its caption in plain text."""
    data = base64.b64encode(Path(path).read_bytes()).decode()
    words = escape(caption)
    return f'<figure><img alt="{words}" src="data:image/png;base64,{data}"><figcaption>{words}</figcaption></figure>'


def details(summary: str, text: str) -> str:
    """Preformatted plain text, folded away."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
