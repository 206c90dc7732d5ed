"""Ctrl-C between two steps, so that what is saved then is a whole step."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)


class Interrupt:
    """Whether somebody pressed Ctrl-C."""

    asked = False


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Within the context the first Ctrl-C is only noted; a second one interrupts at once.

    Outside the main thread signals cannot be handled, and nothing is ever noted.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def handle(number: int, frame: Any) -> None:
        if interrupt.asked:
            raise KeyboardInterrupt
        interrupt.asked = True
        log.warning("stopping after this step; press Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
