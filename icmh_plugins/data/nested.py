"""Data sets made of others: what lies within them, and which data that is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from torch.utils.data import ConcatDataset, Subset

from icmh_plugins.data.sources import Wrapped


def within(dataset: Any, *attributes: str) -> Iterator[Any]:
    """The outermost data sets that have one of `attributes`, or that are not made of others.

    What `Wrapped`, `Subset` and `ConcatDataset` hold is looked into.
    """
    held = _held(dataset)
    if not held or any(hasattr(dataset, name) for name in attributes):
        yield dataset
        return
    for each in held:
        yield from within(each, *attributes)


def fingerprint(dataset: Any) -> str:
    """A hash of the data's names and targets, from the "fingerprint" of each data set within; "" if one has none."""
    if hasattr(dataset, "fingerprint"):
        return dataset.fingerprint
    known = isinstance(dataset, Wrapped | Subset | ConcatDataset)  # others may change what they hold
    prints = [fingerprint(each) for each in _held(dataset)] if known else []
    if not prints or not all(prints):
        return ""
    facts = [prints, list(map(int, getattr(dataset, "indices", ())))]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _held(dataset: Any) -> list[Any]:
    single = getattr(dataset, "dataset", None)
    return list(getattr(dataset, "datasets", ())) if single is None else [single]
