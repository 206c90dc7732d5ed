"""Every command line in the README, in docs/ and in the examples names what exists, with options that it takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from icmh_plugins.cli.app import app

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ICMH = re.compile(r"(?:.* -m icmh_plugins|icmh) (.*)")
FILES = re.compile(r"(?<![\w./-])(?:benchmarks|examples|tests|scripts)/[\w./-]+")
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
OTHERS = ("pip", "python", ".venv/bin/python", "pytest", "cd", "git", "accelerate", "torchrun")


def lines() -> list[tuple[str, str]]:
    """Page and text of each command line; continued lines are joined, comments dropped later."""
    texts = ((page, block) for page in PAGES for block in BLOCK.findall(page.read_text(encoding="utf-8")))
    joined = ((page, re.sub(r"\\\n\s*", "", block)) for page, block in texts)
    return [
        (str(page.relative_to(ROOT)), line)
        for page, block in joined
        for line in re.findall(r"^\$ (.+)$", block, re.MULTILINE)
    ]


@pytest.fixture
def parse(monkeypatch):
    """Parse arguments as `icmh` would, and do nothing."""
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda self, context: None)
    command = typer.main.get_command(app)
    return lambda arguments: command.main(arguments, prog_name="icmh", standalone_mode=False)


@pytest.mark.parametrize(("page", "line"), lines())
def test_the_command_line_is_understood(page, line, parse):
    words = shlex.split(line, comments=True)
    if arguments := ICMH.match(line):
        parse(shlex.split(arguments[1], comments=True))
    elif words[0] == "make":
        assert {word for word in words[1:] if "=" not in word} <= TARGETS
    else:
        assert words[0] in OTHERS
        assert all((ROOT / file).exists() for file in FILES.findall(" ".join(words)))
    wanted = re.findall(r"icmh-plugins\[([\w,-]+)\]", line)
    assert {extra for extras in wanted for extra in extras.split(",")} <= EXTRAS.keys()


def test_a_wrong_option_would_be_noticed(parse):
    with pytest.raises(Exception, match="--no-such-option"):
        parse(["inspect", "photo.icmh", "--no-such-option"])
