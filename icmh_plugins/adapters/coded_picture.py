"""What the coding of one picture knows besides the tensors that pass through the codec: its size and a message.

Adapters sit on modules that see padded feature maps only. Through here they learn the picture's own size, and those on
the encoder's side can give those on the decoder's a few bytes, which a stream carries and counts. Everything is kept
per thread. Within one forward pass (training, or any call of the model itself) the message stays a tensor with
gradients and nothing is coded. Outside of both (``compress`` and ``decompress`` called by hand) nothing can carry it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from icmh_plugins.errors import AdapterError, StreamError


@dataclass(eq=False)
class CodedPicture:
    """One picture on its way into or out of a stream.

    Attributes:
        size: Height and width without padding.
        message: At the decoder, the bytes that an adapter put into the stream; None without any.
        receivers: At the decoder, the modules that the message is for.
        sent: At the encoder, the messages by the module that sent them.
    """

    size: tuple[int, int]
    message: bytes | None = None
    receivers: frozenset[nn.Module] = frozenset()
    sent: dict[nn.Module, bytes] = field(default_factory=dict)


_PICTURE: ContextVar[CodedPicture | None] = ContextVar("icmh_coded_picture", default=None)
_SIGNAL: ContextVar[Tensor | None] = ContextVar("icmh_signal", default=None)
_FORWARDS: ContextVar[int] = ContextVar("icmh_forwards", default=0)  # forward passes that this thread is within


@contextmanager
def coding(picture: CodedPicture) -> Iterator[CodedPicture]:
    """Within the context this thread codes or decodes `picture`; no signal goes in or comes out."""
    tokens = _PICTURE.set(picture), _SIGNAL.set(None)
    try:
        yield picture
    finally:
        _PICTURE.reset(tokens[0])
        _SIGNAL.reset(tokens[1])


@contextmanager
def forward_pass() -> Iterator[None]:
    """Within the context signals pass as in one call of a codec; none goes in or comes out."""
    _enter()
    try:
        yield
    finally:
        _leave()


def mark_forward_passes(root: nn.Module) -> tuple[RemovableHandle, ...]:
    """Make every call of a codec a `forward_pass`, until the hooks returned are removed."""
    return root.register_forward_pre_hook(_enter), root.register_forward_hook(_leave, always_call=True)


def _enter(*call: Any) -> None:
    _FORWARDS.set(_FORWARDS.get() + 1)
    _SIGNAL.set(None)


def _leave(*call: Any) -> None:
    _FORWARDS.set(max(0, _FORWARDS.get() - 1))  # called too where another's hook failed before `_enter`
    _SIGNAL.set(None)


def without_padding(x: Tensor) -> Tensor:
    """The part of images (B, C, H, W) at full resolution that is not padding, as far as that is known here."""
    picture = _PICTURE.get()
    return x if picture is None else x[..., : picture.size[0], : picture.size[1]]


def send(sender: nn.Module, signal: Tensor, message: bytes | None = None) -> None:
    """Give the receiver a signal; `message` is its coded form, for a sender that only the encoder has.

    Such a signal is dropped outside of a forward pass and a coding, where a decoder could be that of another picture.
    """
    picture = _PICTURE.get()
    if picture is not None and message is not None:
        picture.sent[sender] = message
    if message is None or picture is not None or _FORWARDS.get():
        _SIGNAL.set(signal)


def take_signal() -> Tensor | None:
    """The tensor sent last in this thread, once; None if nothing was sent."""
    signal = _SIGNAL.get()
    _SIGNAL.set(None)
    return signal


def message_for(receiver: nn.Module) -> bytes | None:
    """The message in the stream that is being decoded; None within a forward pass.

    Raises:
        StreamError: The stream carries none for this receiver.
        AdapterError: There is neither a stream nor a forward pass.
    """
    picture = _PICTURE.get()
    if picture is None and _FORWARDS.get():
        return None
    if picture is None:
        raise AdapterError(
            "compress and decompress carry no side information, which this adapter needs. Remedy: icmh.encode and "
            "icmh.decode"
        )
    if picture.message is None or receiver not in picture.receivers:
        raise StreamError(
            "this view needs side information, and the stream carries none for its adapter. Remedy: encode with this "
            "adapter active, or decode another view, for example views=['human']"
        )
    return picture.message


def only_message(picture: CodedPicture) -> tuple[nn.Module, bytes] | None:
    """The message that was sent while `picture` was coded, and its sender; None without any.

    Raises:
        AdapterError: Several adapters sent one.
    """
    if len(picture.sent) > 1:
        raise AdapterError(
            f"{len(picture.sent)} active adapters send side information, a stream carries that of one. "
            "Remedy: set_adapter(model, ...) with one of them"
        )
    return next(iter(picture.sent.items()), None)
