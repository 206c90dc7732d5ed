"""What the demo prints."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rich import box
from rich.table import Table
from rich.text import Text

from icmh_plugins.demo.coding import Coded
from icmh_plugins.demo.results import Results

_MINUS = "\N{MINUS SIGN}"


def side_by_side(title: str, left: Sequence[Coded], right: Sequence[Coded], heads: tuple[str, str]) -> Table:
    """A row a picture: what two codecs make of it, side by side; sums and means at the foot.

    Args:
        title: Heading.
        left: Rows of the first codec.
        right: Rows of the second, same pictures in the same order.
        heads: What the two are called.
    """
    table = _table(title)
    table.show_footer = True
    table.add_column("picture", Text("all"))
    for head, rows in zip(heads, (left, right), strict=True):
        table.add_column(head, _foot(rows))
    table.add_column("bits", change(bits(left), bits(right)), justify="right")
    for one, two in zip(left, right, strict=True):
        name = Text.assemble((one.picture, "bold"), "\n", (one.wanted.label, "dim"))
        table.add_row(name, _cell(one), _cell(two), change(one.bits, two.bits))
    return table


def all_rates(results: Results) -> Table:
    """Two rows a rate: means over the pictures, without and with the adapter."""
    table = _table("All rates, means over the pictures")
    table.add_column("rate")
    table.add_column("codec")
    for head in ("bits/pixel", "PSNR", "PSNR for people", "feature distance", "same answer"):
        table.add_column(head, justify="right")
    for rate in dict.fromkeys(row.rate for row in results.coded):
        for codec, first in (("base", rate), ("sfma", "")):
            table.add_row(first, codec, *_means(results.of(codec, rate)))
    return table


def change(before: float, after: float) -> str:
    """A relative change in whole percent: ``−41 %``."""
    return f"{100 * (after / before - 1):+.0f} %".replace("-", _MINUS)


def bits(rows: Sequence[Coded]) -> int:
    """All bits of some streams."""
    return sum(row.bits for row in rows)


def same(rows: Sequence[Coded]) -> str:
    """``7 of 9``: how many answers are those on the uncompressed pictures."""
    return f"{sum(row.same for row in rows)} of {len(rows)}"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))


def _cell(row: Coded) -> Text:
    mark, style = ("✓", "green") if row.same else ("✗", "red")
    return Text.assemble(_numbers(row.bits, row.psnr, row.distance), "\n", (f"{mark} {row.answer.label}", style))


def _foot(rows: Sequence[Coded]) -> Text:
    numbers = _numbers(bits(rows), fmean(row.psnr for row in rows), fmean(row.distance for row in rows))
    return Text(f"{numbers}\n{same(rows)} answers kept")


def _numbers(size: int, psnr: float, distance: float) -> str:
    return f"{size:>7,} {psnr:4.1f} dB {distance:.3f}"


def _means(rows: Sequence[Coded]) -> tuple[str, ...]:
    numbers = ("bpp", 3), ("psnr", 2), ("psnr_human", 2), ("distance", 3)
    means = (f"{fmean(getattr(row, name) for row in rows):.{digits}f}" for name, digits in numbers)
    return (*means, same(rows))
