"""The `icmh` command."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from icmh_plugins._version import __version__
from icmh_plugins.cli.lazy import LazyGroup
from icmh_plugins.cli.output import install_logging
from icmh_plugins.registry.files import load_plugin_file

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _set_debug(ctx: typer.Context, debug: bool) -> None:
    install_logging(debug)
    ctx.command.debug = debug


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"icmh-plugins {__version__}")
        raise typer.Exit


def _load_plugins(files: list[Path] | None) -> None:
    # What a file prints while it is read must not spoil what a command writes to stdout.
    with contextlib.redirect_stdout(sys.stderr):
        for file in files or []:
            load_plugin_file(file)


@app.callback()
def icmh(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", envvar="ICMH_DEBUG", callback=_set_debug, is_eager=True, help="Show tracebacks and all messages."
        ),
    ] = False,
    plugins: Annotated[
        list[Path] | None,
        typer.Option(
            "--plugins",
            metavar="FILE.py",
            callback=_load_plugins,
            is_eager=True,
            help="A Python file with adapters or tasks of your own; may be repeated.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Adapt any CompressAI-compatible image codec to machine tasks, code real streams, measure."""


def main() -> None:
    """Entry point of the `icmh` script and of ``python -m icmh_plugins``."""
    app(prog_name="icmh")
