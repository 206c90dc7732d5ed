"""``icmh eval``: measure a codec on real streams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from icmh_plugins._config import validate_config
from icmh_plugins.cli.datasection import DataSection
from icmh_plugins.cli.models import Adapters, Checkpoint, Codec, load_model
from icmh_plugins.cli.output import Json, claim_folder, claim_output, error_console, print_json, table
from icmh_plugins.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from icmh_plugins.evaluation.result import EvaluationResult

_PICTURED = 3
_SEED = 1  # of degradations; training starts from 0


Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="Folder of pictures, CSV of files and labels, or 'coco:FOLDER,ANNOTATIONS.json' "
        "('coco-masks:...' with masks).",
    ),
]


def evaluate(
    codec: Codec,
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", help="Result file (JSON, read by CompressAI's plot too).")],
    checkpoint: Checkpoint = None,
    adapter: Adapters = None,
    clean: Annotated[
        Path | None, typer.Option("--clean", help="Folder of the ideal pictures, if --data has degraded ones.")
    ] = None,
    degrade: Annotated[
        list[str] | None, typer.Option("--degrade", help="Degrade the pictures first ('noisy', ...); may be repeated.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Take --data as a tree of pairs, DATA/SPLIT/<word>/{LQ,GT}.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Task to measure; without, rate and fidelity.")] = None,
    task_option: Annotated[
        list[str] | None, typer.Option("--task-option", help="Option of the task as key=value; may be repeated.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Task metric to report; may be repeated. Default: all.")
    ] = None,
    view: Annotated[
        list[str] | None, typer.Option("--view", help="Further view to score: 'human', or an adapter's name.")
    ] = None,
    protocol: Annotated[
        str, typer.Option("--protocol", help="native, adapt-icmh, transtic or adapt-icmh-cls: sizes, pixels counted.")
    ] = "native",
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the curve; results of one name are joined.")
    ] = None,
    label: Annotated[str, typer.Option("--label", help="Name of this rate point, for tables.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take the first images only.")] = None,
    save_streams: Annotated[Path | None, typer.Option("--save-streams", help="Folder for the streams.")] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="File of records, to go on after a stop.")] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help=f"Folder for maps and views of the first {_PICTURED} pictures.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the result file.")] = False,
    json: Json = False,
) -> None:
    """Code every picture to a real stream, decode it, and measure rate, fidelity and the task."""
    claim_output(output, force)
    if figures is not None:
        claim_folder(figures)
    options = _options(task_option or [])
    section = {"source": data, "degrade": degrade or [], "clean": clean and str(clean), "split": split}
    pictures = validate_config(DataSection, section, owner="what is measured").open(seed=_SEED)
    from icmh_plugins.evaluation.evaluate import evaluate as measure

    model = load_model(codec, checkpoint, adapter or [])
    result = measure(
        model, task, pictures, task_options=options, metrics=metric, views=view or (), name=name, label=label,
        protocol=protocol, limit=limit, save_streams=save_streams, resume=resume,
        progress=not json and error_console.is_terminal,
    )  # fmt: skip
    result.save(output)
    if figures is not None:
        _draw(model, pictures, figures)
    _show(result, protocol, json)


def _show(result: EvaluationResult, protocol: str, json: bool) -> None:
    if json:
        print_json(result.to_json())
        return
    title = f"{result.curve.name}, {len(result.images)} images, protocol {protocol}"
    table(title, ("measure", "mean"), ((key, result.text(key)) for key in result.values))


def _options(pairs: Sequence[str]) -> dict[str, Any]:
    """``key=value`` pairs, values as YAML reads them."""
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--task-option takes key=value, got {pair!r}")
        options[key] = yaml.safe_load(value)
    return options


def _draw(model: nn.Module, data: Any, folder: Path) -> None:
    from icmh_plugins.adapters.host import host_of
    from icmh_plugins.data.sources import open_data
    from icmh_plugins.viz.maps import plot_maps
    from icmh_plugins.viz.pictures import plot_views

    host, dataset = host_of(model), open_data(data)
    for index in range(min(_PICTURED, len(dataset))):
        sample = dataset[index]
        stem = Path(sample["name"]).stem
        plot_views(model, sample["image"], folder / f"{index:02d}-{stem}-views.png")
        if host and host.active:
            plot_maps(model, sample["image"], folder / f"{index:02d}-{stem}-maps.png")
