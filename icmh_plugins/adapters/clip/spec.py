"""Which CLIP weights are meant: names that files can carry, where the weights are here, and their SHA-256.

An adapter file records the name of the weights without its folder, and their digest; never the weights.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from icmh_plugins.errors import ConfigError

Kind = Literal["tiny", "local-dir", "open_clip", "daclip"]

TINY: Final = Path(__file__).parents[2] / "assets" / "clip" / "tiny"
"""The tower that comes with the package."""

FOLDER_VARIABLE: Final = "ICMH_CLIP"
"""Environment variable: the folder that holds CLIP weights on this machine, or one such file."""

CONFIG: Final = "open_clip_config.json"
"""Name of the configuration in a folder of weights."""

_FORMS = "'tiny', 'local-dir:FOLDER', 'open_clip:MODEL@FILE', 'daclip:FILE'"
_SUFFIXES = (".safetensors", ".bin", ".pth")  # of what open_clip takes for weights in a folder
_PLACES: dict[str, Path] = {}  # by digest, where this process has found weights
_DIGESTS: dict[tuple[Path, int, int], str] = {}


@dataclass(frozen=True)
class ClipWeights:
    """CLIP weights that were found.

    Attributes:
        kind: How they are stored.
        name: The portable form of what the user wrote: folders are left out.
        model: Name of the open_clip architecture; "open_clip" only.
        path: File or folder on this machine.
        sha256: Digest of the weights (for "local-dir" and "tiny" of weights and configuration), 64 hex digits.
    """

    kind: Kind
    name: str
    model: str
    path: Path
    sha256: str


def find_clip(text: str, sha256: str = "") -> ClipWeights:
    """Find the weights that `text` names, here.

    Looked for, in this order: the path as written (the package for "tiny"), where this process found weights of that
    digest before, and the folder or file that the environment variable ICMH_CLIP gives.

    Args:
        text: ``"tiny"``, ``"local-dir:FOLDER"``, ``"open_clip:MODEL@FILE"`` or ``"daclip:FILE"``.
        sha256: The digest they must have; "" takes any.

    Raises:
        ConfigError: The form is unknown, nothing is there, only weights of another digest, or a folder of several.
    """
    kind, model, path = _parse(text)
    name = _portable(kind, model, path)
    places = [path, *_known(sha256), *_from_environment(path)]
    found = {place: digest(place) for place in places if _usable(place, kind)}
    for place, value in found.items():
        if not sha256 or value == sha256:
            _PLACES[value] = place
            return ClipWeights(kind, name, model, place, value)
    if found:
        raise ConfigError(
            f"CLIP weights {name!r} here have SHA-256 {next(iter(found.values()))}, the adapter was made with "
            f"{sha256}. Remedy: put the weights it was made with in the folder {FOLDER_VARIABLE} names"
        )
    raise ConfigError(
        f"there are no CLIP weights {text!r} here. Remedy: give the path of the file, or set the environment variable "
        f"{FOLDER_VARIABLE} to the folder that holds {path.name!r}; clip='tiny' needs no file"
    )


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the hexadecimal digests of its weights and its configuration in a row."""
    if path.is_file():
        return _file_digest(path)
    both = _file_digest(_weights_in(path)) + _file_digest(path / CONFIG)
    return hashlib.sha256(both.encode()).hexdigest()


def _file_digest(file: Path) -> str:
    status = file.stat()
    key = file.resolve(), status.st_mtime_ns, status.st_size
    if key not in _DIGESTS:
        total = hashlib.sha256()
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                total.update(block)
        _DIGESTS[key] = total.hexdigest()
    return _DIGESTS[key]


def _parse(text: str) -> tuple[Kind, str, Path]:
    kind, _, rest = text.partition(":")
    model, at, file = rest.partition("@") if kind == "open_clip" else ("", "@", rest)
    if kind not in get_args(Kind) or (kind == "tiny") != (not rest) or not at or (kind != "tiny" and not file):
        raise ConfigError(f"{text!r} names no CLIP weights; known forms: {_FORMS}")
    path = Path(file).expanduser().absolute() if file else TINY  # found again from another working directory
    return kind, model, path  # type: ignore[return-value]


def _portable(kind: Kind, model: str, path: Path) -> str:
    if kind == "tiny":
        return kind
    return f"{kind}:{model}@{path.name}" if model else f"{kind}:{path.name}"


def _known(sha256: str) -> list[Path]:
    return [_PLACES[sha256]] if sha256 in _PLACES else []


def _from_environment(path: Path) -> list[Path]:
    given = os.environ.get(FOLDER_VARIABLE)
    folder = Path(given or "").absolute()
    return [folder, folder / path.name] if given else []


def _usable(path: Path, kind: Kind) -> bool:
    if kind in ("open_clip", "daclip"):
        return path.is_file()
    return (path / CONFIG).is_file() and any(path.glob("*.safetensors"))


def _weights_in(folder: Path) -> Path:
    """The file of weights in a folder; of several, open_clip would choose one by rules of its own."""
    found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if len(found) > 1:
        raise ConfigError(
            f"the folder {folder.name!r} holds several files of CLIP weights ({', '.join(f.name for f in found)}). "
            "Remedy: leave the one .safetensors that is meant"
        )
    return found[0]
