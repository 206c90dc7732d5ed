"""``icmh demo``: the main job on real parts, offline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from icmh_plugins.cli.output import Json, error_console, print_json

if TYPE_CHECKING:
    from icmh_plugins.demo.session import Session

_STOPPED = 130


def demo(
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of pictures. Default: nine photographs that are installed.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder to write; what an earlier demo wrote there is replaced.")
    ] = Path("icmh-demo"),
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of live training.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="All of it at its smallest: shows that everything works, measures nothing.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of live training.")] = 0,
    json: Json = False,
) -> None:
    """Code real pictures without and with adapters, train an adapter live, write a report. Offline, about 5 minutes."""
    from icmh_plugins.demo.session import Session
    from icmh_plugins.demo.settings import FULL, QUICK

    settings = QUICK if quick else FULL
    settings = settings if steps is None else replace(settings, steps=steps)
    session = Session(out, images, settings, seed=seed, progress=not json and error_console.is_terminal)
    console = Console(quiet=json, highlight=False)
    stopped = _run(session, console)
    _conclude(session, console)
    if json:
        print_json(session.results.to_json())
    if stopped:
        error_console.print("stopped; what was done by then is kept")
        raise typer.Exit(_STOPPED)


def _run(session: Session, console: Console) -> bool:
    """Run all stages, or as many as Ctrl-C allows; returns whether it was pressed."""
    from icmh_plugins.demo import tables, words

    results = session.results
    console.print(words.opening(results))
    try:
        for quality in session.settings.rates:
            session.code(quality)
            rows = (results.of(codec, f"q{quality}") for codec in ("base", "sfma"))
            console.print(tables.side_by_side(f"Rate q{quality}", *rows, ("base codec", "with shipped SFMA")))
        console.print(tables.all_rates(results))
        console.rule("live training")
        done = session.train()
        console.print(words.after_training(done))
        title = "The pictures it was not trained on"
        console.print(tables.side_by_side(title, done.before, done.after, ("before training", "after training")))
    except KeyboardInterrupt:
        return True
    return False


def _conclude(session: Session, console: Console) -> None:
    from icmh_plugins.demo import words

    if not session.results.coded:
        return
    report = session.report()
    console.rule("what was shown")
    console.print(words.closing(session.results))
    console.print(words.look(session.folder, report), soft_wrap=True)
