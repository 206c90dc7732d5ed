"""Commands that are imported only when they run, so that help and listings stay fast."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from icmh_plugins.cli.output import print_error
from icmh_plugins.errors import IcmhError, PluginError
from icmh_plugins.registry import catalog
from icmh_plugins.registry.records import Entry
from icmh_plugins.registry.targets import import_target


class LazyCommand(TyperCommand):
    """Stands for a command in help texts; imports the real one when arguments are to be parsed."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=escape(entry.spec.summary))
        self._entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Import the command and let it parse `args`; what is invoked afterwards is the real command."""
        command = _real_command(self._entry)
        return command.make_context(info_name, args, parent=parent, **extra)


class LazyGroup(TyperGroup):
    """The `icmh` command: its subcommands come from the registry, and our errors become one line.

    Attributes:
        debug: Show tracebacks of our own errors.
    """

    debug: bool = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands, built-ins first."""
        return list(_commands())

    def get_command(self, ctx: Any, cmd_name: str) -> LazyCommand:
        """The command of that bare or qualified name, not imported yet.

        Raises:
            PluginError: The name is unknown or ambiguous.
        """
        return LazyCommand(cmd_name, _commands().get(cmd_name) or catalog.find("command", cmd_name))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run; an `IcmhError` is printed as one line and ends with exit code 2."""
        try:
            return super().main(args, *rest, **extra)
        except IcmhError as error:
            if self.debug:
                raise
            print_error(error)
            sys.exit(2)


def _commands() -> dict[str, Entry]:
    # A plug-in that prints while it is imported must not spoil what a command writes to stdout.
    with contextlib.redirect_stdout(sys.stderr):
        return catalog.specs("command")


def _real_command(entry: Entry) -> Any:
    target = import_target(entry)
    host = typer.Typer(add_completion=False)
    if isinstance(target, typer.Typer):
        host.add_typer(target, name=entry.name)
    elif callable(target):
        host.command(entry.name)(target)
    else:
        raise PluginError(f"The command {entry.qualified_name!r} must be a function or a typer app, got {target!r}.")
    return typer.main.get_group(host).commands[entry.name]
