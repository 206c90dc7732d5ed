"""``icmh new``: a package for an adapter, a task or a codec profile, which passes its own tests at once."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import tempfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from icmh_plugins.cli.output import claim_folder
from icmh_plugins.cli.templates import class_name, package_name, render
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.registry import catalog

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST: Final = 40
_MODULES: Final = {"adapter": "adapter.py", "task": "task.py", "codec-profile": "profile.py"}


class PackageKind(str, Enum):
    """What the new package offers."""

    adapter = "adapter"
    task = "task"
    codec_profile = "codec-profile"


def new(
    kind: Annotated[PackageKind, typer.Argument(help="What the package offers.")],
    name: Annotated[str, typer.Argument(help="What users will type: 'gate' makes the package icmh-gate.")],
    folder: Annotated[Path | None, typer.Option("--folder", help="Where to write. Default: icmh-NAME, here.")] = None,
) -> None:
    """Write a complete package with tests, ready to be installed and changed."""
    name = name.removeprefix("icmh-")
    _check_name(kind.value, name)
    folder = Path(f"icmh-{name}") if folder is None else folder
    _check_folder(folder)
    files = render(kind.value, name)
    _write(folder, files)
    typer.echo(_next_steps(kind.value, name, folder, len(files)))


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigError(
            f"{name!r} cannot name a package. Remedy: up to {_LONGEST} lower-case letters and digits, starting with a "
            "letter, with single '-' between them"
        )
    if keyword.iskeyword(class_name(name)):
        raise ConfigError(f"{name!r} would name a class {class_name(name)}, a word of Python's. Remedy: another name")
    taken = [entry.qualified_name for entry in catalog.specs(kind).values() if entry.name == name]
    if taken:
        raise ConfigError(f"the {kind} {name!r} exists already: {taken[0]}. Remedy: another name")
    if importlib.util.find_spec(package_name(name)) is not None:
        raise ConfigError(f"a package {package_name(name)} is installed already. Remedy: another name")


def _check_folder(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{str(folder)!r} is not empty. Remedy: --folder with a new or an empty folder")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{str(folder)!r} is a file. Remedy: --folder with a new or an empty folder")
    claim_folder(folder.absolute().parent)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write all of it beside the folder, then move it there: nothing is ever there by halves."""
    folder = folder.absolute()
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for path, text in files.items():
            (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / path).write_text(text, encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for part in sorted(scratch.iterdir()):
            part.replace(folder / part.name)
    except OSError as error:
        raise DataError(f"cannot write {str(folder)!r}: {error.strerror}. Remedy: --folder elsewhere") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _next_steps(kind: str, name: str, folder: Path, files: int) -> str:
    return f"""wrote {folder} ({files} files): the {kind} {name!r} in a package icmh-{name}

  cd {folder}
  python -m pip install --editable ".[test]"
  python -m pytest
  icmh plugins show icmh-{name}

What it does is in {package_name(name)}/{_MODULES[kind]}: change it, and run the tests again."""
