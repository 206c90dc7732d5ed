"""``icmh plugins``: what was found, what works, why the rest does not, and whether a package may be published."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from icmh_plugins.cli.output import Json, console, error_console, print_fields, print_json, table
from icmh_plugins.errors import PluginError, UnknownPluginError, suggest
from icmh_plugins.registry import catalog
from icmh_plugins.registry.manager import STRICT_VARIABLE
from icmh_plugins.registry.records import PluginRecord

plugins = typer.Typer(help="List, show and check plug-ins.", no_args_is_help=True)


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


@plugins.command()
def check(
    distribution: Annotated[str, typer.Argument(help="The package, or FILE.py of `icmh --plugins FILE.py`.")],
    settings: Annotated[
        Path | None,
        typer.Option("--settings", metavar="FILE.py", help="Test file whose conformance classes say the options."),
    ] = None,
    real_codecs: Annotated[bool, typer.Option("--real-codecs", help="CompressAI's models too; takes minutes.")] = False,
    json: Json = False,
) -> None:
    """Run the conformance kit on a package and all that it offers; exit code 1 if a check fails."""
    if real_codecs:
        os.environ["ICMH_REAL_CODECS"] = "1"
    # By import string: the kit is above the commands, and imports torch.
    kit = importlib.import_module("icmh_plugins.testing.distribution")
    todo = [(suite, each) for suite in kit.suites_of(distribution, settings) for each in suite.checks()]
    bar = track(todo, "checking", console=error_console, transient=True)
    results = [kit.run_check(suite, each) for suite, each in bar]
    passed = all(result.ok for result in results)
    if json:
        print_json({"distribution": distribution, "passed": passed, "results": [r.to_dict() for r in results]})
    else:
        _print_results(distribution, results)
    if not passed:
        raise typer.Exit(1)


def _print_results(distribution: str, results: list[Any]) -> None:
    """One line for each subject, then what is wrong and what was expected to be."""
    columns = ("what", "passed", "failed", "skipped", "seconds")
    rows = []
    for subject in dict.fromkeys(result.subject for result in results):
        own = [result for result in results if result.subject == subject]
        counts = Counter(result.outcome for result in own)
        failed = counts["failed"] + counts["unexpected pass"]
        seconds = f"{sum(result.seconds for result in own):.1f}"
        rows.append((subject, counts["passed"], failed, counts["skipped"], seconds))
    table(f"Conformance of {distribution}", columns, rows)
    for result in results:
        if not result.ok or result.outcome == "expected failure":
            style = "yellow" if result.ok else "red"
            line = f"{result.subject}, {result.check}, {result.outcome}: {result.message}"
            console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


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
