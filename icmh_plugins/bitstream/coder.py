"""Guards around the range coder, which trusts its input blindly.

CompressAI's coder never returns from a NaN or a symbol of 2**27 and more, crashes on an empty string, reads past the
end of a short one, and decodes damage to a wrong picture without a word (rans_interface.cpp). So:

* at the encoder, every tensor on its way to the coder is checked first (`SymbolGuard`);
* at the decoder, a string must begin as a coder's final state does, is followed by as many zero bytes as the decoder
  could ever read (`with_margin`; bytes after the end do not change a correct decoding), and its symbols are coded
  again and compared with it (`GuardedCoder`). That also catches a decoder whose floating-point arithmetic differs
  from the encoder's: it desynchronises silently, and its symbols do not code back to the string.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.errors import NumericalError, StreamError

MAX_SYMBOL = 2**24
"""Symbols stay below this; the coder hangs from 2**27 on."""

_TO_CODER = frozenset({torch.Tensor.int, torch.Tensor.tolist, torch.Tensor.numpy})
_STATE = range(2**31, 2**63)  # of the range coder between two symbols, hence at the start of a string


class SymbolGuard(TorchFunctionMode):
    """Within this context, on this thread, no NaN and no huge value becomes an integer or a Python list.

    Those are the two steps on every codec's way to the coder, the slice-wise and autoregressive ones included.

    Attributes:
        listed: Values that became Python lists or arrays, tables left out: at least the number of coded symbols.
    """

    def __init__(self, explain: Callable[[], str]) -> None:
        super().__init__()
        self._explain = explain
        self.listed = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Check the tensor of a guarded call, then call."""
        if func in _TO_CODER:
            self._check(args[0])
            if func is not torch.Tensor.int and args[0].dim() < 2:  # the coder takes flat lists, tables have two axes
                self.listed += args[0].numel()
        return func(*args, **(kwargs or {}))

    def _check(self, tensor: Tensor) -> None:
        if tensor.dtype is torch.bool or not tensor.numel():
            return
        low, high = (float(bound) for bound in tensor.aminmax())
        if not (low > -MAX_SYMBOL and high < MAX_SYMBOL):  # also false for NaN
            raise NumericalError(
                f"latents from {low:g} to {high:g} cannot be coded (finite values below 2**24 can). {self._explain()}"
            )


def is_coder_string(string: bytes) -> bool:
    """Whether `string` can be one of the rANS coder: whole 32-bit words, beginning with a valid state."""
    return len(string) >= 8 and len(string) % 4 == 0 and int.from_bytes(string[:8], "little") in _STATE


def with_margin(string: bytes, symbols: int) -> bytes:
    """`string` with zeros after it, so that decoding at most `symbols` symbols cannot read past the end.

    From a valid state a symbol takes at most 16 bits and an escaped one 4 bits a digit. The digit count is itself a
    run of digits: each digit of it that the string holds asks for 15 more (hence 16 times the string), and in the
    zeros such a run ends within 9 digits (hence at most 159 digits a symbol, 82 bytes).

    Raises:
        StreamError: The string does not begin with a valid state.
    """
    if not is_coder_string(string):
        raise StreamError("stream is damaged: a coded string does not begin as the range coder's strings do")
    return string + bytes(16 * len(string) + 84 * symbols + 256)


@dataclass
class Watch:
    """What passes through the guarded coders on this thread.

    Attributes:
        check: Check every decoded string.
        made: Strings that were coded.
    """

    check: bool = False
    made: set[bytes] = field(default_factory=set)


_WATCH: ContextVar[Watch | None] = ContextVar("icmh_coder_watch", default=None)


@contextmanager
def watched(model: nn.Module, check: bool = False) -> Iterator[Watch]:
    """Watch the coders of `model` for this thread; other threads may do the same at the same time."""
    modules = [m for m in entropy_modules(model).values() if hasattr(m, "entropy_coder")]
    watch = Watch(check)
    for module in modules:
        _guard(module)
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)
        for module in modules:
            _release(module)


class GuardedCoder:
    """Stands in for an entropy model's coder while streams are made or read."""

    def __init__(self, coder: Any) -> None:
        self.coder = coder
        self.users = 0

    @property
    def name(self) -> str:
        """The coder's name: what entropy models pickle."""
        return self.coder.name

    @property
    def _encoder(self) -> Any:
        return self.coder._encoder

    @property
    def _decoder(self) -> Any:
        return self.coder._decoder

    def encode_with_indexes(self, *args: Any) -> bytes:
        """Encode, and remember the string."""
        string = self.coder.encode_with_indexes(*args)
        if (watch := _WATCH.get()) is not None:
            watch.made.add(string)
        return string

    def decode_with_indexes(self, string: bytes, indexes: list[int], *tables: Any) -> list[int]:
        """Decode; where strings are checked, safely and with proof that the symbols are those of the string.

        Raises:
            StreamError: The string is damaged, or this machine cannot decode it.
        """
        watch = _WATCH.get()
        if watch is None or not watch.check:
            return self.coder.decode_with_indexes(string, indexes, *tables)
        padded = with_margin(string, len(indexes)) if self.name == "ans" else string
        symbols = self.coder.decode_with_indexes(padded, indexes, *tables)
        if symbols and not -MAX_SYMBOL < min(symbols) <= max(symbols) < MAX_SYMBOL:
            raise StreamError("stream is damaged: a coded string holds symbols that no encoder writes")
        again = self.coder.encode_with_indexes(symbols, indexes, *tables)
        if again != string:
            raise StreamError(
                "a coded string does not decode on this machine: its symbols do not code back to it. It is damaged, or "
                "the entropy networks give other floating-point results here than where it was made. Remedy: decode "
                "on the same kind of processor, or encode again"
            )
        return symbols


_LOCK = threading.Lock()


def _guard(module: nn.Module) -> None:
    with _LOCK:
        if not isinstance(module.entropy_coder, GuardedCoder):
            module.entropy_coder = GuardedCoder(module.entropy_coder)
        module.entropy_coder.users += 1


def _release(module: nn.Module) -> None:
    with _LOCK:
        module.entropy_coder.users -= 1
        if not module.entropy_coder.users:
            module.entropy_coder = module.entropy_coder.coder
