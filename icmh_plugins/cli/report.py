"""``icmh report``: results to plots, comparisons and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icmh_plugins.cli.output import Json, claim_output, print_fields, print_json, table
from icmh_plugins.errors import DataError

if TYPE_CHECKING:
    from icmh_plugins.evaluation.compare import Comparison
    from icmh_plugins.evaluation.curves import RateCurve
    from icmh_plugins.viz.report import Picture


def report(
    results: Annotated[
        list[Path], typer.Argument(help="Result files; those of one name make a curve, the first curve is the anchor.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write.")],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Quality to plot; may be repeated. Default: all in common.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", help="Published curve to draw dashed: 'adapt-icmh', 'transtic'.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option("--figures", help="Folder of PNG files to include.")] = None,
    title: Annotated[str, typer.Option("--title", help="Heading.")] = "Rate and accuracy",
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    json: Json = False,
) -> None:
    """Compare results with the first one and write an HTML report."""
    claim_output(output, force)
    from icmh_plugins.viz.report import write_report

    curves = _curves(results)
    comparisons = write_report(
        curves, output, metrics=metric, against=against or (), pictures=_pictures(pictures), title=title
    )
    if json:
        print_json({"report": str(output), "comparisons": [each.to_dict() for each in comparisons]})
        return
    if comparisons:
        rows = (_row(each) for each in comparisons)
        table(f"Compared with {curves[0].name}", ("codec", "quality", "BD-rate", "BD-quality"), rows)
    print_fields({"report": str(output)})


def _row(comparison: Comparison) -> tuple[str, ...]:
    from icmh_plugins.viz.display import display

    shown = display(comparison.metric)
    quality = comparison.quality.text(shown.unit, shown.factor)
    return comparison.test, shown.axis, comparison.rate.text("%"), quality


def _curves(paths: Sequence[Path]) -> list[RateCurve]:
    from icmh_plugins.evaluation.curves import RateCurve, join

    groups: dict[str, list[RateCurve]] = {}
    for path in paths:
        curve = RateCurve.load(path)
        groups.setdefault(curve.name, []).append(curve)
    return [join(name, group) for name, group in groups.items()]


def _pictures(folder: Path | None) -> list[Picture]:
    from icmh_plugins.viz.report import Picture

    if folder is None:
        return []
    files = sorted(folder.glob("*.png"))
    if not files:
        raise DataError(f"no PNG files in {str(folder)!r}; write some with icmh eval --figures")
    return [Picture(path, path.stem.replace("-", " ")) for path in files]
