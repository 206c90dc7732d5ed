"""Running ONNX files, to see that they do what they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from icmh_plugins._deps import require

_FATAL_ONLY = 4


def require_onnxruntime() -> ModuleType:
    """The package, which every ONNX file is checked with.

    Raises:
        MissingDependencyError: It is absent.
    """
    return require("onnxruntime", "exporting to ONNX")


def run_onnx(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What a file gives for each input, on the CPU."""
    runtime = require_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [torch.from_numpy(session.run(None, {name: x.cpu().numpy()})[0]) for x in inputs]
