"""The folder of ``icmh train``: the resolved run lies beside its results, unless the run is refused at its start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icmh_plugins.cli.runfile import RunFile
from icmh_plugins.errors import IcmhError, TrainingError

RUN_FILE = "run.yaml"


@contextmanager
def kept_run(config: RunFile, fresh: bool) -> Iterator[None]:
    """Store the resolved run while the context lasts, and for good if a step was made in it.

    Args:
        config: The run; the file of one that goes on from a checkpoint stays as it was.
        fresh: The run starts anew even where there is a checkpoint.

    Raises:
        TrainingError: The folder cannot be made or written to.
    """
    from icmh_plugins.training.checkpoint import FILE

    folder = Path(config.out)
    file, made = folder / RUN_FILE, not folder.exists()
    already, steps = set(folder.glob("*")), _steps(folder)
    earlier = file.read_bytes() if file.is_file() else None
    if fresh or not (folder / FILE).exists():
        _store(config, file)
    try:
        yield
    except IcmhError:
        if _steps(folder) == steps:
            _take_back(folder, already)
            if earlier is not None:
                file.write_bytes(earlier)
            if made:
                folder.rmdir()
        raise


def _store(config: RunFile, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(config.to_yaml(), encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"cannot write to out={config.out}: {error.strerror}. Remedy: another `out`") from error


def _steps(folder: Path) -> tuple[str, int]:
    """What tells whether steps were made: the rows of the log, and when the last checkpoint was written."""
    from icmh_plugins.training.checkpoint import FILE

    log, checkpoint = folder / "log.csv", folder / FILE
    rows = log.read_text(encoding="utf-8").partition("\n")[2] if log.is_file() else ""
    return rows, checkpoint.stat().st_mtime_ns if checkpoint.is_file() else 0


def _take_back(folder: Path, already: set[Path]) -> None:
    for path in set(folder.glob("*")) - already:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
