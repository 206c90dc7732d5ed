"""``icmh adapters`` and ``icmh tasks``: what is on offer, from whom. Nothing is imported for it."""

from __future__ import annotations

from typing import Annotated

import typer

from icmh_plugins.cli.output import Json, print_fields, print_json, table
from icmh_plugins.registry import catalog
from icmh_plugins.registry.records import Kind


def _offers(kind: Kind) -> typer.Typer:
    """The command group that lists and shows things of one kind."""
    app = typer.Typer(help=f"List and show {kind}s.", no_args_is_help=True)

    @app.command("list", help=f"List every {kind} on offer.")
    def list_all(json: Json = False) -> None:
        entries = catalog.specs(kind)
        if json:
            print_json([{**entry.to_dict(), "name": name} for name, entry in entries.items()])
            return
        rows = ((name, entry.spec.summary, f"{entry.distribution} {entry.version}") for name, entry in entries.items())
        table(f"{kind.capitalize()}s", ("name", "summary", "from"), rows)

    @app.command(help=f"Show one {kind}.")
    def show(name: Annotated[str, typer.Argument(help="Its name, or dist:name.")], json: Json = False) -> None:
        entry = catalog.find(kind, name)
        (print_json if json else print_fields)(entry.to_dict())

    return app


adapters = _offers("adapter")
tasks = _offers("task")
