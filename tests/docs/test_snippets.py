"""Every Python block of the README and of docs/ runs, in order, in one namespace per file.

A block whose first line is a comment with a path (``# icmh_gate/gate.py``) is written to that file instead.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w/]+\.py)\n")


def blocks(page: Path) -> list[tuple[int, str]]:
    """Line number of its fence, and text, of each Python block."""
    text = page.read_text(encoding="utf-8")
    return [(text[: match.start()].count("\n") + 1, match[1]) for match in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_python_blocks_run(page, workplace):
    namespace = {"__name__": f"{page.stem}-snippets"}
    for line, code in blocks(page):
        if named := FILE.match(code):
            path = workplace / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
            continue
        # Blank lines in front make tracebacks name the line of the page.
        exec(compile("\n" * line + code, page, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing
