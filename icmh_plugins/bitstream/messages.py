"""Side information of adapters: a few bytes that one active adapter adds to each image, after the codec's strings."""

from __future__ import annotations

from torch import Tensor, nn

from icmh_plugins.adapters.coded_picture import CodedPicture, coding, only_message
from icmh_plugins.adapters.host import adapter_modules, host_of
from icmh_plugins.bitstream.header import AdapterId, Header
from icmh_plugins.bitstream.nested import Nested
from icmh_plugins.bitstream.plan import compress
from icmh_plugins.bitstream.views import digest_of


def compress_with_message(
    model: nn.Module, padded: Tensor, size: tuple[int, int]
) -> tuple[Nested, list[bytes], Nested, int | None]:
    """Code one padded image (1, 3, H, W) that is `size` without padding.

    Returns:
        As `plan.compress`: layout, strings, shape; then the position, among the active adapters, of the one whose side
        information is the last string, or None.
    """
    with coding(CodedPicture(size)) as picture:
        layout, strings, shape = compress(model, padded)
    sent = only_message(picture)
    if sent is None:
        return layout, strings, shape, None
    module, message = sent
    names = host_of(model).active
    return layout, [*strings, message], shape, next(i for i, n in enumerate(names) if module in _modules(model, n))


def split_message(
    model: nn.Module, header: Header, strings: tuple[bytes, ...]
) -> tuple[tuple[bytes, ...], CodedPicture]:
    """The codec's strings of one image, and what its adapters are told while they are decoded."""
    size = header.height, header.width
    if header.sender is None:
        return strings, CodedPicture(size)
    return strings[:-1], CodedPicture(size, strings[-1], _receivers(model, header.adapters[header.sender]))


def _receivers(model: nn.Module, adapter: AdapterId) -> frozenset[nn.Module]:
    """All modules of the attached adapters, whatever their names, that are the one a stream names."""
    names = host_of(model).records if host_of(model) else ()
    same = [name for name in names if digest_of(model, name) == adapter.digest]
    return frozenset(module for name in same for module in _modules(model, name))


def _modules(model: nn.Module, name: str) -> set[nn.Module]:
    return {part for module in adapter_modules(model, name).values() for part in module.modules()}
