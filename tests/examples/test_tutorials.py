"""The tutorials show the files of the examples and of `icmh new` as they are, all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icmh_plugins.cli.templates import render

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"^```python\n# ([\w/]+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def example(name):
    folder = ROOT / "examples" / name
    files = [*folder.glob("*.toml"), *folder.rglob("*.py")]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


TUTORIALS = {
    "write-an-adapter": example("icmh-gate"),
    "write-a-task": render("task", "edges"),
    "write-a-codec-profile": example("icmh-tic-profile"),
}


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_shows_the_files_as_they_are(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    files = TUTORIALS[page]
    modules = {path: code for path, code in files.items() if path.endswith(".py") and "__init__" not in path}
    assert dict(SHOWN.findall(text)) == modules
    assert all(block in files["pyproject.toml"] for block in TOML.findall(text))
