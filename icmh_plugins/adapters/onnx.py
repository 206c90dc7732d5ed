"""Programs of torch.export as ONNX files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

import torch
from torch.export import ExportedProgram

from icmh_plugins._deps import require

_FEATURE: Final = "exporting to ONNX"


def require_onnx() -> None:
    """Check that ONNX files can be written.

    Raises:
        MissingDependencyError: onnx or onnxscript is absent.
    """
    for package in ("onnx", "onnxscript"):
        require(package, _FEATURE)


def save_onnx(program: ExportedProgram, path: Path) -> None:
    """Write a program as an ONNX file; sizes that are free stay free."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch.onnx tells its developers
        torch.onnx.export(program, dynamo=True, verbose=False).save(str(path))
