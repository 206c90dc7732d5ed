"""TensorBoard as a log."""

from __future__ import annotations

from pathlib import Path

from icmh_plugins._deps import require
from icmh_plugins.training.logs import Row


class TensorBoardLog:
    """Writes every value of a row as a scalar."""

    def __init__(self, folder: Path, done: int = 0) -> None:
        """Log to `folder`; what an earlier run logged there after `done` steps is superseded."""
        require("tensorboard", "the TensorBoard log")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=done + 1)

    def write(self, row: Row) -> None:
        """Record one row under its step."""
        for key, value in row.items():
            if key != "step":
                self.writer.add_scalar(key, value, int(row["step"]))

    def close(self) -> None:
        """Flush and close."""
        self.writer.close()
