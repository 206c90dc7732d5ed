"""The folder that the demo writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from icmh_plugins.errors import DataError

RESULTS, REPORT = "results.json", "report.html"
MADE_BY = ("made_by", "icmh demo")
"""Stands in the results; a folder with them may be written over."""

_PARTS = ("originals", "streams", "views", "figures", "curves", "training", RESULTS, REPORT)


def prepare(folder: Path) -> None:
    """Make the folder, or clear it of what an earlier demo wrote; other files in it are left alone.

    Raises:
        DataError: It holds files, and no demo has written there.
    """
    if folder.exists() and not _is_usable(folder):
        raise DataError(f"{str(folder)!r} is not a folder of an earlier demo. Remedy: give another one with --out")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / part for part in _PARTS):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _is_usable(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return not any(folder.iterdir()) or _is_ours(folder / RESULTS)


def _is_ours(results: Path) -> bool:
    key, value = MADE_BY
    try:
        return json.loads(results.read_text(encoding="utf-8"))[key] == value
    except (OSError, ValueError, KeyError, TypeError):
        return False
