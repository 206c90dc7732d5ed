"""The YOLOv8n-seg graph, run by the reader that lies beside its weights."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.errors import DataError
from icmh_yolo.decode import CLASSES

LEVELS = {"p3": 331, "p4": 351, "p5": 371}
"""Numbers in the graph of the neck's outputs, of strides 8, 16 and 32."""

SCORES = "scores"
"""Name of one more level: the class scores of all candidates, which lie on the cells of the others."""

READER = "graph_reader.py"


class YoloGraph(nn.Module):
    """A frozen graph for pictures (B, 3, S, S) in [0, 1].

    Attributes:
        side: S.
    """

    def __init__(self, folder: str | Path, file: str) -> None:
        """Read the graph, without unpickling code, and its reader.

        Raises:
            DataError: A file is missing, or the graph is none of YOLOv8-seg.
        """
        super().__init__()
        folder = Path(folder)
        for path in (folder / file, folder / READER):
            if not path.is_file():
                raise DataError(f"{path} does not exist; folder=... is where the weights and {READER} are")
        self._reader = folder / READER
        graph = torch.load(folder / file, map_location="cpu", weights_only=True)
        if not _fits(graph):
            raise DataError(f"{folder / file} is not the graph of YOLOv8n-seg that this was written for")
        constants = _imported(self._reader).weights(graph)
        self._keys = tuple(constants)
        for index, key in enumerate(self._keys):
            self.register_buffer(f"constant{index}", constants[key], persistent=False)
        self._whole = {key: value for key, value in graph.items() if key != "tensors"}
        self._neck = _part(self._whole, list(LEVELS.values()))
        self._scored = _part(self._whole, [*LEVELS.values(), graph["outputs"][0]])
        self.side = max(graph["in_shape"])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Candidates (B, 116, N): box centre and size in shares of S, 80 scores, 32 mask coefficients; prototypes."""
        candidates, prototypes = self._run(self._whole, x)
        return candidates, prototypes

    def levels(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs (B, C, S/8, S/8), ... of the neck by name; what comes after it is not computed."""
        return _named(self._run(self._neck, x))

    def scored_levels(self, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As `levels`, and the class scores (B, 80, S/8, S/8), ... of the candidates at each."""
        *neck, candidates = self._run(self._scored, x)
        levels = _named(neck)
        cells = [level.shape[-2:].numel() for level in levels.values()]
        maps = candidates[:, 4 : 4 + CLASSES].split(cells, dim=2)
        scores = {n: m.unflatten(2, level.shape[-2:]) for (n, level), m in zip(levels.items(), maps, strict=True)}
        return levels, scores

    def _run(self, graph: dict[str, Any], x: Tensor) -> list[Tensor]:
        constants = {key: getattr(self, f"constant{index}") for index, key in enumerate(self._keys)}
        return _imported(self._reader).run(graph, x, constants)


def _named(neck: list[Tensor]) -> dict[str, Tensor]:
    return {name: level.permute(0, 3, 1, 2) for name, level in zip(LEVELS, neck, strict=True)}


def _fits(graph: Any) -> bool:
    keys = {"tensors", "ops", "outputs", "in_shape"}
    if not isinstance(graph, dict) or not keys <= graph.keys() or len(graph["outputs"]) != 2:
        return False
    return set(LEVELS.values()) <= {op["out"] for op in graph["ops"]}


@functools.cache
def _imported(path: Path) -> ModuleType:
    """The reader; no attribute of the network, which then can be copied and pickled."""
    spec = importlib.util.spec_from_file_location("icmh_yolo_graph_reader", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _part(graph: dict[str, Any], outputs: list[int]) -> dict[str, Any]:
    """The graph up to other outputs."""
    needed, kept = set(outputs), []
    for op in reversed(graph["ops"]):
        if op["out"] in needed:
            needed.update(op["in"])
            kept.append(op)
    return {**graph, "ops": kept[::-1], "outputs": outputs}
