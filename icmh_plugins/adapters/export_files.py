"""The files of an export: written aside, run, compared, and only then put in place."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.export import ExportedProgram

from icmh_plugins.adapters.export_program import make_program, run_program, save_program
from icmh_plugins.adapters.export_sides import Half
from icmh_plugins.adapters.onnx import require_onnx, save_onnx
from icmh_plugins.adapters.onnxruntime import require_onnxruntime, run_onnx
from icmh_plugins.errors import CodecError, ConfigError, DataError, suggest

Saver = Callable[[ExportedProgram, Path], None]
Runner = Callable[[Path, Sequence[Tensor]], list[Tensor]]

FORMATS: Final[Mapping[str, tuple[Saver, Runner]]] = {"pt2": (save_program, run_program), "onnx": (save_onnx, run_onnx)}
"""How files of each format are written and run."""

_NEAR: Final = 1e-3  # of the largest value, in float32; other kernels sum in another order


def check_formats(formats: Sequence[str]) -> None:
    """Refuse unknown formats, and those whose packages are absent.

    Raises:
        ConfigError: None or an unknown one.
        MissingDependencyError: A package for ONNX is absent.
    """
    wrong = [name for name in formats if name not in FORMATS]
    if wrong or not formats or isinstance(formats, str):
        raise ConfigError(f"formats must be a list such as ['pt2'], got {formats!r}.{suggest(str(formats), FORMATS)}")
    if "onnx" in formats:
        require_onnx()
        require_onnxruntime()


def write_half(
    half: Half, folder: Path, formats: Sequence[str], unit: int, units: tuple[int, int] | None
) -> dict[str, float]:
    """Write one half of a codec in every format, and run the files.

    Args:
        half: What becomes the files.
        folder: Where they go.
        formats: Keys of `FORMATS`.
        unit: What heights and widths of its inputs are multiples of.
        units: The fewest and the most of them; None for the size of the first input only.

    Returns:
        For each file the largest difference from what is expected, as a fraction of the largest value expected.

    Raises:
        CodecError: A format cannot express the half, or a file gives something else.
    """
    with _refusing(half.name, fixed=units is None):
        program = make_program(half.module, half.inputs[0], unit, units)
    differences = {}
    for kind in formats:
        path, (save, run) = folder / f"{half.name}.{kind}", FORMATS[kind]
        with _refusing(path.name, fixed=units is None):
            save(program, path)
            outputs = run(path, half.inputs)
        differences[path.name] = max(_difference(*pair) for pair in zip(outputs, half.expected, strict=True))
        _check_near(path.name, differences[path.name], half.expected[0].dtype)
    return differences


@contextmanager
def replacing(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a scratch folder; if the block succeeds, its files take the place of all of `names` in `folder`.

    Raises:
        DataError: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".export-", dir=folder)
    except OSError as error:
        raise DataError(f"cannot write to {str(folder)!r}: {error.strerror}. Remedy: another folder") from error
    with scratch as name:
        yield Path(name)
        for each in names:
            made = Path(name) / each
            made.replace(folder / each) if made.exists() else (folder / each).unlink(missing_ok=True)


@contextmanager
def _refusing(name: str, fixed: bool) -> Iterator[None]:
    """Turn whatever goes wrong in other people's exporters and runtimes into one line with a remedy."""
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0].rstrip(".")
        if "DFT" in reason:
            reason = "the inverse Fourier transform (aten.fft_irfft2) has no form in ONNX that onnxruntime runs"
        limit = "" if fixed else " for pictures of any size"
        remedy = "another format, or without this adapter" if fixed else "size=(height, width)"
        raise CodecError(f"{name} cannot be made{limit}: {reason}. Remedy: {remedy}") from error


def _check_near(name: str, difference: float, dtype: torch.dtype) -> None:
    allowed = max(_NEAR, 16 * torch.finfo(dtype).eps)
    if not difference <= allowed:  # NaN is not near either
        raise CodecError(
            f"{name} would not do what the codec does: its output differs by {difference:.2g} of the largest value, "
            f"{allowed:.2g} is allowed. Remedy: another format, or other adapters"
        )


def _difference(output: Tensor, expected: Tensor) -> float:
    if output.shape != expected.shape:
        return float("inf")
    expected = expected.double().cpu()
    return float((output.double().cpu() - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
