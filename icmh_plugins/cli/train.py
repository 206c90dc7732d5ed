"""``icmh train``: train an adapter from a run file."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icmh_plugins.cli.output import Json, error_console, print_fields, print_json
from icmh_plugins.cli.runfile import RunFile, read_run
from icmh_plugins.cli.runfolder import kept_run
from icmh_plugins.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from icmh_plugins.training.fit import FitResult

_INTERRUPTED = 130  # what shells report for Ctrl-C


def train(
    run: Annotated[Path, typer.Argument(help="Run file (YAML): codec, adapter, task, data, fit, out.")],
    override: Annotated[
        list[str] | None, typer.Argument(help="Changes to it as key=value, for example fit.lmbda=6.7 out=runs/b.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the resolved run and the sites it would train; change nothing.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew even where the run's folder has a checkpoint.")
    ] = False,
    json: Json = False,
) -> None:
    """Train an adapter. A run that was stopped goes on where it was."""
    config = read_run(run, override or [])
    if dry_run:
        _show(config, json)
        return
    result = _fit(config, fresh)
    if _is_main():
        (print_json if json else print_fields)(_summary(config, result))


def _fit(config: RunFile, fresh: bool) -> FitResult:
    from icmh_plugins.data.transforms import RandomCrop
    from icmh_plugins.training.fit import fit

    data = config.data.open(RandomCrop(config.fit.crop) if config.fit.crop else None, config.fit.seed)
    validation = config.validation and config.validation.open(seed=config.fit.seed)
    model = _load_model(config)
    try:
        with kept_run(config, fresh) if _is_main() else nullcontext():
            return fit(
                model, config.task.name, data, task_options=config.task.options, validation=validation,
                out=config.out, resume=not fresh, tensorboard=config.tensorboard, progress=error_console.is_terminal,
                **config.fit.model_dump(),
            )  # fmt: skip
    except KeyboardInterrupt:
        error_console.print(f"stopped; the same command goes on from the checkpoint in {config.out}", soft_wrap=True)
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        _leave_group()


def _load_model(config: RunFile) -> nn.Module:
    """The codec with its adapter, ready to train."""
    import torch

    from icmh_plugins.adapters.attach import attach_adapter
    from icmh_plugins.adapters.store import load_adapter
    from icmh_plugins.codecs.loading import load_codec
    from icmh_plugins.training.trained import trainable_base

    model, adapter = load_codec(config.codec.spec, config.codec.checkpoint), config.adapter
    torch.manual_seed(config.fit.seed)  # of a new adapter's first values
    if adapter and adapter.load:
        load_adapter(model, adapter.load)
    elif adapter and adapter.name:
        attach_adapter(model, adapter.name, sites=adapter.sites, preset=adapter.preset, **adapter.options)
    if config.fit.trains_codec:
        for parameter in trainable_base(model).values():
            parameter.requires_grad_(True)
    return model.to(_device(config.device))


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device {name!r} cannot be used here ({reason}). Remedy: device=auto") from error
    return name


def _show(config: RunFile, json: bool) -> None:
    """The resolved run, and the sites it would train."""
    from icmh_plugins.adapters.describe import describe

    description = describe(_load_model(config))
    if json:
        print_json({"run": config.model_dump(mode="json"), "sites": description.to_dict()})
        return
    typer.echo(config.to_yaml())
    typer.echo(repr(description))


def _summary(config: RunFile, result: FitResult) -> dict[str, Any]:
    from icmh_plugins.adapters.file import CONFIG

    last = result.history[-1] | (result.validation[-1] if result.validation else {})
    adapters = [str(path.parent) for path in sorted(Path(config.out).glob(f"*/{CONFIG}"))]
    return {
        "out": config.out,
        "adapters": tuple(adapters),
        "steps": result.steps,
        "resumed_at": result.resumed_at,
        "seconds": round(result.seconds, 2),
        "samples_per_second": round(result.samples_per_second, 2),
        **{key: value for key, value in last.items() if key != "step"},
    }


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _leave_group() -> None:
    """Part from the other processes, if there are any."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
