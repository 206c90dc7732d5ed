"""From the views a caller asks for to the adapters that must be active for each."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from torch import nn

from icmh_plugins.adapters.activate import use_adapter
from icmh_plugins.adapters.attach import detach_adapter
from icmh_plugins.adapters.host import AdapterRecord, host_of
from icmh_plugins.adapters.store import adapter_digest, load_adapter
from icmh_plugins.bitstream.header import DIGEST, AdapterId
from icmh_plugins.errors import AdapterError, StreamError, suggest

HUMAN = "human"
"""The view without decoder-side adapters."""

OWN = "own"
"""Key of the stream's own view where the caller names none."""

ViewPlan = dict[str, tuple[str, ...]]
"""For each view the names of the adapters active in it."""


def adapters_in_use(model: nn.Module) -> tuple[AdapterId, ...]:
    """The active adapters, as a stream records them."""
    host = host_of(model)
    if host is None:
        return ()
    return tuple(_identify(model, host.record(name)) for name in host.active)


def activated(model: nn.Module, names: tuple[str, ...]) -> AbstractContextManager[object]:
    """Within the context exactly `names` are active for this thread."""
    return use_adapter(model, names) if host_of(model) else nullcontext()


@contextmanager
def planned_views(
    model: nn.Module, recorded: Sequence[AdapterId], views: Sequence[str | Path] | None
) -> Iterator[ViewPlan]:
    """The adapters of each view; adapters given as folders are on the codec within the context only.

    Args:
        model: The decoder's codec.
        recorded: The adapters in the stream's header.
        views: Names of attached adapters, folders of adapters, "human", or None for the stream's own view.

    Raises:
        StreamError: An adapter that the stream needs is missing, or one of its name differs from the stream's.
        AdapterError: A view is neither.
    """
    required = tuple(_attached(model, adapter) for adapter in recorded if adapter.required)
    if views is None:
        own = tuple(_attached(model, adapter) for adapter in recorded if adapter.decoder)
        yield {OWN: tuple(dict.fromkeys(required + own))}
        return
    _refuse_odd(views)
    with _folders(model, views) as loaded:
        yield {str(view): _active(model, str(view), loaded, required, recorded) for view in views}


def _identify(model: nn.Module, record: AdapterRecord) -> AdapterId:
    return AdapterId(
        record.name,
        digest_of(model, record.name),
        encoder="analysis" in record.sides,
        decoder=not record.sides.isdisjoint({"synthesis", "reconstruction"}),
        required=record.entropy_side,
    )


def digest_of(model: nn.Module, name: str) -> bytes:
    """What a stream holds of an attached adapter's content."""
    return bytes.fromhex(adapter_digest(model, name))[:DIGEST]


def _attached(model: nn.Module, adapter: AdapterId) -> str:
    """The name under which an adapter of the stream is attached here."""
    records = host_of(model).records if host_of(model) else {}
    for name in sorted(records, key=lambda name: name != adapter.name):
        if digest_of(model, name) == adapter.digest:
            return name
    why = "and cannot be decoded without it" if adapter.required else "and its own view needs it"
    other = "" if adapter.required else ", or views=['human'] for the view without adapters"
    found = f"; the {adapter.name!r} attached here is another" if adapter.name in records else ""
    raise StreamError(
        f"the stream was made with adapter {adapter.name!r} (digest {adapter.digest.hex()}) {why}{found}. "
        f"Remedy: load_adapter(model, FOLDER) with the folder of that adapter{other}"
    )


def _refuse_odd(views: Sequence[str | Path]) -> None:
    if isinstance(views, str | Path) or not isinstance(views, Sequence) or not views:
        raise AdapterError(f"views must be a list of names, for example ['human', 'sfma'], got {views!r}")


@contextmanager
def _folders(model: nn.Module, views: Sequence[str | Path]) -> Iterator[dict[str, str]]:
    """Load the views that are adapter folders; yields the name each has on the codec."""
    host = host_of(model)
    known = {HUMAN, *(host.records if host else ())}
    folders = [str(view) for view in views if str(view) not in known]
    for folder in folders:
        if not Path(folder).is_dir():
            raise AdapterError(f"{folder!r} is neither an attached adapter nor a folder.{suggest(folder, known)}")
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    active = host.activation.names if host else ()
    loaded: dict[str, str] = {}
    try:
        for folder in folders:
            loaded[folder] = load_adapter(model, folder, name=f"view-{secrets.token_hex(6)}").name
        yield loaded
    finally:
        for name in loaded.values():
            detach_adapter(model, name)
        if host and loaded:
            host.activation.names = active
            for parameter, flag in flags.items():
                parameter.requires_grad_(flag)


def _active(
    model: nn.Module, view: str, loaded: dict[str, str], required: tuple[str, ...], recorded: Sequence[AdapterId]
) -> tuple[str, ...]:
    if view == HUMAN:
        return required
    name = loaded.get(view, view)
    wanted = {adapter.name: adapter.digest for adapter in recorded}.get(Path(view).name)
    found = digest_of(model, name) if wanted else None
    if found != wanted:
        raise StreamError(
            f"wrong adapter: the stream was made with a {Path(view).name!r} of digest {wanted.hex()}, the one here has "
            f"{found.hex()}. Remedy: load the adapter that the stream was made with, or give this one another name"
        )
    if host_of(model).record(name).entropy_side and name not in required:
        raise StreamError(
            f"adapter {view!r} sits on the entropy side, and the stream was made without it: its strings would decode "
            "to other symbols. Remedy: encode with this adapter, or choose another view"
        )
    return tuple(dict.fromkeys((*required, name)))
