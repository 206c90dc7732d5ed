"""Which codec a stream belongs to: 8 bytes of the base's fingerprint, and 8 of its entropy tables'."""

from __future__ import annotations

from typing import TypedDict

from torch import nn

from icmh_plugins.bitstream.header import DIGEST, Header
from icmh_plugins.codecs.fingerprint import base_fingerprint, tables_fingerprint
from icmh_plugins.errors import BaseMismatchError


class Identity(TypedDict):
    """The fields of a `Header` that name the codec."""

    base: bytes
    tables: bytes
    codec: str


def identity(model: nn.Module) -> Identity:
    """The identity of `model`, adapters aside."""
    return Identity(
        base=bytes.fromhex(base_fingerprint(model))[:DIGEST],
        tables=bytes.fromhex(tables_fingerprint(model))[:DIGEST],
        codec=type(model).__name__,
    )


def check_identity(model: nn.Module, header: Header) -> None:
    """Refuse to decode a stream with another codec than it was made with.

    Raises:
        BaseMismatchError: The base or its tables are others.
    """
    mine = identity(model)
    if mine["base"] != header.base:
        raise BaseMismatchError(
            f"the stream was made with a {header.codec} of fingerprint {header.base.hex()}, this is a {mine['codec']} "
            f"with {mine['base'].hex()}. Remedy: load the codec it was made with"
        )
    if mine["tables"] != header.tables:
        raise BaseMismatchError(
            f"this {mine['codec']} has the stream's weights but other entropy tables ({mine['tables'].hex()} instead "
            f"of {header.tables.hex()}). update() gives other tables on other machines, so a decoder never computes "
            "them. Remedy: load the codec, tables included, from the file that the encoder's was saved to"
        )
