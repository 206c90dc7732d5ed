"""How commands talk: results on stdout (tables or JSON), logs and errors on stderr."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from icmh_plugins.bitstream.files import refuse_clashes
from icmh_plugins.errors import DataError

console = Console()
error_console = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]
"""The ``--json`` option, the same in every command."""


def claim_output(path: Path, force: bool) -> None:
    """Check, before any work is done, that `path` can be written; its folder is made.

    Raises:
        DataError: It exists and `force` is off, it is a folder, or its folder cannot be made or written to.
    """
    refuse_clashes([path], force)
    claim_folder(path.parent)


def claim_folder(folder: Path) -> None:
    """Make a folder and check that files can be written to it.

    Raises:
        DataError: They cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"cannot write to {str(folder)!r}: {error.strerror}. Remedy: another output") from error


def print_json(value: Any) -> None:
    """Write `value` to stdout as indented JSON, whatever the width of the terminal.

    Args:
        value: Anything `json.dumps` takes; tuples become lists.
    """
    sys.stdout.write(f"{json.dumps(value, indent=2)}\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to stdout; cells are shown whole and as they are, square brackets included.

    Args:
        title: Heading.
        columns: Column names; the first column is never wrapped.
        rows: Cells, as many a row as there are columns.
    """
    grid = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        grid.add_column(column, overflow="fold", no_wrap=position == 0)
    for row in rows:
        grid.add_row(*(Text(str(cell)) for cell in row))
    console.print(grid)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one thing as aligned lines ``name  value``; empty values are left out."""
    grid = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        if value not in ("", (), None):
            grid.add_row(name.replace("_", " "), Text(", ".join(value) if isinstance(value, tuple) else str(value)))
    console.print(grid)


def print_error(error: Exception) -> None:
    """Write one red line ``error: ...`` to stderr."""
    message = Text(f"error: {' '.join(str(error).split())}", style="red")
    error_console.print(message, soft_wrap=True)


def install_logging(debug: bool) -> None:
    """Show this package's log on stderr: from INFO on, or everything and other libraries' warnings with `debug`."""
    from rich.logging import RichHandler

    logger = logging.getLogger("icmh_plugins")
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    if not logger.handlers:
        logger.addHandler(RichHandler(console=error_console, show_time=False, show_path=debug))
    if not debug:  # what torch and numpy tell developers (deprecations, denormals) is not for users of a command
        for module in ("torch", "numpy", "timm"):
            warnings.filterwarnings("ignore", module=module)
