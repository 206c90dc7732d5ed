"""Every error this package raises on purpose. Each message names the remedy.

They derive from `IcmhError` and, where one fits, from the built-in error a caller would expect, so that
``except ValueError`` keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IcmhError(Exception):
    """Base of all errors of this package."""


class ConfigError(IcmhError, ValueError):
    """An option is unknown, misspelt or out of range."""


class MissingDependencyError(IcmhError, ImportError):
    """An optional package is absent or broken; the message gives the command that installs it."""


class PluginError(IcmhError):
    """A plug-in is broken or two plug-ins are in conflict."""


class UnknownPluginError(PluginError, LookupError):
    """No plug-in offers that name."""


class CodecError(IcmhError):
    """A model is not a codec this package can work with, or it failed while being examined."""


class SiteError(CodecError, LookupError):
    """A site does not exist on this codec, or an adapter may not sit there."""


class AdapterError(IcmhError):
    """An adapter cannot be attached, activated or found."""


class AdapterFileError(AdapterError, ValueError):
    """An adapter folder is damaged, of another format, or does not fit the codec."""


class BaseMismatchError(IcmhError):
    """The base codec is not the one that an adapter, a stream or a record was made with."""


class IdentityError(BaseMismatchError):
    """With all adapters off, the codec is not bit for bit its recorded base."""


class StreamError(IcmhError, ValueError):
    """A bitstream is damaged, truncated, or not meant for this codec."""


class NumericalError(IcmhError, ArithmeticError):
    """NaN, infinity or an overflow where the range coder would hang or a result would be meaningless."""


class DataError(IcmhError, ValueError):
    """Images, labels or annotations cannot be read or do not fit together."""


class TrainingError(IcmhError, RuntimeError):
    """Training cannot start, resume or finish as asked."""


class CurveError(IcmhError, ValueError):
    """Two rate curves cannot be compared honestly (no overlap, not monotone, different protocols)."""


class BDRefusedError(CurveError):
    """A Bjontegaard delta would be meaningless; `reason` says why in a few words, the message in full."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def in_words(error: BaseException) -> str:
    """An exception as one line: its class and its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def suggest(word: str, options: Iterable[str]) -> str:
    """Return `` Did you mean 'x'? Known: ...`` for an unknown `word` (empty when there are no options)."""
    known = sorted(set(options))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(known)}." if known else hint
