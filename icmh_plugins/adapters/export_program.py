"""Modules as programs of torch.export: making, saving, running."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from icmh_plugins.adapters.tiling import untiled

LARGEST: Final = 2**14
"""Height and width up to which a program without a fixed size takes pictures, pixels."""


def make_program(module: nn.Module, x: Tensor, unit: int, units: tuple[int, int] | None) -> ExportedProgram:
    """A module as a program.

    Args:
        module: Maps one tensor to one tensor.
        x: An input (1, C, H, W).
        unit: What heights and widths are multiples of.
        units: The fewest and the most of them in a height or width; None for a program of the size of `x` only.
    """
    shapes = None
    if units is not None:
        height, width = (Dim(axis, min=units[0], max=units[1]) for axis in ("height", "width"))
        shapes = ({2: unit * height, 3: unit * width} if unit > 1 else {2: height, 3: width},)
    with torch.no_grad(), untiled():
        program = torch.export.export(module, (x,), dynamic_shapes=shapes, strict=False)
        return program.run_decompositions({})  # else autocast regions remain, which cannot always be saved


def save_program(program: ExportedProgram, path: Path) -> None:
    """Write a program; `torch.export.load` reads it, with nothing of this package."""
    torch.export.save(program, path)


def run_program(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What a saved program gives for each input."""
    module = torch.export.load(path).module()
    with torch.no_grad():
        return [module(x) for x in inputs]
