"""Where a run writes its numbers: rows in memory and in a CSV file, and a progress bar."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Row = dict[str, float]
"""Named values of one step; "step" is an int."""


class Sink(Protocol):
    """Takes rows; `close` once at the end."""

    def write(self, row: Row) -> None:
        """Record one row; it has "step" and named values."""

    def close(self) -> None:
        """Flush and close."""


class CsvLog:
    """Rows in memory and, given a path, in a file.

    On resume the rows after the checkpoint are dropped, so the file reads as if the run had not been stopped.

    Attributes:
        rows: All rows.
    """

    def __init__(self, path: Path | None, done: int, writes: bool = True) -> None:
        """Take up the log at `path` after `done` steps; with ``writes=False`` the file is only read."""
        self.rows: list[Row] = [row for row in read_csv(path) if row["step"] <= done] if path and done else []
        self.path = path if writes else None
        self._rewrite()

    def write(self, row: Row) -> None:
        """Append a row. All rows of a log have the same names."""
        self.rows.append(row)
        if len(self.rows) == 1:
            self._rewrite()
        elif self.path:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, list(self.rows[0])).writerow(row)

    def close(self) -> None:
        """Nothing is held open."""

    def _rewrite(self) -> None:
        if self.path is None:
            return
        scratch = self.path.with_suffix(".tmp")
        with scratch.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]) if self.rows else ["step"])
            writer.writeheader()
            writer.writerows(self.rows)
        scratch.replace(self.path)


def read_csv(path: Path) -> list[Row]:
    """The rows of a log; an unfinished last line (a killed run) is left out."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]
    return [{**row, "step": int(row["step"])} for row in rows]


class ProgressBar:
    """Step, rate, distortion, loss, samples/s and the time left, on standard error."""

    def __init__(self, total: int, done: int, enabled: bool, label: str) -> None:
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
        self.progress = Progress(
            *map(_column, columns), TimeRemainingColumn(), console=Console(stderr=True), disable=not enabled
        )
        self.task = self.progress.add_task(label, total=total, completed=done, text="")
        self.started, self.samples = time.perf_counter(), 0

    def advance(self, row: Mapping[str, Any], samples: int) -> None:
        """Show one step's numbers."""
        self.samples += samples
        rate = self.samples / max(time.perf_counter() - self.started, 1e-9)
        text = f"bpp {row['bpp']:.3f}  D {row['distortion']:.4f}  loss {row['loss']:.3f}  {rate:.1f} img/s"
        self.progress.update(self.task, advance=1, text=text)

    def __enter__(self) -> ProgressBar:
        self.progress.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()


def _column(column: Any) -> Any:
    return TextColumn(column) if isinstance(column, str) else column
