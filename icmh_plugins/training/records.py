"""What a run leaves behind while it goes: logs, validations, checkpoints, a progress bar."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from torch import nn

from icmh_plugins.training.checkpoint import Checkpoint
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.logs import CsvLog, ProgressBar, Row, Sink
from icmh_plugins.training.validation import Validation


class Records:
    """Keeps the rows of a run; the main process also writes them, and checkpoints, to the run's folder.

    Attributes:
        history: Rows of training, one every `log_every` steps.
        validation: Rows of validation, one every `checkpoint_every` steps.
    """

    def __init__(
        self,
        config: FitConfig,
        checkpoint: Checkpoint | None,
        done: int,
        *,
        main: bool,
        validate: Validation | None,
        tensorboard: bool,
        bar: ProgressBar,
    ) -> None:
        """Take up the logs after `done` steps, beside `checkpoint` (None: keep everything in memory)."""
        self.config, self.bar, self.main = config, bar, main
        self.checkpoint = checkpoint if main else None
        self.validate = validate if main else None
        folder = checkpoint.folder if checkpoint else None
        self.history = CsvLog(folder and folder / "log.csv", done, writes=main)
        self.validation = CsvLog(folder and folder / "validation.csv", done, writes=main and validate is not None)
        self.board = _board(folder, done) if tensorboard and folder and main else ()

    def add(self, row: Row, model: nn.Module) -> None:
        """Take the row of a finished step."""
        step = int(row["step"])
        last = step == self.config.steps
        self.bar.advance(row, self.config.batch_size)
        if last or step % self.config.log_every == 0:
            self._write(self.history, row)
        if last or step % self.config.checkpoint_every == 0:
            if self.validate:
                self._write(self.validation, {"step": step, **self.validate.measure(model)})
            self.save(step)

    def save(self, step: int) -> None:
        """Write a checkpoint, where there is a folder to write it to."""
        if self.checkpoint:
            self.checkpoint.save(step)

    def __enter__(self) -> Records:
        self.bar.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.__exit__(kind, error, trace)
        for sink in self.board:
            sink.close()

    def _write(self, log: CsvLog, row: Row) -> None:
        for sink in (log, *self.board):
            sink.write(row)


def _board(folder: Path, done: int) -> tuple[Sink, ...]:
    from icmh_plugins.training.tensorboard import TensorBoardLog

    return (TensorBoardLog(folder / "tensorboard", done),)
