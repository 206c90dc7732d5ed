"""A Sphinx extension: the contents page is the navigation, and links may leave the folder.

So that the pages stay plain Markdown, the tables of ``index.md`` are what a reader of the repository sees and what the
side bar of the site is made from: each section with a table of pages becomes a part of it.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| \[[^\]]+\]\(([\w-]+)\.md\) \|", re.MULTILINE)
_OUTSIDE = re.compile(r"\[([^\]]*)\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)")


def toctrees(text: str) -> str:
    """Hidden toctrees of the sections of `text` that have a table of pages."""
    titles = _SECTION.split(text)[1:]
    sections = zip(titles[::2], map(_ROW.findall, titles[1::2]), strict=True)
    return "\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""])
        for title, pages in sections
        if pages
    )


def _copied(link: re.Match[str], folder: Path) -> str:
    """A link out of `folder`, to a copy of the file; of a folder it is the README, or the words alone."""
    words, target = link.groups()
    if (folder / target).is_dir():
        target = f"{target.rstrip('/')}/README.md"
    return f"[{words}](path:{target})" if (folder / target).is_file() else words


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = _OUTSIDE.sub(lambda link: _copied(link, Path(app.srcdir)), source[0])
    if name == "index":
        source[0] += "\n" + toctrees(source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Change pages as they are read."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
