"""What a package must do to count as working. Runs in a process of its own: a crash here is an answer.

A check imports what it needs through importlib, since which packages are there is the question.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from icmh_plugins.doctor.packages import PACKAGES
from icmh_plugins.errors import in_words

Facts = Mapping[str, Any]
"""What a check tells beside success: "remark", and facts of the machine."""


def tried(module: str) -> dict[str, Any]:
    """Try the package `module`.

    Returns:
        "version" and what its check tells, or "error" and "missing": the top-level module that is not installed.
    """
    package = next(package for package in PACKAGES if package.module == module)
    check = CHECKS.get(module, _imports)
    try:
        facts = {**check(module)}
        for part in package.parts:
            importlib.import_module(part)
    except BaseException as error:  # packages raise anything while they are imported
        missing = error.name if isinstance(error, ModuleNotFoundError) and "." not in (error.name or ".") else ""
        return {"missing": missing, "error": in_words(error)[:500]}
    return {"version": str(getattr(sys.modules.get(module), "__version__", "")), **facts}


def _imports(module: str) -> Facts:
    importlib.import_module(module)
    return {}


def _torch(module: str) -> Facts:
    torch = importlib.import_module(module)
    if float((torch.ones(2, 2) @ torch.ones(2, 2)).sum()) != 8:
        raise ArithmeticError("a product of matrices of ones is wrong")
    cuda = torch.cuda.is_available()
    return {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "onednn": torch.backends.mkldnn.is_available(),
        "cuda": torch.cuda.get_device_name(0) if cuda else "",
        "cuda_build": torch.version.cuda or "",
    }


def _numpy(module: str) -> Facts:
    importlib.import_module(module)
    if importlib.util.find_spec("torch") is not None:
        importlib.import_module("torch").ones(1).numpy()  # fails where torch was built for another numpy
    return {}


def _torchvision(module: str) -> Facts:
    importlib.import_module(module)
    torch = importlib.import_module("torch")
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.9], [8.0, 8.0, 9.0, 9.0]])
    kept = torch.ops.torchvision.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    if kept.tolist() != [0, 2]:
        raise ArithmeticError(f"torchvision::nms keeps {kept.tolist()} instead of [0, 2]")
    return {}


def _compressai(module: str) -> Facts:
    importlib.import_module(module)
    ans, tables = importlib.import_module("compressai.ans"), importlib.import_module("compressai._CXX")
    table = tables.pmf_to_quantized_cdf([0.5, 0.25, 0.25], 16)
    symbols, settings = [0, 1, 0, 1], ([0] * 4, [table], [len(table)], [0])
    string = ans.RansEncoder().encode_with_indexes(symbols, *settings)
    if ans.RansDecoder().decode_with_indexes(string, *settings) != symbols:
        raise ArithmeticError("the range coder does not decode what it codes")
    return {}


def _basicsr(module: str) -> Facts:
    """By the way we use it, which mends its import."""
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    torch = importlib.import_module("torch")
    compare = importlib.import_module("icmh_plugins.tasks.basicsr").compare
    black = torch.zeros(1, 3, 32, 32)
    if float(compare("psnr", black, black + 1)) != 0:
        raise ArithmeticError("its PSNR of black and white is not 0")
    moved = importlib.util.find_spec("torchvision.transforms.functional_tensor") is None
    remark = "'import basicsr' alone fails beside torchvision 0.17 and later; here it works by a contained correction"
    return {"remark": remark} if moved else {}


CHECKS: Final[Mapping[str, Callable[[str], Facts]]] = {
    "torch": _torch,
    "numpy": _numpy,
    "torchvision": _torchvision,
    "compressai": _compressai,
    "basicsr": _basicsr,
}
