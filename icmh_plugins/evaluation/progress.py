"""The progress bar of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from icmh_plugins.evaluation.records import ImageRecord


@contextmanager
def progress_bar(total: int, done: int, visible: bool) -> Iterator[Callable[[ImageRecord], None]]:
    """Give a function to be called after each image; the bar, on stderr, shows count, rate, PSNR and time left.

    Args:
        total: Images in all.
        done: Images an earlier run has done.
        visible: False shows nothing.
    """
    columns = (
        TextColumn("measuring"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[now]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not visible) as bar:
        task = bar.add_task("images", total=total, completed=done, now="")

        def advance(record: ImageRecord) -> None:
            values = record.values()
            bar.update(task, advance=1, now=f"{values['bpp']:.3f} bpp  {values['psnr-rgb']:.2f} dB")

        yield advance
