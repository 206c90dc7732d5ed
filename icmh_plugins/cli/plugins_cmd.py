"""``icmh plugins``: what was found, what works, and why the rest does not."""

from __future__ import annotations

from typing import Annotated

import typer

from icmh_plugins.cli.output import Json, console, print_fields, print_json, table
from icmh_plugins.errors import PluginError, UnknownPluginError, suggest
from icmh_plugins.registry import catalog
from icmh_plugins.registry.manager import STRICT_VARIABLE
from icmh_plugins.registry.records import PluginRecord

plugins = typer.Typer(help="List and show plug-ins.", no_args_is_help=True)


@plugins.command("list")
def list_all(json: Json = False) -> None:
    """List every plug-in found, working or not."""
    records = catalog.list_plugins()
    if json:
        print_json([record.to_dict() for record in records])
        return
    columns = ("plug-in", "version", "state", "ms", "provides", "remark")
    table("Plug-ins", columns, ((r.name, r.version, r.state, r.milliseconds, _counts(r), r.reason) for r in records))


@plugins.command()
def show(
    name: Annotated[str, typer.Argument(help="dist:entry, or the distribution alone.")], json: Json = False
) -> None:
    """Show one plug-in."""
    record = _find(name)
    if json:
        print_json(record.to_dict())
        return
    fields = record.to_dict()
    about = fields.pop("info")
    print_fields({**fields, "provides": _names(record), **about})
    if record.state == "failed":
        console.print(f"{STRICT_VARIABLE}=1 shows the traceback.", highlight=False)


def _counts(record: PluginRecord) -> str:
    return ", ".join(f"{len(names)} {kind}{'s' * (len(names) > 1)}" for kind, names in record.provides.items())


def _names(record: PluginRecord) -> str:
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in record.provides.items())


def _find(name: str) -> PluginRecord:
    records = catalog.list_plugins()
    matches = [record for record in records if name in (record.name, record.distribution)]
    if not matches:
        raise UnknownPluginError(f"There is no plug-in {name!r}.{suggest(name, (r.name for r in records))}")
    if len(matches) > 1:
        raise PluginError(f"{name} has several plug-ins: say {' or '.join(r.name for r in matches)}.")
    return matches[0]
