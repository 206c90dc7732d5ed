"""Adapter folders on the Hugging Face hub: the only file that imports huggingface_hub.

Three files travel and no others, none of them code; the library's cache, login and endpoint (`HF_HOME`, `HF_TOKEN`,
`HF_ENDPOINT`) are its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from icmh_plugins._deps import require
from icmh_plugins._version import __version__
from icmh_plugins.adapters.file import CARD, CONFIG, TENSORS, read_folder
from icmh_plugins.errors import AdapterFileError, ConfigError

_FILES: Final = [CONFIG, TENSORS, CARD]
_CLIENT: Final = {"library_name": "icmh-plugins", "library_version": __version__}

_ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
"""One slash is accepted too: pathlib makes it of two."""

_LOGIN = "check the name; for a private or gated repository log in with 'hf auth login', or set HF_TOKEN"
_NETWORK = "connect to the network, or fetch the folder another way and give its path"
_REMEDIES: Final = {
    "RevisionNotFoundError": "check the revision, the part after '@'",
    "RepositoryNotFoundError": _LOGIN,
    "OfflineModeIsEnabled": _NETWORK,
    "LocalEntryNotFoundError": _NETWORK,
    "ConnectionError": _NETWORK,
    "TransportError": _NETWORK,
    "HFValidationError": "names are 'user/name', of letters, digits, '-', '_' and '.'",
}
"""By class of the library's error, from special to general; the names have stayed the same over its versions."""


@dataclass(frozen=True)
class Address:
    """A repository of the hub, as ``"hf://user/name"`` or ``"hf://user/name@revision"``."""

    repo: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """The last part of the repository's name."""
        return self.repo.rpartition("/")[2]

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")


def address_of(place: object) -> Address | None:
    """The address that `place` is, or None for what is a path on this machine.

    Raises:
        AdapterFileError: It begins with ``hf:`` and is not written as an address.
    """
    text = str(place)
    if not text.startswith("hf:/"):
        return None
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise AdapterFileError(f"{text!r} is no address of an adapter. Remedy: 'hf://user/name', or with '@revision'")
    return Address(match["repo"], match["revision"])


def fetch(address: Address) -> Path:
    """Download an adapter's three files into the hub's cache; what is there already is not asked for again.

    A copy that was cut short is downloaded once more.

    Returns:
        The folder, checked: `read_folder` takes it.

    Raises:
        AdapterFileError: No such repository or revision, no network and no copy, or the files there are damaged.
        MissingDependencyError: huggingface_hub is not installed.
    """
    folder = _download(address)
    try:
        read_folder(folder)
    except AdapterFileError:
        folder = _download(address, force_download=True)
        _check(folder, address)
    return folder


def upload(folder: Path, repo: str, *, private: bool, token: str | None, message: str) -> str:
    """Make the repository if it does not exist, and commit an adapter folder's three files to it.

    Returns:
        The commit's page.

    Raises:
        AdapterFileError: It cannot be reached, or this user may not write to it.
        ConfigError: `repo` is not written as ``user/name``.
        MissingDependencyError: huggingface_hub is not installed.
    """
    if not _ADDRESS.fullmatch(f"hf://{repo}"):
        raise ConfigError(f"a repository is named 'user/name', got {repo!r}")
    api = require("huggingface_hub", "push_to_hub").HfApi(token=token, **_CLIENT)
    with _in_our_words(f"{repo} cannot be written to"):
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo, folder_path=folder, allow_patterns=_FILES, commit_message=message)
    return commit.commit_url


def _download(address: Address, force_download: bool = False) -> Path:
    hub = require("huggingface_hub", f"loading {address}")
    with _in_our_words(f"{address} cannot be loaded"):
        folder = hub.snapshot_download(
            address.repo,
            revision=address.revision,
            allow_patterns=_FILES,
            force_download=force_download,
            **_CLIENT,
        )
    return Path(folder)


def _check(folder: Path, address: Address) -> None:
    try:
        read_folder(folder)
    except AdapterFileError as error:
        raise AdapterFileError(
            f"{address} holds no whole adapter: {error}. Downloading it again did not help, so its author has to "
            "push it again; or take an earlier '@revision'"
        ) from error


@contextmanager
def _in_our_words(what: str) -> Iterator[None]:
    """Turn whatever the library raises (its own errors, those of the HTTP client it uses) into one of ours."""
    try:
        yield
    except Exception as error:
        classes = [cls.__name__ for cls in type(error).__mro__]
        refused = getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
        other = _LOGIN if refused else "try again later"
        remedy = next((text for name, text in _REMEDIES.items() if name in classes), other)
        reason = " ".join(str(error).split())[:300]
        raise AdapterFileError(f"{what}: {type(error).__name__}: {reason}. Remedy: {remedy}") from error
