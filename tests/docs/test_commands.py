"""Every `icmh` command line in the README and in docs/ names a command that exists, with options that it takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from icmh_plugins.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^\$ (?:.* -m icmh_plugins|icmh) (.*)$", re.MULTILINE)


def lines() -> list[tuple[str, str]]:
    """Page and arguments of each command line; continued lines are joined, comments dropped later."""
    texts = ((page.stem, re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))) for page in PAGES)
    return [(stem, match[1]) for stem, text in texts for match in COMMAND.finditer(text)]


@pytest.fixture
def parse(monkeypatch):
    """Parse arguments as `icmh` would, and do nothing."""
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda self, context: None)
    command = typer.main.get_command(app)
    return lambda arguments: command.main(arguments, prog_name="icmh", standalone_mode=False)


@pytest.mark.parametrize(("page", "line"), lines())
def test_the_command_line_is_understood(page, line, parse):
    parse(shlex.split(line, comments=True))


def test_a_wrong_option_would_be_noticed(parse):
    with pytest.raises(Exception, match="--no-such-option"):
        parse(["inspect", "photo.icmh", "--no-such-option"])
