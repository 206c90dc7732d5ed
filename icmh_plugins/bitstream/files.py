"""Writing result files: whole or not at all, and never over another file unasked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from icmh_plugins.errors import DataError


def refuse_clashes(paths: Iterable[Path], force: bool) -> None:
    """Check, before any work is done, that every one of `paths` can be written.

    Args:
        paths: Files about to be written.
        force: Files that exist may be replaced.

    Raises:
        DataError: Two are the same, one exists and `force` is off, or one is a folder.
    """
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            raise DataError(f"two results would both be {str(path)!r}. Remedy: rename an input, or run it separately")
        seen.add(path)
        if path.is_dir() or (path.exists() and not force):
            raise DataError(f"{str(path)!r} exists already. Remedy: --force replaces files, or choose another output")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path` and of the same suffix; it becomes `path` if the block succeeds.

    Raises:
        DataError: `path` is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise DataError(f"{str(path)!r} is a folder. Remedy: give the name of a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise DataError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        scratch.chmod(0o666 & ~_umask())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
