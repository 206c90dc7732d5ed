"""``icmh doctor``: what works here, how to mend the rest, and whether streams travel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from icmh_plugins.cli.output import Json, console, error_console, print_json, table
from icmh_plugins.doctor.examine import examine
from icmh_plugins.doctor.finding import Finding
from icmh_plugins.doctor.streams import NOTE, Travel, travel

_CODEC = "mbt2018-mean-n64m96-q1"


def doctor(
    packages: Annotated[
        list[str] | None, typer.Argument(help="Packages to look at, by their import names. Default: everything.")
    ] = None,
    streams: Annotated[
        bool, typer.Option("--streams", help="Also decode a stream under other instruction sets and threads.")
    ] = False,
    codec: Annotated[
        list[str] | None, typer.Option("--codec", help=f"Codec of --streams; may be repeated. Default: {_CODEC}.")
    ] = None,
    json: Json = False,
) -> None:
    """Try every package in a process of its own and name the command that mends each; code 1 if a core one fails."""
    with error_console.status("trying packages ...", spinner="line") as status:
        findings = examine(packages or (), done=lambda name: status.update(f"tried {name} ..."))
        travels = [travel(each, done=lambda name: status.update(f"decoded: {name} ..."))
                   for each in (codec or [_CODEC] if streams or codec else [])]  # fmt: skip
    failed = any(finding.fatal for finding in findings)
    if json:
        note = {"note": NOTE} if travels else {}
        print_json({"ok": not failed, "findings": [each.to_dict() for each in findings],
                    "streams": [each.to_dict() for each in travels], **note})  # fmt: skip
    else:
        _show(findings, travels)
    if failed:
        raise typer.Exit(1)


def _show(findings: Sequence[Finding], travels: Sequence[Travel]) -> None:
    table(
        "What was found",
        ("what", "version", "state", "needed for"),
        ((each.subject, each.version, each.state, each.needed_for) for each in findings),
    )
    for finding in findings:
        if finding.state != "ok" or finding.detail:
            _explain(finding)
    for each in travels:
        _show_travel(each)
    if travels:
        console.print(NOTE, highlight=False)


def _explain(finding: Finding) -> None:
    detail = finding.detail or f"not installed; needed for {finding.needed_for}"
    lines = [f"{finding.subject}: {detail}"]
    lines += [f"  known from: {finding.source}"] if finding.source else []
    lines += [f"  $ {finding.remedy}"] if finding.remedy else []
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _show_travel(travel: Travel) -> None:
    rows = (
        (each.setting, each.capability, each.threads, f"{each.decoded} of {each.pictures}", each.verdict,
         f"{each.difference:.2g}")
        for each in travel.decodings
    )  # fmt: skip
    if travel.decodings:
        columns = ("setting", "instructions", "threads", "decoded", "verdict", "largest difference")
        table(f"Streams of {travel.codec}, {travel.bytes} bytes", columns, rows)
    errors = [f"{each.setting}: {each.detail}" for each in travel.decodings if each.detail]
    console.print("\n".join([*errors, travel.summary()]), markup=False, highlight=False, soft_wrap=True)
