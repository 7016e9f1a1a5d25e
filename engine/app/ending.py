"""How every process of ours ends: with its own exit code, whatever native threads still run, and with nothing left behind.

An interpreter that ran a Temporal worker aborts now and then while it shuts down (exit 134 or 139), because native threads
still want the interpreter lock. Every entry point and the test session leave through `end_process`, and through nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

GRACE = 0.5
"""Seconds that native threads get to come to rest; half a second was enough in 30 of 30 runs."""


def end_process(code: int) -> NoReturn:
    """Flush what was printed and logged, give native threads `GRACE` seconds, end with exit code `code`.

    `atexit` functions don't run: close what must be closed (servers, temporary folders) before calling this.
    """
    for stream in (sys.stdout, sys.stderr):
        # A closed pipe (`sojourn … | head`) is no reason to lose the exit code.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    if "temporalio.bridge" in sys.modules:
        time.sleep(GRACE)
    logging.shutdown()
    os._exit(code & 0xFF)


@contextlib.contextmanager
def ending_on_request() -> Iterator[None]:
    """While the block runs SIGTERM and SIGHUP mean what Ctrl-C means, which is heard also by what a script started in the
    background, where SIGINT comes in ignored."""
    before = {n: signal.signal(n, _interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def undisturbed(stop: Callable[[], None]) -> None:
    """Run `stop` to its end: a second Ctrl-C must not leave a server behind."""
    before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
