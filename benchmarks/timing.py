"""Clocks of the benchmarks: actions timed in turns, and a stopwatch that tells where inside an action the time goes."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


def in_turns(actions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median wall seconds of each action, after one warm-up: A B C A B C ..., so that a busy moment meets all alike."""
    return medians([{name: seconds(action) for name, action in actions.items()} for _ in range(repeats + 1)][1:])


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each entry over several rounds."""
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def seconds(action: Callable[[], Any]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


class Stopwatch:
    """Time spent under each label, without what is spent under labels inside it."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def under(self, label: str) -> Iterator[None]:
        """Count the time of this context under `label`."""
        self._switch()
        self._open.append(label)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    @contextmanager
    def watching(self, *targets: tuple[Any, str, str]) -> Iterator[None]:
        """Within the context the call of each (owner, attribute, label) is counted under its label."""
        saved = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in targets]
        for owner, name, label in targets:
            setattr(owner, name, self._counted(getattr(owner, name), label))
        try:
            yield
        finally:
            for owner, name, original in reversed(saved):
                setattr(owner, name, original) if original is not None else delattr(owner, name)

    def _counted(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            with self.under(label):
                return function(*arguments, **options)

        return counted

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.totals[self._open[-1]] += now - self._since
        self._since = now
