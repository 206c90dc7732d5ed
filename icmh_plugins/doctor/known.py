"""Quarrels between packages that are known, as data with their provenance, and who mends them how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from icmh_plugins.doctor.finding import State
from icmh_plugins.doctor.versions import numbers, satisfies

ABSENT: Final = "absent"
"""In place of a specifier: the distribution is not installed."""

ANY: Final = "*"
"""In place of a package: every one."""

TORCHVISION: Final = {
    (2, 6): (0, 21),
    (2, 7): (0, 22),
    (2, 8): (0, 23),
    (2, 9): (0, 24),
    (2, 10): (0, 25),
    (2, 11): (0, 26),
    (2, 12): (0, 27),
    (2, 13): (0, 28),
    (2, 14): (0, 29),
}
"""The torchvision of each torch, from the requirements that the wheels of torchvision declare."""

_DETECTRON2 = "git+https://github.com/facebookresearch/detectron2.git"
_REBUILD = f"python -m pip install --force-reinstall --no-deps --no-build-isolation '{_DETECTRON2}'"
_INSTALL_PAGE = "detectron2's INSTALL.md, 'Common Installation Issues'"


@dataclass(frozen=True, slots=True)
class Known:
    """One known quarrel.

    Attributes:
        package: Module whose finding it is, "python", or `ANY`.
        state: What that finding then is.
        why: One line.
        remedy: A command; ``{distribution}`` stands for the package's.
        source: Provenance.
        error: Regular expression that the error of its trial matches; empty where the versions tell.
        versions: Specifiers of distributions ("" for any version, `ABSENT`) that must all hold.
    """

    package: str
    state: State
    why: str
    remedy: str
    source: str
    error: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def applies(self, package: str, error: str, versions: Mapping[str, str]) -> bool:
        """Whether this is what ails `package`, whose trial gave `error` where `versions` are installed."""
        if self.package not in (package, ANY) or (self.error and not re.search(self.error, error)):
            return False
        return all(
            name not in versions if wanted == ABSENT else name in versions and satisfies(versions[name], wanted)
            for name, wanted in self.versions.items()
        )


KNOWN: Final = (
    Known(
        "python",
        "mismatch",
        "CompressAI has no wheels above Python 3.12, and is not installed here",
        "python3.12 -m venv .venv && .venv/bin/pip install icmh-plugins",
        "files of compressai 1.2.8 on the package index: cp38 to cp312",
        versions={"python": ">=3.13", "compressai": ABSENT},
    ),
    Known(
        "numpy",
        "mismatch",
        "CompressAI asks for numpy below 2; coding and training worked with 2.4.6 when it was tried, without a promise",
        "pip install 'numpy<2'",
        "requirements of compressai 1.2.8; coding, training and eval_model tried with numpy 2.4.6",
        versions={"numpy": ">=2", "compressai": ""},
    ),
    Known(
        "torchvision",
        "mismatch",
        "torch and torchvision are of different builds (one with CUDA, one without), so its operators do not load; "
        "both have to come from one index, in one command",
        "pip install --force-reinstall torch torchvision",
        "measured: torch 2.13.0 for CPU with the package index's torchvision",
        error=r"torchvision::nms does not exist|no attribute 'nms'|Couldn't load custom C\+\+ ops|undefined symbol",
    ),
    Known(
        "compressai",
        "broken",
        "CompressAI imports torchvision, which does not work here",
        "icmh doctor torchvision",
        "measured: torchvision of another build stops the import of compressai 1.2.8",
        error=r"torchvision",
    ),
    Known(
        "compressai",
        "broken",
        "its compiled range coder does not load",
        "pip install --force-reinstall --no-deps --no-cache-dir compressai",
        "CompressAI issue 102; a build from source needs a C++17 compiler",
        error=r"_CXX|compressai\.ans|undefined symbol|GLIBC",
    ),
    Known(
        "detectron2",
        "mismatch",
        "its extension was built for another torch",
        _REBUILD,
        _INSTALL_PAGE,
        error=r"undefined symbol",
    ),
    Known(
        "detectron2",
        "mismatch",
        "its extension was built with a newer C++ compiler than the C++ library here",
        f"conda update libgcc || {_REBUILD}",
        _INSTALL_PAGE,
        error=r"GLIBCXX|CXXABI",
    ),
    Known(
        "detectron2",
        "broken",
        "it is here as source, without its compiled extension",
        _REBUILD,
        _INSTALL_PAGE,
        error=r"detectron2\._C|name '_C'",
    ),
    Known(
        "basicsr",
        "absent",
        "BasicSR 1.4.2 does not build on Python 3.13 and above",
        "python3.12 -m venv .venv && .venv/bin/pip install 'icmh-plugins[basicsr]'",
        "BasicSR issue 749",
        versions={"python": ">=3.13", "basicsr": ABSENT},
    ),
    Known(
        ANY,
        "mismatch",
        "it was compiled for another numpy",
        "pip install --force-reinstall --no-deps --no-cache-dir {distribution}",
        "numpy's notes on its binary interface, 'dtype size changed'",
        error=r"numpy\.dtype size changed|compiled using NumPy 1|numpy\.core\.multiarray failed to import",
    ),
)


def diagnosis(package: str, error: str, versions: Mapping[str, str]) -> Known | None:
    """The known quarrel that `package` has: for one that fails by its error, else by the versions alone."""
    fits = [row for row in KNOWN if bool(row.error) == bool(error) and row.applies(package, error, versions)]
    return fits[0] if fits else None


def torchvision_pair(versions: Mapping[str, str]) -> tuple[str, str] | None:
    """Torch installed and the torchvision it needs ("2.14", "0.29"), where another one is installed."""
    if not {"torch", "torchvision"} <= versions.keys():
        return None
    torch = numbers(versions["torch"])[:2]
    wanted = TORCHVISION.get(torch)
    if wanted is None or numbers(versions["torchvision"])[:2] == wanted:
        return None
    return ".".join(map(str, torch)), ".".join(map(str, wanted))
