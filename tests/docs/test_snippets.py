"""Every code block of the README, of docs/ and of the examples runs, or is read as what it says it is.

The Python blocks of a page run in order, in one namespace. A block whose first line is a comment with a path
(``# icmh_gate/gate.py``) is written to that file instead. What cannot run here stands in `NOT_RUN`, with the reason.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from icmh_plugins.registry.catalog import register_plugin

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(EXAMPLES.glob("*/README.md"))]
BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w/]+\.py)\n")
READERS = {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.compose}
ELSEWHERE = {"console": "test_commands.py", "math": "the site's build", "{eval-rst}": "the site's build"}
NO_CODE = "text"
SHOWN = "py"  # Python that is not run
NOT_RUN = {
    ("icmh-yolo", "yolo-segmentation"): "needs weights of YOLOv8n, which are not shipped",
    ("all", "push_to_hub"): "needs the network and an account on huggingface.co",
    ("hub", "push_to_hub"): "the same",
    ("hub", "hf://user/cls"): "the same",
}
"""Page and a word of the block: why that block does not run here. It still has to be Python."""


def name(page: Path) -> str:
    return page.parent.name if page.parent.parent == EXAMPLES else page.stem


def blocks(page: Path, language: str | None = None) -> list[tuple[int, str, str]]:
    """Line number of its fence, language and text of each block, of all or of one language."""
    text = page.read_text(encoding="utf-8")
    found = [(text[: match.start()].count("\n") + 1, match[1], match[2]) for match in BLOCK.finditer(text)]
    return [each for each in found if language in (None, each[1])]


def python(page: Path) -> list[tuple[int, str, str]]:
    return sorted(blocks(page, "python") + blocks(page, SHOWN))


def excused(page: Path, code: str) -> bool:
    return any(name(page) == where and word in code for where, word in NOT_RUN)


def offer(package: Path) -> None:
    """What pip would do for an example package, in this process: its entry points."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for entry, module in project["entry-points"]["icmh_plugins"].items():
        register_plugin(importlib.import_module(module), entry)


@pytest.mark.parametrize("page", [page for page in PAGES if python(page)], ids=name)
def test_python_blocks_run(page, workplace, monkeypatch):
    module = ModuleType(f"page_{re.sub(r'[^a-z]', '_', name(page))}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    if page.parent.parent == EXAMPLES:
        monkeypatch.syspath_prepend(page.parent)
        offer(page.parent)
    for line, language, code in python(page):
        # Blank lines in front make tracebacks name the line of the page.
        compiled = compile("\n" * line + code, page, "exec")
        if excused(page, code):
            continue
        assert language != SHOWN, f"line {line} is not run: say why in NOT_RUN"
        if named := FILE.match(code):
            path = workplace / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
            continue
        exec(compiled, module.__dict__)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_of_a_language_that_is_checked(page):
    for line, language, text in blocks(page):
        assert language in {"python", SHOWN, *READERS, *ELSEWHERE, NO_CODE}, f"line {line}"
        READERS.get(language, str)(text)


def test_what_does_not_run_is_still_there():
    for where, word in NOT_RUN:
        page = next(page for page in PAGES if name(page) == where)
        assert any(word in code for _, _, code in python(page)), (where, word)
